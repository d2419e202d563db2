"""A port for browsers before a service without a model, and who calls it."""

import http.client
import json
import ssl
import threading
from concurrent.futures import Future

from keras_split.compression import codecs
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Refusal
from keras_split.server import operator_token
from keras_split.server.callbacks import ServerCallback
from keras_split.server.endpoint import Endpoint
from keras_split.server.security import Security
from keras_split.server.web import calls
from keras_split.transports import decode
from keras_split.transports import encode

RAW = codecs.get("raw")
ALICE = "token-of-alice-0123"
FEATURES = "features"


class Events(ServerCallback):
    """Remembers who was refused, and why."""

    def __init__(self):
        self.reasons = []
        self.callers = []

    def refused(self, session, caller, reason):
        self.reasons.append(reason)
        self.callers.append(caller)


class Service:
    """Says `Done` to all but a few messages.

    An `Infer` waits until `answer` is set; a `Goodbye` to a session `other`
    is refused, for it is another client's, and one to `broken` raises.
    """

    max_message_bytes = 1 << 20

    def __init__(self):
        self.events = Events()
        self.accounts = None
        self.callers = []
        self.answer = threading.Event()
        self.asked = threading.Event()

    def handle(self, message, caller, put=None):
        self.callers.append(caller)
        if isinstance(message, Infer):
            self.asked.set()
            self.answer.wait(20)
            return Done()
        if isinstance(message, Goodbye) and message.session == "other":
            return Refusal("permission", "Expected a session of your own.")
        if isinstance(message, Goodbye) and message.session == "later":
            future = Future()
            threading.Timer(0.05, future.set_result, [Done()]).start()
            return future
        if isinstance(message, Goodbye) and message.session == "broken":
            raise KeyError("a secret")
        return Done()

    def drain(self, grace_s):
        pass

    def close_all(self):
        pass


def endpoint(tmp_path, asks=True, invites=True, **options):
    """An endpoint that has begun, with a token of alice's if it asks."""
    security = Security()
    if asks:
        tokens = tmp_path / "tokens"
        tokens.write_text(f"alice {ALICE}\n")
        tokens.chmod(0o600)
        operator_token.make(tmp_path / "operator")
        security = Security(
            tokens=tokens,
            operator_token=tmp_path / "operator",
            invites=invites,
        )
    options = {"security": security, **options}
    return Endpoint(Service(), RAW, **options).start()


class Browser:
    """Sends requests, each over a connection of its own.

    Args:
        port: Of the server, on this machine.
        token: What it shows, if anything.
        ca: File of the authority that it trusts, to speak TLS.
        host: Where the server is.
    """

    def __init__(self, port, token=None, ca=None, host="127.0.0.1"):
        self.port = port
        self.host = host
        self._token = token
        self._tls = ca and ssl.create_default_context(cafile=str(ca))

    def connect(self):
        if self._tls:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=20, context=self._tls
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=20)

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body of a reply."""
        sent = {
            name.replace("_", "-"): v if isinstance(v, bytes) else str(v)
            for name, v in headers.items()
        }
        if self._token is not None:
            sent.setdefault("authorization", f"Bearer {self._token}")
        connection = self.connect()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            found = {k.lower(): v for k, v in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, config, **headers):
        """Status and object of the reply to a small object."""
        headers = {"content_type": "application/json", **headers}
        status, _, body = self.ask(
            "POST", path, json.dumps(config).encode(), **headers
        )
        return status, json.loads(body)

    def exchange(self, message, **headers):
        """The reply to a message, or status, code and reason of a refusal."""
        raw = message if isinstance(message, bytes) else encode(message, RAW)
        status, found, body = self.ask(
            "POST",
            calls.EXCHANGE,
            raw,
            **{"content_type": calls.KIND, **headers},
        )
        if status == 200:
            assert found["content-type"] == calls.KIND
            return decode(body, RAW)
        about = json.loads(body)
        assert about["message"]
        return status, about["code"], found.get("keras-split-reason")
