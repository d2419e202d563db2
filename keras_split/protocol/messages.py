"""The messages of the protocol as dataclasses: no protobuf, no TensorFlow.

In a U shape no message has a field for inputs or labels. Only `LabeledStep`,
which a model cut once needs, carries labels; a server whose contract has two
cuts refuses it.
"""

from dataclasses import dataclass
from dataclasses import field

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.moment import Moment

PROTOCOL = 1
MAX_MICROBATCHES = 64
# Of a client that only predicts; the server wants an optimizer all the same.
NO_OPTIMIZER = '{"class_name": "SGD", "config": {"learning_rate": 0.0}}'


@dataclass(frozen=True)
class Message:
    """The root of every message."""


@dataclass(frozen=True)
class Hello(Message):
    """Opens a session.

    Attributes:
        contract: What the client was cut with; must equal the server's.
        optimizer: Config of the body's optimizer as JSON; empty for none.
        loss: Config of the loss as JSON; only when labels go to the server.
        protocol: Version of the protocol that the client speaks.
        session: The session to go on with after a lost connection; empty for
            a new one.
        next_step: Of that session, as the client knows it.
        moment: Of the client's half; empty if it has not trained.
        data: What the client's data is, as hashes.
        follows: Whether the client goes where a `Welcome` sends it.
        reuse: Whether it would have the server keep rows that it sends.
    """

    contract: Contract
    optimizer: str = ""
    loss: str = ""
    protocol: int = PROTOCOL
    session: str = ""
    next_step: int = 0
    moment: Moment = Moment()
    data: DataDigest = field(default_factory=DataDigest)
    follows: bool = False
    reuse: bool = False


@dataclass(frozen=True)
class Welcome(Message):
    """The server's answer: the session's name, its next step, its limits.

    Attributes:
        session: Name of the session; who knows it can go on with it.
        next_step: The first step that the server has not taken yet.
        max_message_bytes: The largest message that the server takes.
        notice: What the user should be told.
        durable_steps: Steps below this one outlive the server.
        keeps_checkpoints: Whether later steps will, too.
        replies_early: Whether a `Backward` may ask for that.
        moment: Of the body; empty if it has not trained.
        frozen_body: Whether the body has no weights to train. Then the
            `Backward` of a step with `no_smashed_grad` needs no tensors.
        cohort: Of the phones that train one model here; None if each keeps
            a half of its own.
        address: `"host:port"` of the server that has, or is to open, the
            session; then nothing else is said, and the client greets that
            one.
        reuse_bytes: Room for rows that the server keeps, if the `Hello` asked
            for it; 0 for none.
        reuse_rows: How many it keeps now.
    """

    session: str
    next_step: int = 0
    max_message_bytes: int = 0
    notice: str = ""
    durable_steps: int = 0
    keeps_checkpoints: bool = False
    replies_early: bool = False
    moment: Moment = Moment()
    frozen_body: bool = False
    cohort: CohortInfo | None = None
    address: str = ""
    reuse_bytes: int = 0
    reuse_rows: int = 0


@dataclass(frozen=True)
class Microbatch:
    """Which microbatch of a step a message carries.

    Attributes:
        index: Its number, from 0.
        count: How many make the step.
        batch: Examples of all of them together.
        attempt: Larger when the client begins a step anew, with other data;
            tells what it gave up from what it sent twice.
    """

    index: int
    count: int
    batch: int
    attempt: int = 0


@dataclass(frozen=True)
class Forward(Message):
    """Smashed data of one training step, or of a microbatch of it.

    With `early` its `Backward` will be answered early. With `no_smashed_grad`
    the head has no weights to train, and the answer to its `Backward` has no
    tensors. `merged` says which step of a cohort it is a share of. With
    `rows` the tensors have only those that the server does not keep.
    """

    session: str
    step: int
    tensors: list[CutTensor]
    microbatch: Microbatch | None = None
    early: bool = False
    no_smashed_grad: bool = False
    merged: MergedStep | None = None
    rows: KnownRows | None = None


