"""Writes who did what, one line an event."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.flood import Flood
from keras_split.server.observe.line_file import LineFile
from keras_split.server.observe.reasons import known
from keras_split.server.observe.traffic import Traffic


class Audit(ServerCallback):
    """Appends events to a file of JSON lines.

    Each line has `time` (UTC) and `event`, and what there is of `session`
    (its label), `client`, `peer`, `step`, `reason`, `uplink_bytes` and
    `downlink_bytes` (of the connection, once it ends). Nothing that was sent
    is in it, and nothing with which one could get in. Every committed step
    has a line, so it can be counted how often each was taken. Of what a peer
    can cause without a step, such as refusals, ten lines are written at once
    and then one a second; `more` says how many were left out, and whose.

    Args:
        path: The file. Only its owner may read it if it is made here.
        replica: Number that each line has as `replica`, for one of several
            servers; None for none.

    Attributes:
        lines: The file; it counts those that are lost.
        traffic: What the connections carry.

    Raises:
        DataError: If the file cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, replica: int | None = None
    ) -> None:
        beside = {} if replica is None else {"replica": replica}
        self.lines = LineFile(path, **beside)
        self.traffic = Traffic()
        self._allowed = Flood()

    def opened(self, session: str, caller: Caller) -> None:
        """Writes who it was."""
        self.traffic.expect(session)
        self.lines.write("opened", session, **caller.told)

    def resumed(self, session: str, caller: Caller, step: int) -> None:
        """Writes who it was, and where it goes on."""
        self.traffic.expect(session)
        self.lines.write("resumed", session, **caller.told, step=step)

    def left(self, session: str) -> None:
        """Writes what the connection carried."""
        self.lines.write("left", session, **self.traffic.take(session))

    def closed(self, session: str, reason: str) -> None:
        """Writes why, and what was carried since the last such line."""
        carried = self.traffic.take_last(session)
        self.lines.write("closed", session, reason=reason, **carried)

    def committed(self, taken: StepCommitted) -> None:
        """Writes which step."""
        self.lines.write("step", taken.session, step=taken.step)

    def restored(self, session: str, tag: str) -> None:
        """Writes that the body was set back."""
        if self._allowed.take(session):
            self.lines.write("restored", session)

    def refused(self, session: str, caller: Caller, reason: str) -> None:
        """Writes who it was, and why."""
        if self._allowed.take(caller.account):
            self.lines.write(
                "refused", session, **caller.told, reason=known(reason)
            )
        self._write_dropped(anyway=False)

    def carried(self, session: str, uplink: int, downlink: int) -> None:
        """Keeps the sums for `left` and `closed`."""
        self.traffic.add(session, uplink, downlink)

    def checkpointed(self, path: str, seconds: float) -> None:
        """Writes where, and how long it took."""
        if self._allowed.take(""):
            self.lines.write(
                "checkpointed", path=path, seconds=round(seconds, 6)
            )

    def loaded(self, path: str, sessions: dict[str, int]) -> None:
        """Writes where each session goes on."""
        for session in sessions:
            self.traffic.expect(session)
        self.lines.write("loaded", path=path, sessions=sessions)

    def enrolled(self, session: str, member: int) -> None:
        """Writes who is in the cohort."""
        self.lines.write("enrolled", session, member=member)

    def away(self, session: str, member: int) -> None:
        """Writes who is gone."""
        self.lines.write("away", session, member=member)

    def merged(self, taken: StepMerged) -> None:
        """Writes whose examples are in it, and whose are not."""
        self.lines.write("merged", step=taken.step, **_took(taken))

    def round_begun(self, round: int, members: Sequence[int]) -> None:
        """Writes who trains."""
        self.lines.write("round_begun", round=round, members=[*members])

    def round_ended(self, ended: RoundEnded) -> None:
        """Writes whose halves are in it, and whose are not."""
        self.lines.write("round_ended", round=ended.round, **_took(ended))

    def close(self) -> None:
        """Closes the file; later events are lost."""
        self._write_dropped(anyway=True)
        self.lines.close()

    def __enter__(self) -> "Audit":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write_dropped(self, *, anyway: bool) -> None:
        for whose, lines in self._allowed.dropped(anyway=anyway).items():
            self.lines.write("more", whose=whose, lines=lines)


def _took(what: StepMerged | RoundEnded) -> dict[str, Any]:
    return {
        "members": [*what.members],
        "dropped": [*what.dropped],
        "seconds": round(what.seconds, 6),
    }
