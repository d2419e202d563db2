"""Simulated phones that train in rounds: private, shared, relay, personal."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.aggregation.means import Mean
from keras_split.errors import OptionError
from keras_split.federation.engines import Crew
from keras_split.federation.pair import Pair
from keras_split.federation.phone_states import PhoneStates
from keras_split.federation.phone_turn import Begun
from keras_split.federation.phone_turn import PhoneTurn
from keras_split.federation.phone_turn import TurnTerms
from keras_split.federation.shards import Shards
from keras_split.federation.traffic import Traffic
from keras_split.federation.variable_bytes import VariableBytes
from keras_split.server.cohorts.draws import Draws
from keras_split.training.vector_optimizer import VectorOptimizer

_Array = np.ndarray[Any, Any]
_SCORED = 10  # halves that stand for all, where they differ


class SimulatedRounds:
    """Phones that train for a while, each by itself, and then average.

    The values of each phone that takes part are in `PhoneStates`, and in the
    variables of the one pair when it is its turn: its half, then what it
    keeps to itself, then its body, where it has one of its own. Phones with
    bodies of their own do not wait for each other: a crew has their turns.

    Args:
        pair: Takes the steps.
        shards: What each phone has.
        traffic: Counts bytes; None where halves are not split (FedAvg).
        mode: `"private"`, `"shared"`, `"relay"` or `"personal"`.
        participation: Phones of a round; None for all.
        terms: Of each phone's turn. Their seed is that of who takes part, too.
        mean: What becomes of the changes of several phones.
        optimizer: Of the average change, as JSON; empty for none.
        poison: By phone, what its change is multiplied by.
        whole: Whether the whole model lies on the phone: FedAvg.
        crew: Takes the turns in `"private"`; None in other modes.
    """

    def __init__(
        self,
        pair: Pair,
        shards: Shards,
        traffic: Traffic,
        *,
        mode: str,
        participation: int | None,
        terms: TurnTerms,
        mean: Mean,
        optimizer: str,
        poison: Mapping[int, float],
        whole: bool = False,
        crew: Crew | None = None,
    ) -> None:
        self._pair, self._shards, self._traffic = pair, shards, traffic
        self._mode, self._terms, self._crew = mode, terms, crew
        self._participation, self._mean = participation, mean
        self._poison, self._whole = poison, whole
        self._half = VariableBytes(pair.half)
        self._body = VariableBytes(pair.body if mode == "private" else [])
        _check_floats([*pair.half, *pair.body])
        self._states = PhoneStates(
            [*pair.half, *pair.own, *(pair.body if mode == "private" else [])],
            len(shards),
        )
        # Those that a phone brings along and does not get in a round.
        self._kept = PhoneStates(pair.own, len(shards))
        self._draws = Draws(terms.seed)
        self._size = self._half.size // 4
        self._current: set[int] = set()  # phones that were in the last average
        self._losses: list[tuple[float, float]] = []  # of a round's turns
        self._optimizer = (
            VectorOptimizer(optimizer, self._size) if optimizer else None
        )

    def run(self, number: int) -> int:
        """One round; returns how many steps of a body it took."""
        drawn = self._draws.draw(
            number, range(len(self._shards)), self._participation
        )
        if self._mode == "relay":
            return self._in_a_relay(number, drawn)
        begun = Begun(self._half.get(), self._body.get())
        if self._mode != "personal":
            stale = len(set(drawn) - self._current)
            self._traffic.begin(len(drawn), stale, self._sent_size)
        if self._crew is not None:
            steps = self._train_apart(self._crew, number, drawn, begun)
        else:
            if self._mode != "personal":
                self._begin(drawn, begun)
            steps = self._train(number, drawn)
        if self._mode != "personal":
            self._average(drawn, begun)
        if self._crew is not None:
            # What of the model is no phone's but the last one's: local batch
            # normalization.
            self._kept.load(drawn[-1])
        return steps

    def loss(self) -> float:
        """The mean loss of the round's steps."""
        if self._crew is None:
            return self._pair.loss()
        # In the order of phones, whichever was done first.
        total = sum(loss for loss, _ in self._losses)
        return total / sum(examples for _, examples in self._losses)

    def scores(self, x: Any, y: Any) -> dict[str, float]:
        """Of the model; where halves differ the mean of some phones'."""
        if self._mode != "personal":
            return self._pair.evaluate(x, y)
        before = self._half.get()
        rng = np.random.default_rng(self._terms.seed)
        phones = rng.permutation(len(self._shards))[:_SCORED]
        found = []
        for phone in phones.tolist():
            self._states.load(phone)
            found.append(self._pair.evaluate(x, y))
        self._half.set(before)
        return {k: float(np.mean([f[k] for f in found])) for k in found[0]}

    def close(self) -> None:
        """Removes the files."""
        self._states.close()
        self._kept.close()

    # -- a round -----------------------------------------------------------

    def _begin(self, drawn: Sequence[int], begun: Begun) -> None:
        """Gives each phone the half that all begin with."""
        for phone in drawn:
            row = np.concatenate([begun.half, self._kept.row(phone)])
            self._states.put(phone, row)

    def _train_apart(
        self, crew: Crew, number: int, drawn: Sequence[int], begun: Begun
    ) -> int:
        """Every phone's steps, each phone with a body of its own."""
        turns = [PhoneTurn(number, p, self._kept.row(p)) for p in drawn]
        # Who has most begins, so that nobody waits for it in the end.
        turns.sort(key=lambda turn: -len(self._shards.phones[turn.phone]))
        losses, steps = {}, 0
        for result in crew.each(begun, turns):
            self._states.put(result.phone, result.values)
            self._traffic.add(result.uplink_bytes, result.downlink_bytes)
            losses[result.phone] = result.loss
            steps += result.steps
        self._losses = [losses[phone] for phone in drawn]
        return steps

    def _train(self, number: int, drawn: Sequence[int]) -> int:
        """Every phone's steps, in turns with one body."""
        waiting = {phone: self._batches(number, phone) for phone in drawn}
        steps = 0
        while waiting:
            for phone in list(waiting):
                positions = next(waiting[phone], None)
                if positions is None:
                    del waiting[phone]
                    continue
                self._states.load(phone)
                self._step(positions)
                self._states.save(phone)
                steps += 1
        return steps

    def _in_a_relay(self, number: int, drawn: Sequence[int]) -> int:
        steps = 0
        for phone in drawn:
            self._kept.load(phone)  # the half is that of the one before
            for positions in self._batches(number, phone):
                self._step(positions)
                steps += 1
            self._kept.save(phone)
            sealed = 4 * self._size  # up to the server, and down to the next
            self._traffic.add(sealed, sealed)
        return steps

    def _average(self, drawn: Sequence[int], begun: Begun) -> None:
        """Makes one half, and one body, of those of the phones."""
        weights = [float(len(self._shards.phones[phone])) for phone in drawn]
        half, body = begun.half.view(np.float32), begun.body.view(np.float32)
        changes, bodies = [], []
        for phone in drawn:
            end = half.nbytes + self._kept.row_bytes
            values = self._states.row(phone)
            self._kept.put(phone, values[half.nbytes : end])
            row = values[: half.nbytes].view(np.float32)
            change = row - half
            if phone in self._poison:
                change *= np.float32(self._poison[phone])
            row[:] = change  # back into the file, so that none is in memory
            changes.append(row)
            bodies.append(values[end:].view(np.float32))
            bodies[-1] -= body
        average = self._mean.of(changes, weights)
        if self._optimizer is not None:
            average = self._optimizer.change(half, average)
        self._half.set((half + average).view(np.uint8))
        if body.size:
            body = body + self._mean.of(bodies, weights)
            self._body.set(body.view(np.uint8))
        self._current = set(drawn)
        self._traffic.average(len(drawn), self._sent_size)

    # -- steps -------------------------------------------------------------

    @property
    def _sent_size(self) -> int:
        """Numbers that a phone sends and gets to average."""
        return self._size + (self._body.size // 4 if self._whole else 0)

    def _step(self, positions: _Array) -> None:
        crossed = self._pair.step(*self._shards.rows(positions))
        self._traffic.step(crossed, [len(positions)])

    def _batches(self, number: int, phone: int) -> Iterator[_Array]:
        turn = PhoneTurn(number, phone, self._kept.row(phone))
        return self._terms.batches(self._shards, turn)


def _check_floats(variables: Sequence[Any]) -> None:
    """Refuses what is not averaged number by number as it lies in memory."""
    dtypes = {str(variable.dtype) for variable in variables} - {"float32"}
    if dtypes:
        raise OptionError(
            "Expected weights in float32, for phones that are simulated. "
            f"Received: {', '.join(sorted(dtypes))}. Build the model with a "
            "policy such as mixed_float16, whose weights are float32."
        )