@dataclass(frozen=True)
class Infer(Message):
    """Smashed data of one batch that nobody trains on; `rows` as above."""

    session: str
    tensors: list[CutTensor]
    rows: KnownRows | None = None


@dataclass(frozen=True)
class Features(Message):
    """Body output; `penalty` is the body's own regularization loss."""

    step: int
    tensors: list[CutTensor]
    penalty: float = 0.0


@dataclass(frozen=True)
class Backward(Message):
    """Gradients of the features, and the learning rate of this step.

    Where neither head nor body has weights to train it may come without
    tensors; it still ends the step.

    With `early` it has two replies: a `SmashedGrad` as soon as that is known,
    and then a `Committed`, or a `Refusal` if the step was not taken after all.
    If `rate_said` is true, a learning rate of 0 travels as well, which it did
    not always do; a server takes one that did not travel for false.
    """

    session: str
    step: int
    tensors: list[CutTensor]
    learning_rate: float
    microbatch: Microbatch | None = None
    early: bool = False
    rate_said: bool | None = field(default=None, compare=False)


@dataclass(frozen=True)
class SmashedGrad(Message):
    """Gradients of the smashed data; the body has made its step.

    Without tensors if the step's `Forward` said that nobody needs them.

    In answer to a microbatch, the body makes its step with the last one; in
    an early answer, when it says `Committed`. Where it has made it, `moment`
    is the body's after it.
    """

    step: int
    tensors: list[CutTensor]
    durable_steps: int = 0
    moment: Moment = Moment()


@dataclass(frozen=True)
class Committed(Message):
    """The body has made the step whose gradients were there early."""

    step: int
    durable_steps: int = 0
    moment: Moment = Moment()


@dataclass(frozen=True)
class LabeledStep(Message):
    """Smashed data and labels of one step of a model that is cut once.

    With `no_smashed_grad` the answer has no gradients, and with `rows` not
    all is in the tensors, as in `Forward`.
    """

    session: str
    step: int
    tensors: list[CutTensor]
    labels: list[CutTensor]
    sample_weights: list[CutTensor]
    learning_rate: float
    rate_said: bool | None = field(default=None, compare=False)
    no_smashed_grad: bool = False
    rows: KnownRows | None = None


WithSmashed = Forward | Infer | LabeledStep


@dataclass(frozen=True)
class LabeledResult(Message):
    """Loss, predictions and gradients of the smashed data."""

    step: int
    loss: float
    predictions: list[CutTensor]
    tensors: list[CutTensor]
    durable_steps: int = 0
    moment: Moment = Moment()


@dataclass(frozen=True)
class Snapshot(Message):
    """Asks the server to keep a copy of the body as it is now.

    With `held` it stays before others of the same client: a list in the
    phone's memory names it, until it says `Release` or the session ends.
    """

    session: str
    held: bool = False


@dataclass(frozen=True)
class SnapshotTaken(Message):
    """The name under which the server keeps the copy."""

    tag: str


@dataclass(frozen=True)
class Restore(Message):
    """Asks the server to bring back a snapshot; the optimizer on request."""

    session: str
    tag: str
    optimizer: bool = False


@dataclass(frozen=True)
class Release(Message):
    """Tells the server that nobody here needs the snapshot any more."""

    session: str
    tag: str


@dataclass(frozen=True)
class Checkpoint(Message):
    """Asks the server to make the steps so far outlive it."""

    session: str


@dataclass(frozen=True)
class Goodbye(Message):
    """Ends a session."""

    session: str


@dataclass(frozen=True)
class Done(Message):
    """Yes, it is done."""


@dataclass(frozen=True)
class Refusal(Message):
    """No: the server's state is as it was before the message.

    Attributes:
        reason: One word for programs.
        text: What was expected, what came, what to do.
    """

    reason: str
    text: str = field(default="")


def payload_bytes(message: Message) -> int:
    """Bytes of the codes and scales that a message carries."""
    return sum(
        tensor.nbytes
        for value in vars(message).values()
        if isinstance(value, list)
        for tensor in value
        if isinstance(tensor, CutTensor)
    )
