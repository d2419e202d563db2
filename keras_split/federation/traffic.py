"""What simulated phones would have sent and received, in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np

from keras_split.compression import codecs
from keras_split.compression.codecs import Codec
from keras_split.compression.tensors import CutTensor
from keras_split.protocol import vectors
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.wire.size import nbytes
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.drawn import Tickets
from keras_split.training.crossed_step import CrossedStep

_SESSION = "0" * 32
_RAW = "raw"
_EVERY = 25  # steps from one measuring to the next, where bytes vary
# Of a secure sum, for each other phone: public keys, sealed shares with their
# digests, and a share that opens a mask.
_KEYS, _SHARES, _UNMASK = 97, 112, 16


@dataclass
class Traffic:
    """Counts what the phones of a cohort send and receive together.

    Steps are the messages of a real step with that many examples, as they
    travel, envelopes included. With a codec whose result depends on the data
    every 25th step is encoded, and those between count as much a row.

    Attributes:
        cuts: Tensors that cross.
        codec: Packs them.
        secure: Whether halves are added up under masks.
        bits: Of these.
        uplink_bytes: So far, of all phones together.
        downlink_bytes: Likewise.
    """

    cuts: Any
    codec: Codec
    secure: bool = False
    bits: int = 64
    uplink_bytes: int = 0
    downlink_bytes: int = 0

    def __post_init__(self) -> None:
        self._sizes: dict[tuple[int, int], tuple[float, float]] = {}
        self._steps = 0
        self._vectors: dict[tuple[int, int], tuple[int, int]] = {}

    def begin_turn(self) -> None:
        """Measures the next step, whatever those before it were.

        So the count of a phone's turn is the same wherever others have theirs.
        """
        self._steps = 0

    def step(
        self, crossed: CrossedStep, counts: Sequence[int], merged: bool = False
    ) -> None:
        """Counts a step, of one phone or of several together.

        Args:
            crossed: What crossed the cut, of all of them.
            counts: Examples of each, in the order of the batch.
            merged: Whether it is a step of a merged cohort.
        """
        total, start = sum(counts), 0
        members = len(counts) if merged else 0
        if self.codec.name != _RAW and self._steps % _EVERY == 0:
            self._sizes.clear()
        self._steps += 1
        for count in counts:
            key = (count, members)
            if key not in self._sizes:
                part = _rows(crossed, start, count, total)
                self._sizes[key] = self._measured(part, count, members)
            up, down = self._sizes[key]
            self.add(up, down)
            start += count

    def shares(self, phones: int, members: int) -> None:
        """Counts what all phones say and hear of a merged step."""
        ask = AskShare(_SESSION, 1000, 1, 1000, 1000)
        share = Share(1000, 10, range(members), 1000)
        down = phones * self._size(share) + members * len(_ticket(members))
        self.add(phones * self._size(ask), down)

    def begin(self, phones: int, stale: int, size: int) -> None:
        """Counts the begin of a round.

        Args:
            phones: That take part.
            stale: Of them, those that were not in the last average.
            size: Numbers in a half.
        """
        begin = BeginRound(_SESSION, 1000)
        bare = RoundBegun(1000, 1000)
        whole = RoundBegun(1000, 1000, _vector(size, "float32"))
        down = (phones - stale) * self._size(bare)
        self.add(phones * self._size(begin), down + stale * self._size(whole))

    def average(self, phones: int, size: int) -> None:
        """Counts an average of vectors, one of each phone.

        Args:
            phones: That contribute, or listen.
            size: Numbers in a vector.
        """
        if (phones, size) not in self._vectors:
            self._vectors[phones, size] = self._averaged(phones, size)
        up, down = self._vectors[phones, size]
        self.add(phones * up, phones * down)

    def add(self, uplink_bytes: float, downlink_bytes: float) -> None:
        """Counts so many bytes."""
        self.uplink_bytes += round(uplink_bytes)
        self.downlink_bytes += round(downlink_bytes)

    def _measured(
        self, crossed: CrossedStep, count: int, members: int
    ) -> tuple[float, float]:
        up, down = crossed.messages(self.cuts, _SESSION, 1000, True)
        if members:
            first = up[0]
            assert isinstance(first, Forward)
            ticket = _ticket(members)
            merged = MergedStep(1000, count, range(members), ticket)
            up[0] = replace(first, merged=merged)
        return sum(map(self._size, up)), sum(map(self._size, down))

    def _averaged(self, phones: int, size: int) -> tuple[int, int]:
        """Bytes of one phone in an average, up and down."""
        everybody = range(phones)
        result = _vector(size, "float32")
        masked = self.secure and phones > 1
        value = _vector(size + 1, f"uint{self.bits}") if masked else result
        given = [Contribution(_SESSION, 1000, "value", 100.0, value)]
        told: list[Message] = [
            Gathered(1000, "value", everybody, 1000, 1e4, result)
        ]
        if masked:
            others = range(phones - 1)
            given += [
                _blobs("keys", {0: _KEYS}),
                _blobs("shares", dict.fromkeys(others, _SHARES)),
                _blobs("unmask", dict.fromkeys(everybody, _UNMASK)),
            ]
            for stage, blobs in (
                ("keys", dict.fromkeys(everybody, bytes(_KEYS))),
                ("shares", dict.fromkeys(others, bytes(_SHARES))),
                ("value", {}),
            ):
                told.append(Gathered(1000, stage, everybody, blobs=blobs))
        return sum(map(self._size, given)), sum(map(self._size, told))

    def _size(self, message: Message) -> int:
        # Vectors of halves travel as they are, whatever packs the cut.
        step = isinstance(message, Contribution | Gathered | RoundBegun)
        return nbytes(message, codecs.get(_RAW) if step else self.codec)


def _vector(size: int, dtype: str) -> list[CutTensor]:
    # One number that stands in all places: nothing of that size is made.
    return vectors.to_tensors(np.broadcast_to(np.zeros(1, dtype), (size,)))


def _blobs(stage: str, sizes: dict[int, int]) -> Contribution:
    blobs = {member: bytes(count) for member, count in sizes.items()}
    return Contribution(_SESSION, 1000, stage, blobs=blobs)


def _rows(
    crossed: CrossedStep, start: int, count: int, total: int
) -> CrossedStep:
    """What crossed for some of the examples of a batch."""
    if count == total:
        return crossed

    def cut(parts: list[Any]) -> list[Any]:
        return [
            part[start : start + count] if part.shape[0] == total else part
            for part in parts
        ]

    return crossed._replace(
        smashed=cut(crossed.smashed),
        features=cut(crossed.features),
        features_grad=cut(crossed.features_grad),
        smashed_grad=cut(crossed.smashed_grad),
    )


def _ticket(members: int) -> bytes:
    """What those show who take part in a step, of about its length."""
    counts = tuple((number, 7 + number % 5) for number in range(members))
    return Tickets().of(Drawn(1000, 1, 1000, counts))
