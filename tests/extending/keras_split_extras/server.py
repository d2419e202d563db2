"""Another way to reach a server: plain HTTP, one POST a message."""

import http.server
import socket
import threading

from keras_split import errors
from keras_split import server

STATUS = {"unauthenticated": 401, "permission": 403, "size": 413, "busy": 503}


class HttpServer(http.server.ThreadingHTTPServer):
    """Listens on loopback for an endpoint, from now until `stop`."""

    def __init__(self, endpoint, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.endpoint = endpoint.start()
        self.address = f"post://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self, grace_s=5.0):
        self.endpoint.drain(grace_s)
        self.shutdown()
        self.server_close()
        self.endpoint.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection for many messages
    disable_nagle_algorithm = True
    timeout = 600.0  # of silence between messages, in seconds

    def do_POST(self):
        endpoint, (host, port) = self.server.endpoint, self.client_address
        unread = int(self.headers["Content-Length"])
        try:
            token = server.bearer(self.headers.items())
            caller = endpoint.caller(f"ipv4:{host}:{port}", token)
            with endpoint.call(caller, self.hang_up) as call:
                call.check_length(unread)
                message, unread = self.rfile.read(unread), 0
                self.reply(200, call.answer(message))
        except errors.RefusedError as error:
            while unread > 0:  # or the client would not hear why
                unread -= len(self.rfile.read(min(unread, 1 << 16))) or unread
            self.reply(STATUS.get(error.reason, 501), str(error).encode())

    def hang_up(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: who listens to the endpoint hears more."""
