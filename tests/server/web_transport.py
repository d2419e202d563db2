"""The port for browsers, and the end of a phone that calls it."""

import http.client
import json

from keras_split.errors import TransportError
from keras_split.protocol.messages import Refusal
from keras_split.server.web import calls
from keras_split.server.web.server import WebServer
from tests.server.http_adapter import HttpTransport


class WebListener(WebServer):
    """Begins and ends with its endpoint, as a server that is alone does."""

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.endpoint.start()
        return super().start()

    def __exit__(self, *error):
        self.endpoint.drain(0)
        super().__exit__(*error)
        self.endpoint.close()


class WebTransport(HttpTransport):
    """One call of Connect for each message."""

    def send(self, raw):
        """Sends bytes and returns the reply's, or a refusal."""
        headers = {"Content-Type": calls.KIND, **self._headers}
        try:
            self._http.request("POST", calls.EXCHANGE, raw, headers)
            response = self._http.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise TransportError(
                f"Expected a reply. Received: {error!r}."
            ) from error
        self.uplink_bytes += len(raw)
        self.downlink_bytes += len(body)
        if response.status != 200:
            reason = response.getheader("keras-split-reason", "refused")
            return Refusal(reason, json.loads(body)["message"])
        return body
