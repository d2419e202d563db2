"""A phone that trains by itself for a round: what it gets, and what it made."""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.federation.pair import Pair
from keras_split.federation.shards import Shards
from keras_split.federation.traffic import Traffic
from keras_split.federation.variable_bytes import VariableBytes

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Begun:
    """What all phones of a round begin with.

    Attributes:
        half: Of head and tail, bytes of float32.
        body: Likewise, of the body.
    """

    half: _Array
    body: _Array


@dataclass(frozen=True)
class PhoneTurn:
    """Whose turn it is.

    Attributes:
        number: Of the round, from 0.
        phone: Number of the phone.
        kept: What it keeps to itself, as bytes; see `Pair.own`.
    """

    number: int
    phone: int
    kept: _Array


@dataclass(frozen=True)
class TurnResult:
    """What came out of a turn.

    Attributes:
        phone: Number of the phone.
        values: Its half, what it keeps to itself, and its body, as bytes.
        steps: That it took.
        loss: Sum of the losses of its examples, and how many they were.
        uplink_bytes: That its steps would have sent.
        downlink_bytes: And received.
    """

    phone: int
    values: _Array
    steps: int
    loss: tuple[float, float]
    uplink_bytes: int
    downlink_bytes: int


@dataclass(frozen=True)
class TurnTerms:
    """What is the same in all turns of a simulation.

    Attributes:
        batch: Examples of a step.
        epochs: Over its examples that a phone trains in a turn.
        seed: Of the order of examples.
        counted: Whether steps send anything: not where the whole model lies
            on the phone.
    """

    batch: int
    epochs: int
    seed: int
    counted: bool = True

    def batches(self, shards: Shards, turn: PhoneTurn) -> Iterator[_Array]:
        """Positions of the examples of each step."""
        return batches(
            shards.phones[turn.phone],
            self.batch,
            self.epochs,
            [self.seed, turn.number, turn.phone],
        )


class PhoneTrainer:
    """Trains phones, each from where its round begins, in any order.

    A turn is a function of what it is given: whichever process takes it, and
    after whichever others, it makes the same values.

    Args:
        pair: Takes the steps.
        shards: What each phone has.
        terms: What is the same in all turns.
        traffic: Counts bytes of steps, those of each turn by themselves.
    """

    def __init__(
        self, pair: Pair, shards: Shards, terms: TurnTerms, traffic: Traffic
    ) -> None:
        self._pair, self._shards = pair, shards
        self._terms, self._traffic = terms, traffic
        self._values = VariableBytes([*pair.half, *pair.own, *pair.body])
        self._tally = VariableBytes(pair.tally)

    def __call__(self, begun: Begun, turn: PhoneTurn) -> TurnResult:
        """Trains a phone."""
        self._values.set(np.concatenate([begun.half, turn.kept, begun.body]))
        self._tally.set(np.zeros(self._tally.size, np.uint8))
        traffic = self._traffic
        traffic.begin_turn()
        before = traffic.uplink_bytes, traffic.downlink_bytes
        steps = 0
        for positions in self._terms.batches(self._shards, turn):
            crossed = self._pair.step(*self._shards.rows(positions))
            if self._terms.counted:
                traffic.step(crossed, [len(positions)])
            steps += 1
        loss, examples = self._tally.get().view(np.float32).tolist()
        return TurnResult(
            turn.phone,
            self._values.get(),
            steps,
            (loss, examples),
            traffic.uplink_bytes - before[0],
            traffic.downlink_bytes - before[1],
        )


def batches(
    positions: _Array, batch: int, epochs: int, seed: Sequence[int]
) -> Iterator[_Array]:
    """Positions of a phone's batches, in another order in every epoch."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(positions)
        for start in range(0, len(order), batch):
            yield order[start : start + batch]
