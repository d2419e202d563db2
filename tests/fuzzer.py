"""Sends a server what nobody who follows the protocol would send."""

import dataclasses
import random
import threading
from collections import Counter

import grpc
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_split.compression import codecs
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from tests import links
from tests.golden.messages import SAMPLES

SERVICE = "/keras_split.v1.SplitTraining/"
_LEAVE = (Hello, Welcome, Goodbye)
# What a server may say to such messages instead of an answer.
ALLOWED = {grpc.StatusCode.PERMISSION_DENIED}


def whole(message):
    """The bytes of a message as one unary request."""
    envelope, payload = convert.to_wire(message, codecs.get("raw"))
    envelope.payload = b"".join(payload)
    return envelope.SerializeToString()


class Fuzzer:
    """A client that is let in and behaves badly.

    Args:
        target: `"host:port"` of the server.
        token: Its token.
        contract: Of the server; it knows the model.
        victim: Name of another client's session, which it knows as well.
        seed: Of what it sends.

    Attributes:
        sent: Messages sent so far.
        replies: How often each kind of reply came, refusals by reason.
        surprises: Ends of calls that no message may cause.
    """

    def __init__(self, target, token, contract, victim, seed=0):
        self.sent = 0
        self.replies = Counter()
        self.surprises = []
        self._random = random.Random(seed)
        self._metadata = [("authorization", f"Bearer {token}")]
        self._hanging = []
        self._closed = threading.Event()
        self._channel = grpc.insecure_channel(target)
        self._train = self._channel.stream_stream(SERVICE + "Train")
        self._reach()
        self._contract = contract
        self._victim = victim
        self._greet()

    def _reach(self):
        """Makes what carries one message."""
        self._exchange = self._channel.unary_unary(SERVICE + "Exchange")

    def mutate(self, count):
        """Sends damaged messages, one by one."""
        for _ in range(count):
            self._send(self._damaged(self._random.choice(self._corpus)))
            if self.sent % 500 == 0:
                self._greet()

    def generate(self, count):
        """Sends messages that hypothesis thought of."""

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(_envelopes(self._session, self._victim))
        def send(envelope):
            self._send(envelope.SerializeToString())

        send()

    def stream(self, count):
        """Sends streams of frames, in order or not, damaged or not."""
        end = self.sent + count
        while self.sent < end:
            sequence = []
            for _ in range(self._random.randint(1, 12)):
                sequence.extend(self._frames())
            self.sent += len(sequence)
            self._follow(sequence)

    def hang(self, count):
        """Opens streams that stop in the middle of a message, and wait."""
        for number in range(count):
            start = self._damaged(self._random.choice(self._corpus))
            if number % 2:
                forward = pb.Forward(session=self._session)
                envelope = pb.Envelope(forward=forward, payload_bytes=1 << 14)
                start = pb.Frame(envelope=envelope).SerializeToString()
            self._hanging.append(
                self._train(self._waiting(start), metadata=self._metadata)
            )

    def close(self):
        """Lets go of the server, and of streams that still hang."""
        self._closed.set()
        for call in self._hanging:
            call.cancel()
        self._channel.close()

    def _waiting(self, start):
        yield start
        self._closed.wait(300)

    def _greet(self):
        """Opens a session of its own, for messages that go deep."""
        raw = self._exchange(
            whole(links.hello(self._contract)), metadata=self._metadata
        )
        self._session = pb.Envelope.FromString(raw).welcome.session
        assert self._session
        smashed = links.smashed(self._contract, size=2)
        gradients = links.features_grad(self._contract, size=2)
        mine = {"session": self._session}
        other = {"session": self._victim}
        # No Backward of its own: one that is sound trains the body.
        real = [
            links.hello(self._contract),
            Forward(**mine, step=0, tensors=smashed),
            Infer(**mine, tensors=smashed),
            Forward(**other, step=0, tensors=smashed),
            Backward(**other, step=0, tensors=gradients, learning_rate=1.0),
            Restore(**other, tag="0" * 16),
            Goodbye(**other),
        ]
        samples = [
            dataclasses.replace(sample, **mine)
            if "session" in vars(sample) and not isinstance(sample, _LEAVE)
            else sample
            for sample in SAMPLES.values()
        ]
        self._corpus = [whole(m) for m in [*real, *real, *samples]]

    def _send(self, raw):
        self.sent += 1
        try:
            reply = self._exchange(raw, metadata=self._metadata, timeout=60)
        except grpc.RpcError as error:
            self._failed(error, raw)
        else:
            self._read(pb.Envelope.FromString(reply))

    def _follow(self, sequence):
        call = self._train(iter(sequence), metadata=self._metadata, timeout=60)
        try:
            for raw in call:
                frame = pb.Frame.FromString(raw)
                if frame.HasField("envelope"):
                    self._read(frame.envelope, stream=True)
        except grpc.RpcError as error:
            self._failed(error, sequence)

    def _failed(self, error, sent):
        self.replies[error.code().name] += 1
        if error.code() not in ALLOWED:
            self.surprises.append((error.code(), error.details(), sent))

    def _read(self, reply, stream=False):
        kind = reply.WhichOneof("message")
        self.replies[reply.refusal.reason or kind] += 1
        if reply.refusal.reason == "internal":
            self.surprises.append(reply.refusal.text)
        if kind == "welcome" and reply.welcome.session != self._session:
            # It leaves room for others.
            bye = whole(Goodbye(reply.welcome.session))
            self._exchange(bye, metadata=self._metadata)

    def _damaged(self, raw):
        data = bytearray(raw)
        for _ in range(self._random.choice([0, 1, 1, 1, 2, 5])):
            self._damage(data)
        return bytes(data)

    def _damage(self, data):
        # Most of what is read first is at the front, before the payload.
        last = len(data) if self._random.random() < 0.3 else min(len(data), 120)
        place = self._random.randint(0, last)
        piece = data[place : place + self._random.randint(1, 8)]
        match self._random.choice([0, 0, 1, 1, 1, 2, 3, 4, 5, 6]):
            case 0:
                data[place : place + 1] = self._random.randbytes(1)
            case 1:
                if piece:
                    data[place] ^= 1 << self._random.randrange(8)
            case 2:
                del data[place : place + len(piece)]
            case 3:
                data[place:place] = self._random.randbytes(len(piece) or 1)
            case 4:
                data[place:place] = piece * self._random.randint(1, 50)
            case 5:
                del data[place:]
            case 6:  # a varint of 2**63 or so, where a number may be
                data[place : place + 1] = b"\xff" * 9 + b"\x01"

    def _frames(self):
        envelope = pb.Envelope()
        try:
            envelope.ParseFromString(
                self._damaged(self._random.choice(self._corpus))
            )
        except Exception:  # noqa: S110 (what was read of it is sent)
            pass
        payload = envelope.payload
        if self._random.random() < 0.5:
            envelope.payload_bytes = len(payload)
        match self._random.randrange(5):
            case 0:
                cut = self._random.randint(0, len(payload))
                envelope.payload = payload[:cut]
                yield pb.Frame(envelope=envelope).SerializeToString()
                yield pb.Frame(chunk=payload[cut:]).SerializeToString()
            case 1:
                yield self._damaged(
                    pb.Frame(envelope=envelope).SerializeToString()
                )
            case 2:
                yield pb.Frame(chunk=payload).SerializeToString()
            case 3:
                yield self._random.randbytes(self._random.randint(0, 40))
            case 4:
                long = envelope.payload * 8
                envelope.payload_bytes = len(long)
                yield from frames.split(envelope, [long])


