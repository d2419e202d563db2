"""The phone's end of `server`: addresses of the scheme `post`."""

import http.client

from keras_split import codecs
from keras_split import errors
from keras_split import messages
from keras_split import transports

REASONS = {401: "unauthenticated", 403: "permission", 413: "size", 503: "busy"}


class HttpTransport(transports.Transport):
    """One connection, one POST for each message."""

    def __init__(self, route, contract):
        self.codec = codecs.get(contract.codec)
        self.http = http.client.HTTPConnection(
            route.address.check_port().target, timeout=route.reply_timeout_s
        )
        token = route.credentials and route.credentials.token()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def carry(self, message):
        raw = transports.encode(message, self.codec)
        try:
            self.http.request("POST", "/", raw, self.headers)
            response = self.http.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise errors.TransportError(
                f"Expected a reply of {self.http.host}:{self.http.port}. "
                f"Received: {error!r}. Is its server running?"
            ) from error
        self.uplink_bytes += len(raw)
        self.downlink_bytes += len(body)
        if response.status != 200:
            reason = REASONS.get(response.status, "refused")
            return messages.Refusal(reason, body.decode())
        return transports.decode(body, self.codec)

    def close(self):
        self.http.close()


transports.register("post", HttpTransport, has_port=True)
