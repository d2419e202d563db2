"""What a client with a token may try, and a stranger, for attacked.py.

Each attack is a class whose `run` goes on until it is told to stop. They use
gRPC and the messages of the protocol, and keep no rule of a client.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from keras_split.compression import codecs
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import unary

_SERVICE = "/keras_split.v1.SplitTraining/"
_RAW = codecs.get("raw")
_PAUSE_S = 0.05  # between tries: the attack is on the server, not its cores


@dataclass
class Means:
    """What an attacker has.

    Attributes:
        target: The server, as `"host:port"`.
        token: Lets it in.
        contract: The server's, which every client knows.
        optimizer: Config of one that the server knows already.
        smashed: Smashed data of one batch.
        grads: Gradients of its features.
        stop: An event of a process, set when it is to end.
    """

    target: str
    token: str
    contract: Contract
    optimizer: str
    smashed: list[CutTensor]
    grads: list[CutTensor]
    stop: Any

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What it shows."""
        return [("authorization", f"Bearer {self.token}")]


class Attack:
    """One way to harm others.

    Args:
        means: What it has.
    """

    def __init__(self, means: Means) -> None:
        self.means = means
        self._channel = grpc.insecure_channel(means.target)
        self._exchange = self._channel.unary_unary(_SERVICE + "Exchange")
        self._train = self._channel.stream_stream(_SERVICE + "Train")

    def run(self) -> None:
        """Tries again and again."""
        while not self.means.stop.wait(_PAUSE_S):
            with contextlib.suppress(grpc.RpcError):
                self.once()
        self._channel.close()

    def once(self) -> None:
        """One try."""
        raise NotImplementedError

    def ask(self, message: Message) -> Any:
        """One message without a stream, and its reply."""
        raw = unary.encode(message, _RAW)
        answer = self._exchange(raw, metadata=self.means.headers, timeout=20)
        return unary.decode(answer, _RAW)

    def hello(self) -> str:
        """Opens a session; its name, empty if it was refused."""
        means = self.means
        reply = self.ask(Hello(means.contract, means.optimizer))
        return getattr(reply, "session", "")

    def stream(self, requests: Iterator[bytes]) -> Any:
        """Replies of a stream, which need not be read."""
        return self._train(requests, metadata=self.means.headers)


class ManyHellos(Attack):
    """Opens sessions and leaves them."""

    def once(self) -> None:
        """One more."""
        self.hello()


class RacingGoodbyes(Attack):
    """Sends a forward and says goodbye before it is answered."""

    def once(self) -> None:
        """One race."""
        session = self.hello()
        messages = [Forward(session, 0, self.means.smashed), Goodbye(session)]
        waiting = [
            self._exchange.future(
                unary.encode(message, _RAW),
                metadata=self.means.headers,
                timeout=20,
            )
            for message in messages
        ]
        for reply in waiting:
            reply.result()


class AbandonedForwards(Attack):
    """Has forwards computed and never goes on."""

    def once(self) -> None:
        """Eight of them."""
        session = self.hello()
        for _ in range(8):
            self.ask(Forward(session, 0, self.means.smashed))


class UnfinishedSteps(Attack):
    """Leaves steps in microbatches when they have gradients."""

    def once(self) -> None:
        """One step of three microbatches, but for the last."""
        session, means = self.hello(), self.means
        batch = 3 * means.smashed[0].shape[0]
        for index in range(2):
            about = Microbatch(index, 3, batch, 1)
            self.ask(Forward(session, 0, means.smashed, about))
        about = Microbatch(0, 3, batch, 1)
        self.ask(Backward(session, 0, means.grads, 0.0, about))


class LongDescriptions(Attack):
    """Describes without end."""

    def once(self) -> None:
        """A million empty tensors."""
        tensors = b"\x1a\x00" * (1 << 20)  # each Forward.tensors, of length 0
        raw = b"\x1a\x80\x80\x80\x01" + tensors  # Envelope.forward, 2 MiB
        self._exchange(raw, metadata=self.means.headers, timeout=20)


class SlowWriters(Attack):
    """Begins messages and does not end them."""

    def once(self) -> None:
        """One message, of which half comes."""
        means = self.means

        def requests() -> Iterator[bytes]:
            hello = Hello(means.contract, means.optimizer)
            yield from frames.split(*convert.to_wire(hello, _RAW))
            session = self.hello()
            forward = Forward(session, 0, means.smashed)
            envelope, pieces = convert.to_wire(forward, _RAW)
            whole = b"".join(map(bytes, pieces))
            frame = pb.Frame(envelope=envelope)
            frame.envelope.payload = whole[: len(whole) // 2]
            yield frame.SerializeToString()
            means.stop.wait(2)

        for _ in self.stream(requests()):
            pass


class DeafReaders(Attack):
    """Asks for early replies in a stream and takes none of them."""

    def once(self) -> None:
        """A few steps; the server waits with them for two seconds."""
        means = self.means
        done = threading.Event()

        def requests() -> Iterator[bytes]:
            hello = Hello(means.contract, means.optimizer)
            yield from frames.split(*convert.to_wire(hello, _RAW))
            session = self.hello()
            for step in range(10):
                if done.is_set():
                    return
                for message in (
                    Forward(session, step, means.smashed, early=True),
                    Backward(session, step, means.grads, 0.0, early=True),
                ):
                    yield from frames.split(*convert.to_wire(message, _RAW))

        replies = self.stream(requests())
        means.stop.wait(2)
        done.set()
        replies.cancel()


class ManySnapshots(Attack):
    """Fills the server's disk."""

    def once(self) -> None:
        """One that is held, and one that is not."""
        session = self.hello()
        self.ask(Snapshot(session, held=True))
        self.ask(Snapshot(session))
        self.ask(Goodbye(session))


class StrangersMessages(Attack):
    """Has no token, and sends what could be a step."""

    def once(self) -> None:
        """One message of 2 MiB."""
        self._exchange(bytes(2 << 20), timeout=20)


class StrangersProbes(Attack):
    """Has no token, and asks for the health of services of its own making."""

    def once(self) -> None:
        """Eight questions, and as many that wait for an answer to change."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        names = [secrets.token_hex(512) for _ in range(8)]
        asked = [health_pb2.HealthCheckRequest(service=name) for name in names]
        watches = [stub.Watch(request, timeout=5) for request in asked]
        for request in asked:
            with contextlib.suppress(grpc.RpcError):
                stub.Check(request, timeout=5)
        for watch in watches:
            watch.cancel()


ATTACKS: dict[str, type[Attack]] = {
    attack.__name__: attack
    for attack in (
        *(ManyHellos, RacingGoodbyes, AbandonedForwards, UnfinishedSteps),
        *(LongDescriptions, SlowWriters, DeafReaders, ManySnapshots),
        *(StrangersMessages, StrangersProbes),
    )
}


def run(name: str, means: Means, threads: int) -> None:
    """Attacks in so many threads until it is told to stop.

    In a process of its own that takes only what the server and its honest
    client leave of the cores: a stranger has cores of their own, and what is
    to be measured is what they do to the server.
    """
    os.nice(19)
    running = [
        threading.Thread(target=ATTACKS[name](means).run)
        for _ in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