def _envelopes(session, victim):
    """Envelopes that protobuf can carry, whatever they mean."""
    sizes = st.one_of(
        st.integers(0, 20), st.sampled_from([1 << 31, 1 << 48, (1 << 64) - 1])
    )
    names = st.sampled_from(["", "first", "drop", "é", "x" * 300])
    sessions = st.sampled_from([session, session, victim, "", "x"])
    dtypes = ["float32", "float16", "int8", "int64", "bool", "object", "", "O"]
    tensors = st.lists(
        st.builds(
            pb.Tensor,
            name=names,
            shape=st.lists(sizes, max_size=5),
            dtype=st.sampled_from(dtypes),
            codes_shape=st.lists(sizes, max_size=5),
            codes_bytes=sizes,
            scale_rows=sizes,
        ),
        max_size=3,
    )
    floats = st.floats(width=64)
    kinds = {
        "hello": st.builds(
            pb.Hello,
            protocol=st.integers(0, 2),
            contract=st.builds(
                pb.Contract,
                fingerprint=names,
                cut=st.lists(names, max_size=3),
                activations=st.builds(
                    pb.Rule,
                    dtype=st.sampled_from(dtypes),
                    granularity=st.sampled_from(["tensor", "example", ""]),
                    rounding=st.sampled_from(["nearest", ""]),
                ),
                codec=st.sampled_from(["raw", "zstd", "pickle"]),
            ),
            optimizer=st.text(max_size=20),
            session=sessions,
            next_step=sizes,
        ),
        "forward": st.builds(
            pb.Forward, session=sessions, step=sizes, tensors=tensors
        ),
        "infer": st.builds(pb.Infer, session=sessions, tensors=tensors),
        "backward": st.builds(
            pb.Backward,
            session=sessions,
            step=sizes,
            tensors=tensors,
            learning_rate=floats,
        ),
        "labeled_step": st.builds(
            pb.LabeledStep,
            session=sessions,
            step=sizes,
            tensors=tensors,
            labels=tensors,
            sample_weights=tensors,
            learning_rate=floats,
        ),
        "restore": st.builds(pb.Restore, session=sessions, tag=st.text()),
        "release": st.builds(pb.Release, session=sessions, tag=st.text()),
        "snapshot": st.builds(pb.Snapshot, session=st.just(victim)),
        "goodbye": st.builds(pb.Goodbye, session=st.just(victim)),
        "welcome": st.builds(pb.Welcome, session=sessions, next_step=sizes),
        "features": st.builds(pb.Features, tensors=tensors),
        "refusal": st.builds(pb.Refusal, reason=names),
    }
    return st.one_of(
        st.builds(
            pb.Envelope,
            **{kind: message},
            payload_bytes=sizes,
            payload=st.binary(max_size=64),
        )
        for kind, message in kinds.items()
    )
