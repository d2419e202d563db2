"""What a server does as log lines, for people or for programs."""

import logging
import sys
import threading
from collections.abc import Sequence
from typing import Any

from keras_split.errors import BackendError
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepMerged
from keras_split.server.flood import Flood
from keras_split.server.observe.reasons import known
from keras_split.utils.counted import counted
from keras_split.utils.extras import install
from keras_split.utils.plain import plain

FORMATS = ("text", "json")
LINES_AT_ONCE = 10
_LOG = logging.getLogger("keras_split.server")
_TEXT = "%(asctime)s %(levelname)s %(message)s"


def configure(format: str = "text") -> None:
    """Sends what is logged to stderr, from level INFO on.

    Args:
        format: `"text"`, or `"json"` for one JSON object a line with `time`
            (UTC), `level`, `logger`, `message` and what else is known, such
            as `session`, `client`, `peer`, `reason` and `step`.

    Raises:
        BackendError: If python-json-logger is needed and missing.
        ValueError: If there is no such format.
    """
    if format not in FORMATS:
        raise ValueError(
            f"Expected a log format: {' or '.join(FORMATS)}. Received: "
            f"{format!r}."
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _json_formatter() if format == "json" else logging.Formatter(_TEXT)
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class Log(ServerCallback):
    """Logs sessions, checkpoints and refusals, but not every step.

    A peer may cause `LINES_AT_ONCE` lines for what it was refused, and then
    one a second, so that a flood of bad messages neither fills the disk nor
    hides what others do; the rest is counted in one line.
    """

    def __init__(self) -> None:
        self._allowed = Flood(LINES_AT_ONCE)
        self._late = Flood(LINES_AT_ONCE)
        self._flood: threading.Timer | None = None
        self._lock = threading.Lock()

    def opened(self, session: str, caller: Caller) -> None:
        """Logs who it was."""
        _LOG.info(
            "%s opened session %s",
            _who(caller),
            session,
            extra={"session": session, **_named(caller)},
        )

    def resumed(self, session: str, caller: Caller, step: int) -> None:
        """Logs who it was, and where it goes on."""
        _LOG.info(
            "%s resumed session %s at step %d",
            _who(caller),
            session,
            step,
            extra={"session": session, "step": step, **_named(caller)},
        )

    def left(self, session: str) -> None:
        """Logs that a session waits."""
        _LOG.info(
            "session %s waits for its client",
            session,
            extra={"session": session},
        )

    def closed(self, session: str, reason: str) -> None:
        """Logs why."""
        _LOG.info(
            "session %s ended (%s)",
            session,
            reason,
            extra={"session": session, "reason": reason},
        )

    def restored(self, session: str, tag: str) -> None:
        """Logs that the body was set back, if not for the n-th time."""
        if not self._allowed.take(session):
            self._count_flood()
            return
        _LOG.info(
            "session %s set the body back to a snapshot",
            session,
            extra={"session": session},
        )

    def refused(self, session: str, caller: Caller, reason: str) -> None:
        """Logs who it was, and why, if it is not one of too many."""
        if not self._allowed.take(caller.account):
            self._count_flood()
            return
        named = {**_named(caller), "reason": known(reason)}
        if session:
            named["session"] = session
        _LOG.warning(
            "refused %s (%s)", _who(caller), known(reason), extra=named
        )

    def checkpointed(self, path: str, seconds: float) -> None:
        """Logs where, and how long it took."""
        _LOG.info(
            "wrote the checkpoint %s in %.2f s",
            path,
            seconds,
            extra={"path": path, "seconds": seconds},
        )

    def loaded(self, path: str, sessions: dict[str, int]) -> None:
        """Logs what came back."""
        _LOG.info(
            "continue from %s with %s",
            path,
            counted(len(sessions), "session"),
            extra={"path": path, "sessions": sessions},
        )

    def enrolled(self, session: str, member: int) -> None:
        """Logs who is in the cohort."""
        _LOG.info(
            "session %s is phone %d of the cohort",
            session,
            member,
            extra={"session": session, "member": member},
        )

    def away(self, session: str, member: int) -> None:
        """Logs who is gone."""
        _LOG.info(
            "phone %d of the cohort is gone",
            member,
            extra={"session": session, "member": member},
        )

    def merged(self, taken: StepMerged) -> None:
        """Logs who was left out of a step, if not for the n-th time."""
        if not taken.dropped or not self._late.take(""):
            return
        _LOG.warning(
            "step %d went without %s, which came too late or not at all",
            taken.step,
            _phones(taken.dropped),
            extra={"step": taken.step, "dropped": [*taken.dropped]},
        )

    def round_ended(self, ended: RoundEnded) -> None:
        """Logs whose halves are in it, and whose are not."""
        without = f", without {_phones(ended.dropped)}" if ended.dropped else ""
        _LOG.info(
            "round %d of %s took %.2f s%s",
            ended.round,
            counted(len(ended.members), "phone"),
            ended.seconds,
            without,
            extra={
                "round": ended.round,
                "members": [*ended.members],
                "dropped": [*ended.dropped],
                "seconds": ended.seconds,
            },
        )

    def _count_flood(self) -> None:
        with self._lock:
            if self._flood is None:
                self._flood = threading.Timer(1.0, self._end_flood)
                self._flood.daemon = True
                self._flood.start()

    def _end_flood(self) -> None:
        with self._lock:
            self._flood = None
            more = sum(self._allowed.dropped().values())
        _LOG.warning(
            "%s", counted(more, "more refusal"), extra={"refusals": more}
        )


def _phones(members: Sequence[int]) -> str:
    return f"phone{'s' * (len(members) > 1)} {', '.join(map(str, members))}"


def _who(caller: Caller) -> str:
    if caller.client:
        # Whoever signed its certificate may have let a line break through.
        return f"{plain(caller.client)} at {caller.peer}"
    return caller.peer or "a client"


def _named(caller: Caller) -> dict[str, str]:
    return {name: value for name, value in caller.told.items() if value}


def _json_formatter() -> logging.Formatter:
    try:
        from pythonjsonlogger.json import JsonFormatter
    except ImportError as error:
        raise BackendError(
            "Expected python-json-logger, to log as JSON. Received: "
            f"{error}. Run: {install('server')}"
        ) from error
    names: dict[str, Any] = {"levelname": "level", "name": "logger"}
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields=names,
        timestamp="time",
    )
