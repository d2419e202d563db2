import subprocess
import sys

from keras_split.client.session import ClientSession
from keras_split.client.strategy import SplitStrategy
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Welcome
from keras_split.transports import Route
from keras_split.transports import Transport
from tests import links

CODE = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ImportError(name)


sys.meta_path.insert(0, Blocked())
from keras_split.client.session import ClientSession
from keras_split.transports import Route

ClientSession(
    Route.to("grpc://127.0.0.1:9", connect_timeout_s=0.1), retry=None
).connect(
    __import__("keras_split.protocol.contract").protocol.contract.Contract(
        "0" * 64, ("a", "b"), (), (),
        __import__("keras_split").Quantization("int8"),
    ),
    "",
)
"""


class Scripted(Transport):
    def __init__(self, replies):
        self.replies = list(replies)
        self.sent = []

    def carry(self, message):
        self.sent.append(message)
        return self.replies.pop(0)

    def close(self):
        self.sent.append("close")


class Talk(ClientSession):
    def __init__(self, *replies):
        self.transport = Scripted(replies)
        super().__init__(Route.to(transport=self.transport))


def test_a_session_is_a_hello_numbered_steps_and_a_goodbye():
    contract = links.halves()[0].contract
    talk = Talk(
        Welcome("s", next_step=4),
        Features(4, [], 0.5),
        SmashedGrad(4, []),
        Features(5, [], 0.25),
        Done(),
    )

    talk.connect(contract, links.SGD)
    first = talk.forward([])
    talk.backward([], 0.1)
    second = talk.forward([])
    talk.close()

    assert (first, second) == (([], 0.5), ([], 0.25))
    hello, *rest, goodbye, closed = talk.transport.sent
    assert hello.contract is contract and hello.optimizer == links.SGD
    assert [(m.session, m.step) for m in rest] == [("s", n) for n in (4, 4, 5)]
    assert (goodbye.session, closed) == ("s", "close")


def test_what_a_server_holds_is_not_kept_after_a_reconnect():
    contract = links.halves()[0].contract
    talk = Talk(
        Welcome("s", keeps_checkpoints=True),
        *(r for n in range(3) for r in (Features(n, []), SmashedGrad(n, []))),
        Welcome("s", 3, durable_steps=2, keeps_checkpoints=True),
        Features(3, []),
        Done(),
    )
    talk.connect(contract, links.SGD)
    for _ in range(3):
        talk.forward([])
        talk.backward([], 0.1)
    log = talk.connection.replay_log
    before = log.first

    talk.connection.hang_up()
    talk.forward([])

    assert (before, log.first) == (0, 2)
    talk.close()


def test_the_strategy_of_keras_has_one():
    assert isinstance(SplitStrategy().session, ClientSession)


def test_it_speaks_where_keras_cannot_be_imported():
    result = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60
    )

    assert "TransportError: Expected a keras_split server" in result.stderr
