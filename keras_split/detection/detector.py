"""Asks a server whether its gradients are those of its features."""

import secrets
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple
from typing import Protocol
from typing import TypeVar

import numpy as np

from keras_split.client.session import ClientSession
from keras_split.compression.tensors import CutTensor
from keras_split.detection.agreement import AFTER
from keras_split.detection.agreement import BEFORE
from keras_split.detection.agreement import BOTH
from keras_split.detection.agreement import Check
from keras_split.detection.heard import Heard
from keras_split.detection.heard import flat
from keras_split.detection.moments import Moments
from keras_split.detection.verdict import Verdict
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.protocol.contract import Contract
from keras_split.protocol.validation import NOT_TAKEN
from keras_split.protocol.validation import check_finite

_Array = np.ndarray[Any, Any]
_T = TypeVar("_T")
# How far weights move, as a part of their mean magnitude: enough to be seen
# beside the rounding, little enough for the body to be straight in between.
_MOVE, _COARSE_MOVE = 0.05, 0.1


class Head(Protocol):
    """A phone's head as it is before a step, with the step's examples."""

    def weights(self) -> Sequence[_Array]:
        """Those that are trained."""

    def smashed(self, weights: Sequence[_Array]) -> list[CutTensor]:
        """What it would send in the step with other weights.

        Everything else is as in the step, defenses and their draws too, and
        nothing of the phone has changed when it returns or raises.
        """


class _Change(NamedTuple):
    """What a move of the head's weights does, one way and the other."""

    smashed: _Array
    features: _Array
    penalty: float


class _Answers(NamedTuple):
    """What the server said in one check.

    Attributes:
        changes: Of each move.
        drift: From the first answer for the head as it is to the last.
    """

    changes: list[_Change]
    drift: _Change


