"""SplitEasy's protocol as a peer: HTTP, JSON up, gzipped JSON down.

    python _spliteasy.py PRESET --input-size 96

What its public code sends (github.com/kamalesh0406/SplitEasy,
`server/restserver.py` and `src/tfjs_implementations/final_implementation.js`),
four requests a step:

    POST /outputToB       {"inputs": smashed data}          answered by 201
    GET  /outputToB       {"inputs": features}, gzipped
    POST /gradientsFromB  {"gradients": features_grad}      answered by 201
    GET  /gradientsFromB  {"gradients": smashed_grad}, gzipped

Tensors are nested lists of numbers, written as JavaScript's `JSON.stringify`
and Python's orjson write float32: with the 17 digits of a double. gzip works at
level 4. A POST is answered when the server has computed; in the original a
message over a web socket says so at the same moment.

Only the protocol is SplitEasy's. Head, body, tail and optimizer are those of
keras_split with float32, so that the two compute the same. Where the original
is slower, this is not: the connection stays open, the gradients of the cut are
used as they are (SplitEasy runs forward again, to fit `out - grad`), and there
is no web socket beside it.
"""

import argparse
import gzip
import http.client
import http.server
import json
import socket
import threading
from typing import Any

import numpy as np

import keras_split
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Welcome
from keras_split.transports import Route
from keras_split.transports import Transport
from keras_split.transports import register

FORWARD = "/outputToB"
BACKWARD = "/gradientsFromB"
GZIP_LEVEL = 4


def stringify(values: Any) -> bytes:
    """Nested lists as JavaScript writes them: 0, not 0.0.

    What differs is the form of numbers below 1e-4: JavaScript writes those
    down to 1e-6 with zeros, and exponents without a zero, a byte each.
    """
    text = json.dumps(values, separators=(",", ":"))
    text = text.replace("-0.0,", "0,").replace("-0.0]", "0]")
    return text.replace(".0,", ",").replace(".0]", "]").encode()


def strategy(target: str) -> keras_split.SplitStrategy:
    """Trains a client, cut with float32, with a `SplitEasyServer`.

    Args:
        target: `"host:port"`.
    """
    return keras_split.SplitStrategy(f"spliteasy://{target}", retry=None)


class SplitEasyTransport(Transport):
    """The phone's end: a message becomes a POST and a GET.

    Bytes are those of bodies; a `Link` counts what else there is.
    """

    def __init__(self, route: Route, contract: Contract) -> None:
        assert route.address is not None
        self._contract = contract
        self._connection = http.client.HTTPConnection(
            route.address.target, timeout=route.reply_timeout_s
        )
        self._connection.connect()
        self._connection.sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )

    def carry(self, message: Message) -> Message:
        """Asks with a POST, and fetches the answer with a GET."""
        if isinstance(message, Hello):
            return Welcome("spliteasy")
        if isinstance(message, Forward):
            made = self._ask(FORWARD, "inputs", message.tensors)
            (spec,) = self._contract.features
            return Features(message.step, [_tensor(spec.name, made)])
        if isinstance(message, Backward):
            made = self._ask(BACKWARD, "gradients", message.tensors)
            (spec,) = self._contract.smashed
            return SmashedGrad(message.step, [_tensor(spec.name, made)])
        return Done()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _ask(self, path: str, key: str, tensors: list[CutTensor]) -> Any:
        (tensor,) = tensors
        values = tensor.codes.reshape(tensor.shape).tolist()
        body = stringify({key: values})
        self.uplink_bytes += len(body)
        self._connection.request(
            "POST", path, body, {"Content-Type": "application/json"}
        )
        self._answer()
        self._connection.request("GET", path, headers={})
        packed = self._answer()
        self.downlink_bytes += len(packed)
        return json.loads(gzip.decompress(packed))[key]

    def _answer(self) -> bytes:
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{response.status}: {body.decode()}")
        return body


register("spliteasy", SplitEasyTransport, has_port=True)


class SplitEasyServer:
    """The server's end, for one client.

    Args:
        server: A server model that was cut with float32.
        optimizer: Config of the body's optimizer as JSON; the protocol has
            no place for the client's.
        learning_rate: Its learning rate.
    """

    def __init__(
        self, server: Any, optimizer: str, learning_rate: float
    ) -> None:
        self._host = server.host()
        self._contract = server.contract
        self._optimizer = optimizer
        self._rate = learning_rate
        self._session = ""
        self._step = 0
        self._made: dict[str, Any] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # so that connections stay open
            disable_nagle_algorithm = True
            wbufsize = -1  # head and body in one piece

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer._post(self.path, json.loads(body))
                self._send(201)

            def do_GET(self) -> None:
                text = json.dumps(outer._made[self.path], separators=(",", ":"))
                self._send(
                    200,
                    gzip.compress(text.encode(), GZIP_LEVEL),
                    ("Content-Type", "application/json"),
                    ("Content-Encoding", "gzip"),
                )

            def _send(
                self, status: int, body: bytes = b"", *headers: Any
            ) -> None:
                self.send_response(status)
                for header in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.target = f"127.0.0.1:{self._http.server_port}"

    def run(self) -> None:
        """Answers until `stop`."""
        self._http.serve_forever()

    def stop(self) -> None:
        """Ends `run`."""
        self._http.shutdown()
        self._http.server_close()

    def _post(self, path: str, content: dict[str, Any]) -> None:
        if not self._session:
            hello = Hello(self._contract, self._optimizer)
            self._session = self._handle(hello).session
        if path == FORWARD:
            (spec,) = self._contract.smashed
            tensor = _tensor(spec.name, content["inputs"])
            message: Message = Forward(self._session, self._step, [tensor])
            key = "inputs"
        else:
            (spec,) = self._contract.features
            tensor = _tensor(spec.name, content["gradients"])
            message = Backward(self._session, self._step, [tensor], self._rate)
            key = "gradients"
            self._step += 1
        (made,) = self._handle(message).tensors
        self._made[path] = {key: made.codes.reshape(made.shape).tolist()}

    def _handle(self, message: Message) -> Any:
        reply = self._host.handle(message)
        if hasattr(reply, "reason"):
            raise RuntimeError(f"{reply.reason}: {reply.text}")
        return reply


def _tensor(name: str, values: Any) -> CutTensor:
    array = np.asarray(values, np.float32)
    return CutTensor(name, array.shape, array.reshape(len(array), -1))


def main() -> None:
    """Serves the body of a preset."""
    import keras

    from keras_split import zoo
    from keras_split.utils import malloc

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--input-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    options = parser.parse_args()
    malloc.keep()
    size = options.input_size
    _, model = zoo.load(
        options.preset,
        input_shape=(size, size, 3),
        classes=10,
        seed=0,
        quantization="float32",
    )
    rate = options.learning_rate
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    config = json.dumps(keras.optimizers.serialize(optimizer))
    server = SplitEasyServer(model, config, rate)
    threading.Thread(target=server.run, daemon=True).start()
    print(f"Serving {options.preset} on {server.target}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
