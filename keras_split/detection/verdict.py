"""What a phone makes of its checks."""

import logging
from collections.abc import Sequence

from keras_split.detection.agreement import BEFORE
from keras_split.detection.agreement import BOTH
from keras_split.detection.agreement import Check
from keras_split.errors import HijackError

_LOG = logging.getLogger("keras_split")
# Honest servers: 0.94 and more at int8, 0.78 and more at int4. FSHA mixed in by
# a quarter: 0.9 at most, in most checks less than 0.7; see
# docs/detecting-a-hijack.md.
THRESHOLD = 0.75
CALM = 0.9  # of a body that moves little in one step
TRIALS = 3
VOID = 3  # in a row, until the user is told


class Verdict:
    """Decides whether a server is honest; looks twice before it says no.

    A check that is bad is repeated in the next step, and the mean of the two
    counts: a server that behaves in the second has not made up for the first.

    Checks after a step ask a body that has gone on by one step. One with
    dropout has become another one then, and honest gradients agree badly. So
    where these are bad, some steps are checked before and after. One whose
    answers agree before and not after has a body of which checks after a step
    say nothing. A server whose answers agree in both when it sees that it is
    watched, and did not when it was not, is doubted: the first steps of a
    training move a body far, and later ones do not. It is looked at again
    soon, and the second time it is not honest.

    Checks in which the body moved are void, and several in a row are said.
    Those of a step without gradients say nothing.

    Attributes:
        after: Whether checks after a step are of use.
    """

    def __init__(self) -> None:
        self.after = True
        self._doubted: list[Check] = []
        self._suspect: Check | None = None
        self._alarm: list[Check] = []
        self._trials: list[Check] = []
        self._void = 0

    def next(self) -> str:
        """How the next step must be checked; empty for no matter."""
        if self._alarm:
            return BOTH
        return "" if self._suspect is None else self._suspect.kind

    def saw(self, checks: Sequence[Check]) -> bool:
        """A step was checked.

        Args:
            checks: One; or one of each kind, where `next` said both.

        Returns:
            Whether to look again soon, after a step.

        Raises:
            HijackError: If the server is not honest.
        """
        if any(check.idle for check in checks):
            return False  # nothing was sent that could pull a head
        if any(check.void for check in checks):
            self._pass_over(checks[-1])
            return False
        self._void = 0
        if self._alarm:
            return self._try(*checks)
        (check,) = checks
        suspect, self._suspect = self._suspect, None
        if suspect is None:
            if check.agreement < THRESHOLD:
                self._suspect = check
            return False
        pair = [suspect, check]
        if (suspect.agreement + check.agreement) / 2 >= THRESHOLD:
            return False
        if check.kind == BEFORE:
            raise _hijack(pair)
        self._alarm, self._trials = pair, []
        return False

    def _pass_over(self, check: Check) -> None:
        """The body moved in a check; who looks again is no better off."""
        self._void += 1
        if self._void == VOID:
            _LOG.warning(
                "The server's gradients could not be checked, %d times up to "
                "step %d: the same smashed data gave other features a moment "
                "later. Other phones train this body meanwhile, or the server "
                "pretends so. If this phone is alone, do not trust it.",
                self._void,
                check.step,
            )

    def _try(self, before: Check, after: Check) -> bool:
        """One step of those that are checked before and after."""
        if before.agreement < THRESHOLD:
            raise _hijack([*self._alarm, before])
        self._trials.append(after)
        if len(self._trials) < TRIALS:
            return False
        alarm, self._alarm = self._alarm, []
        if min(check.agreement for check in self._trials) >= CALM:
            if self._doubted:
                raise _hijack(
                    [*self._doubted, *alarm],
                    " It was honest in steps that it saw checked.",
                )
            self._doubted = alarm
            return True
        self.after = False
        _LOG.warning(
            "Checks after a step say nothing of this body, which changes much "
            "in one (%s): it has dropout, others train it meanwhile, or the "
            "learning rate is large. Steps are checked before they are taken, "
            "which a server can notice, and behave.",
            "; ".join(map(str, self._trials)),
        )
        return False


def _hijack(checks: Sequence[Check], more: str = "") -> HijackError:
    return HijackError(
        "Expected gradients of the features that the server sends, with an "
        f"agreement near 1. Received: {'; '.join(map(str, checks))}.{more} "
        "The server trains this phone's head for a purpose of its own: it may "
        "be about to read your data off what the head sends. No further batch "
        "was sent. Do not use this server, nor the head as it is now; go back "
        "to a state from before this training.",
        "hijack",
    )