class HijackDetector:
    """Tells a server that sends gradients of something else, and stops.

    At moments that the server cannot foresee the phone asks for the features
    of the step's examples once more, with the head's weights moved in random
    directions, and looks whether they change as the gradients of the step
    say. It needs nothing but messages of every step: a forward, which changes
    nothing and may be repeated. See `Check` and `Verdict`.

    Half of the checks ask before the step's gradients are there, so a server
    cannot make features up that agree with them. Half ask after, so one that
    is honest while it is watched has sent what it has sent.

    Args:
        every: Steps from one check to the next in the long run; the first
            come sooner. With 1 each step is checked, before it is taken.
        tries: Directions of a check; it costs two forwards each, and two.
        seed: Of all draws; by default from the system's randomness, for
            whoever knows it foresees the checks.

    Attributes:
        checks: Those made so far, as `Check`.

    Raises:
        OptionError: If a number is none.
    """

    def __init__(
        self, every: int = 500, tries: int = 8, *, seed: int | None = None
    ) -> None:
        for name, value, least in (("every", every, 1), ("tries", tries, 4)):
            if not isinstance(value, int) or value < least:
                raise OptionError(
                    f"Expected {name} to be a whole number of {least} or more. "
                    f"Received: {value!r}."
                )
        self._every = every
        self._tries = tries
        seed = secrets.randbits(128) if seed is None else seed
        self._rng = np.random.default_rng(seed)
        self.checks: list[Check] = []

    def begin(
        self,
        session: ClientSession,
        contract: Contract,
        *,
        microbatches: int = 1,
        head_trains: bool = True,
    ) -> None:
        """A training begins.

        Args:
            session: Speaks with the server; open.
            contract: What the model was cut with.
            microbatches: In how many parts a batch travels.
            head_trains: Whether the head has weights to train; without them
                there is nothing to hijack, and nothing is checked.

        Raises:
            OptionError: If steps of this kind cannot be checked.
        """
        _check(session, contract, microbatches)
        self._session, self._contract = session, contract
        self._moments = Moments(self._every, self._rng)
        self._verdict = Verdict()
        self._idle = not head_trains
        coarse = contract.quantization.activations.bits < 8
        self._move = _COARSE_MOVE if coarse else _MOVE

    def next(self) -> str:
        """How the next step is to be checked; empty for not."""
        if self._idle:
            return ""
        kind = self._moments.next()
        only_before = self._every == 1 or not self._verdict.after
        if kind and only_before:
            kind = BEFORE
        return self._verdict.next() or kind

    def take(self, kind: str, head: Head, step: Callable[[], _T]) -> _T:
        """Takes a step, and checks it.

        Args:
            kind: What `next` said.
            head: As it is before the step.
            step: Takes it.

        Returns:
            What the step gives.

        Raises:
            HijackError: If the server is not honest.
        """
        session, heard = self._session, Heard()
        moves = self._moves(head.weights())
        found: dict[str, _Answers | None] = {}
        session.taps.append(heard)
        try:
            if kind in (BEFORE, BOTH):
                found[BEFORE] = self._ask(head, moves)
            made = step()
        finally:
            session.taps.remove(heard)
        if heard.step < 0:
            return made  # it was not taken, so nothing came
        if kind in (AFTER, BOTH):
            found[AFTER] = self._ask(head, moves)
        checks = [
            self._compared(heard, kind, answers)
            for kind, answers in found.items()
            if answers is not None
        ]
        if len(checks) == len(found):
            self.checks += checks
            if self._verdict.saw(checks):
                self._moments.soon()
        return made

    def _moves(self, weights: Sequence[_Array]) -> list[list[_Array]]:
        """Random changes of the head's weights."""
        sizes = [self._move * float(np.mean(np.abs(w))) for w in weights]
        return [
            [
                np.asarray(size * self._rng.standard_normal(w.shape), w.dtype)
                for size, w in zip(sizes, weights, strict=True)
            ]
            for _ in range(self._tries)
        ]

    def _ask(self, head: Head, moves: list[list[_Array]]) -> _Answers | None:
        """Has the server run the body on what moved heads send.

        And, first and last, on what the head sends as it is. None if
        something is not finite.
        """
        weights = head.weights()
        rule = self._contract.quantization.activations
        shared = len(self._contract.shared)  # inputs, which stand still

        def answer(sign: int, move: list[_Array]) -> _Change:
            smashed = head.smashed(
                [w + sign * m for w, m in zip(weights, move, strict=True)]
            )
            check_finite(smashed, rule, shared)
            features, penalty = self._session.forward(smashed)
            moved = flat(smashed[: len(smashed) - shared], rule)
            return _Change(moved, flat(features, rule), penalty)

        try:
            first = answer(0, moves[0])
            changes = [
                _half(answer(1, move), answer(-1, move)) for move in moves
            ]
            drift = _half(answer(0, moves[0]), first)
        except ProtocolError as error:
            if error.reason not in NOT_TAKEN:
                raise
            return None  # the step itself will hardly be taken
        return _Answers(changes, drift)

    def _compared(self, heard: Heard, kind: str, answers: _Answers) -> Check:
        # With what crossed, rounding and noise included: it is what both
        # sides have computed with.
        rule = self._contract.quantization.gradients
        v = flat(heard.features_grad, rule)
        g = flat(heard.smashed_grad, rule)

        def measured(change: _Change) -> float:
            # A body that penalizes its activations adds to the loss.
            return float(v @ change.features + change.penalty)

        return Check(
            heard.step,
            kind,
            np.array([g @ change.smashed for change in answers.changes]),
            np.array([measured(change) for change in answers.changes]),
            abs(measured(answers.drift)),
        )


def _half(one: _Change, other: _Change) -> _Change:
    """Half of what lies between two answers."""
    return _Change(
        (one.smashed - other.smashed) / 2,
        (one.features - other.features) / 2,
        (one.penalty - other.penalty) / 2,
    )


def _check(
    session: ClientSession, contract: Contract, microbatches: int
) -> None:
    """Refuses steps that cannot be checked."""
    rules = contract.quantization
    cohort = session.connection.cohort
    received = ""
    if contract.labels_on_server:
        received = (
            "a model that is cut once, whose server has the loss and the "
            "labels anyway. Cut it twice"
        )
    elif microbatches > 1:
        received = (
            f"microbatches={microbatches}. Train with whole batches, "
            "microbatches=1"
        )
    elif cohort is not None and cohort.mode == "merged":
        received = (
            "a merged cohort, where features depend on the examples of other "
            "phones. Leave the detector out, or have a cohort of another mode"
        )
    elif rules.activations.block > 1:
        received = (
            "quantization that sends one number of each block, and another "
            "one when weights move. Use int8 or int4"
        )
    elif min(rules.activations.bits, rules.gradients.bits) < 4:
        received = (
            "fewer than 4 bits, whose rounding is larger than what is looked "
            "for. Use int8 or int4"
        )
    if received:
        raise OptionError(
            "Expected steps whose gradients can be checked: of whole batches, "
            "between two cuts, and of 4 bits or more. Received: "
            f"{received}."
        )
