"""Another way to a server: plain HTTP/1.1, one POST a message.

The server's side knows an `Endpoint` and nothing behind it.
"""

import http.client
import http.server
import socket
import threading

from keras_split.compression import codecs
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Refusal
from keras_split.server import bearer
from keras_split.transports import Transport
from keras_split.transports import decode
from keras_split.transports import encode

STATUS = {
    "unauthenticated": 401,
    "permission": 403,
    "size": 413,
    "unimplemented": 501,
    "busy": 503,
}
REASONS = {status: reason for reason, status in STATUS.items()}


class HttpServer:
    """Listens with HTTP for an endpoint, on loopback.

    Args:
        endpoint: Answers the calls.
        port: Port to listen on; 0 for any free one.
    """

    def __init__(self, endpoint, port=0):
        self.endpoint = endpoint
        handler = type("Handler", (_Handler,), {"endpoint": endpoint})
        self._http = http.server.ThreadingHTTPServer(
            ("127.0.0.1", port), handler
        )
        self.target = f"127.0.0.1:{self._http.server_port}"

    def start(self):
        self.endpoint.start()
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def stop(self, grace_s=1.0):
        self.endpoint.drain(grace_s)
        self._http.shutdown()
        self._http.server_close()
        self.endpoint.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(0)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open
    disable_nagle_algorithm = True
    timeout = 60.0  # of silence between messages

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        try:
            with self.endpoint.call(self._caller(), self._hang_up) as call:
                call.check_length(length)
                raw, length = self.rfile.read(length), 0
                self._reply(200, call.answer(raw))
        except RefusedError as error:
            self._refuse(error, length)
        except ConnectionError:
            self.close_connection = True

    def do_GET(self):
        try:
            self._reply(200, self.endpoint.status(self._caller()))
        except RefusedError as error:
            self._refuse(error)

    def _caller(self):
        host, port = self.client_address
        token = bearer(self.headers.items())
        return self.endpoint.caller(f"ipv4:{host}:{port}", token)

    def _hang_up(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, error, unread=0):
        while unread > 0:  # or the client would not read what is said
            unread -= len(self.rfile.read(min(unread, 1 << 16))) or unread
        self._reply(STATUS[error.reason], str(error).encode())

    def _reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class HttpTransport(Transport):
    """The phone's end.

    Args:
        target: `"host:port"`.
        codec: Name of what packs the codes.
        token: What to show the server.
    """

    def __init__(self, target, codec="raw", token=None):
        self._http = http.client.HTTPConnection(target, timeout=60)
        self._codec = codecs.get(codec)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, raw):
        """Sends bytes and returns the reply's, or a refusal."""
        try:
            self._http.request("POST", "/", raw, self._headers)
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
            return Refusal(REASONS[response.status], body.decode())
        return body

    def carry(self, message):
        reply = self.send(encode(message, self._codec))
        if isinstance(reply, Refusal):
            return reply
        return decode(reply, self._codec)

    def close(self):
        self._http.close()
