"""The messages of a cohort: the phones that train one model.

A phone enrolls, and gets the half that the others have. Then it trains: in a
`merged` cohort it asks for its share of each step, in others it begins rounds
and ends them with a contribution. What waits for others may be answered with
`Later`: ask again.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.messages import Message
from keras_split.protocol.moment import Moment

# The parts of an averaging, in order; one that is not secure has a value only.
STAGES = ("keys", "shares", "value", "unmask")
# Instead of the number of a step in a `Share`.
NO_STEP = -1
GIVE_FIRST = -2


@dataclass(frozen=True)
class Later(Message):
    """Not yet: others are awaited. Ask again, now."""


@dataclass(frozen=True)
class Enroll(Message):
    """A phone joins the cohort of its server, or comes back to it.

    Attributes:
        session: Of the phone.
        terms: How halves are to be averaged.
        size: Numbers in the vector of a half: weights that are averaged, and
            with gradients the optimizer's slots behind them.
        layout: SHA-256 of what they are, as hexadecimal digits.
        examples: That the phone has to train on.
        capacity: The most examples that it can take in one step; 0 for any.
        version: Of its half: the number of averages in it; -1 for one of its
            own.
        averaged: Numbers at the beginning of the vector that are averaged,
            where the optimizer's slots are behind them; 0 for all.
    """

    session: str
    terms: AveragingTerms
    size: int
    layout: str
    examples: int
    capacity: int = 0
    version: int = -1
    averaged: int = 0


@dataclass(frozen=True)
class Enrolled(Message):
    """The phone is one of the cohort.

    Attributes:
        member: Its number there, from 0; the same whenever it comes back.
        version: Of the cohort's half.
        give_half: Whether the cohort has no half yet, and wants this phone's
            as the one that all begin with: a `PutHalf`.
        tensors: One vector, the cohort's half; none if the phone has it.
    """

    member: int
    version: int
    give_half: bool = False
    tensors: list[CutTensor] = field(default_factory=list)


@dataclass(frozen=True)
class PutHalf(Message):
    """The half of a phone, for others to begin with; `Done` answers.

    Attributes:
        session: Of the phone.
        version: Of this half.
        tensors: One vector.
    """

    session: str
    version: int
    tensors: list[CutTensor]


@dataclass(frozen=True)
class BeginRound(Message):
    """Asks to train in the next round.

    Attributes:
        session: Of the phone.
        version: Of its half.
    """

    session: str
    version: int


@dataclass(frozen=True)
class Leave(Message):
    """Ends the training of a phone, so that no other waits for it.

    Its session stays, and it may enroll again. A phone that is gone without
    a word is waited for a while, as one that lost its connection.
    """

    session: str


@dataclass(frozen=True)
class RoundBegun(Message):
    """The phone trains in this round.

    Attributes:
        round: Its number, from 0.
        version: Of the half that it begins with.
        tensors: One vector, that half; none if the phone has it.
    """

    round: int
    version: int
    tensors: list[CutTensor] = field(default_factory=list)


@dataclass(frozen=True)
class AskShare(Message):
    """Asks for the phone's share of the next merged step.

    Attributes:
        session: Of the phone.
        left: Examples that it has left in this epoch; 0 if it has seen all,
            and waits for the others to end theirs.
        epoch: Which of its epochs, from 0.
        version: Of its half.
        seen: One more than the last step that a `Share` told it of; 0 before
            the first.
    """

    session: str
    left: int
    epoch: int
    version: int
    seen: int = 0


@dataclass(frozen=True)
class Share(Message):
    """What the phone does in the next step.

    Attributes:
        step: Number of the step in the cohort; `NO_STEP` if there is none,
            because the epoch is over for all; `GIVE_FIRST` if there is none
            before a `PutHalf` has come. Then the phone asks again.
        count: Examples to take; 0 for a phone that was not drawn, which only
            listens to the average, if there is one.
        members: Who takes part, as in `MergedStep`.
        version: Of the half that the step begins with.
        give_half: Whether a `PutHalf` is to come first, for who is behind.
        tensors: One vector, that half; none if the phone has it.
        ticket: Goes back with the `Forward`, as `MergedStep.ticket`.
    """

    step: int
    count: int
    members: Sequence[int] = ()
    version: int = 0
    give_half: bool = False
    tensors: list[CutTensor] = field(default_factory=list)
    ticket: bytes = b""


@dataclass(frozen=True)
class Contribution(Message):
    """One stage of an averaging, from one phone.

    Attributes:
        session: Of the phone.
        round: Number of the round; in a `merged` cohort that averages
            gradients the number of the step.
        stage: One of `STAGES`.
        weight: Of its value: its examples; 0 to listen only.
        tensors: `value`: one vector, float32 or masked, uint32 or uint64.
        blobs: `keys`: its public keys, under its own number; `shares`: sealed
            shares by who can open them; `unmask`: shares by whose they are.
    """

    session: str
    round: int
    stage: str
    weight: float = 0.0
    tensors: list[CutTensor] = field(default_factory=list)
    blobs: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Gathered(Message):
    """What became of a stage.

    Attributes:
        round: As in the contribution.
        stage: Likewise.
        members: Whose contributions are in.
        version: Of the half after it; -1 if this was not the last stage.
        weight: Of all contributions together.
        tensors: After the last stage one vector, float32: the average.
        blobs: `keys`: the public keys of all, by member; `shares`: sealed for
            this phone, by who sealed them.
        moment: Of the body that all train, with which the averaged half is
            one model; empty before the last stage, and where each phone has a
            body of its own.
    """

    round: int
    stage: str
    members: Sequence[int] = ()
    version: int = -1
    weight: float = 0.0
    tensors: list[CutTensor] = field(default_factory=list)
    blobs: Mapping[int, bytes] = field(default_factory=dict)
    moment: Moment = Moment()
