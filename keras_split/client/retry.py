"""How long and how often a client tries again."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any
from typing import TypeVar

import tenacity

from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.reasons import LATER

_LOG = logging.getLogger("keras_split")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Retry:
    """What a client does when its server does not answer.

    It connects anew, goes on with its session and sends again what was lost;
    a step is taken once, however often it is sent. For a server that writes
    checkpoints it keeps what it sent since the last, so that nothing is lost
    if the server dies.

    Attributes:
        give_up_s: How long to try, in seconds, from the first failure on;
            0 for not at all.
        first_s: The first pause; each is about twice the one before, and
            chosen at random in part, so that clients do not come at once.
        longest_s: The longest pause.
        memory_bytes: How much of what was sent is kept in memory.
        disk_bytes: How much more is kept in temporary files. When these are
            full too, the client asks for a checkpoint.

    Raises:
        ValueError: If a value is negative.
    """

    give_up_s: float = 120.0
    first_s: float = 0.2
    longest_s: float = 10.0
    memory_bytes: int = 256 << 20
    disk_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(
                    f"Expected {name} of 0 or more. Received: {value!r}. "
                    "Retry(give_up_s=0) does not try again at all."
                )

    @classmethod
    def get(cls, identifier: "Retry | dict[str, Any] | None") -> "Retry":
        """From itself or its config; None for no second try."""
        if identifier is None:
            return cls(give_up_s=0)
        if isinstance(identifier, cls):
            return identifier
        return cls(**identifier)  # type: ignore[arg-type]

    def get_config(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return asdict(self)

    def call(self, function: Callable[[], _T]) -> _T:
        """Calls until it works, something else goes wrong, or time is up.

        Raises:
            TransportError: The last one, when time is up.
            RefusedError: Of the server, unless it said to come later.
        """
        try:
            return function()
        except (TransportError, RefusedError) as error:
            if not self.helps(error):
                raise
            return self.after(error, function)

    def helps(self, error: TransportError | RefusedError) -> bool:
        """Whether to try again after an error."""
        return self.give_up_s > 0 and worth_another_try(error)

    def after(self, trouble: Exception, function: Callable[[], _T]) -> _T:
        """Calls again, as `call` does when the first try has failed.

        Args:
            trouble: What the first try raised.
            function: Is tried again.
        """
        # The clock runs from here, for a first failure may take minutes.
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_another_try),
            stop=tenacity.stop_after_delay(self.give_up_s),
            wait=tenacity.wait_exponential(self.first_s, self.longest_s)
            + tenacity.wait_random(0, self.first_s),
            before_sleep=_report,
            reraise=True,
        )
        _LOG.warning("%s Trying again for %g s.", trouble, self.give_up_s)
        result: _T = again(function)
        _LOG.warning("The server answers again.")
        return result


def worth_another_try(error: BaseException) -> bool:
    """Whether the same message may be answered later."""
    if isinstance(error, RefusedError):
        return error.reason in LATER
    return isinstance(error, TransportError)


def _report(state: tenacity.RetryCallState) -> None:
    outcome, action = state.outcome, state.next_action
    if outcome is not None and action is not None:
        _LOG.info(
            "Try %d: %s Next in %.1f s.",
            state.attempt_number,
            outcome.exception(),
            action.sleep,
        )
