"""Through which moments a body has come to where it is."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

from keras_split.protocol.moment import Moment

_MOST = 64  # earlier runs that a body remembers


@dataclass(frozen=True)
class Timeline:
    """The moment of a body, and the moments before it.

    Two bodies at one moment are the same, so no moment may come twice with
    other weights. Who has a copy, be it a file, a snapshot or the body of
    another client, therefore goes on under a new run with its first step:
    somebody else may go on from the same copy, or has already.

    Attributes:
        moment: The body's.
        past: The last moment of each run before this one, oldest first.
        copied: Whether its next step begins a new run.
        averages: How many of its steps were none: it became a mean.
    """

    moment: Moment = Moment()
    past: tuple[Moment, ...] = ()
    copied: bool = False
    averages: int = 0

    @property
    def learned(self) -> int:
        """Steps that it has learned from; averages are none."""
        return self.moment.steps - self.averages

    def stepped(self) -> "Timeline":
        """After one more step."""
        now, past, run = self.moment, self.past, self.moment.run
        if self.copied or not now:
            past = (*past, now)[-_MOST:] if now else ()
            run = new_run()
        return Timeline(
            Moment(run, now.steps + 1), past, averages=self.averages
        )

    def copy(self) -> "Timeline":
        """That of a copy, which is at the same moment until its next step."""
        return replace(self, copied=bool(self.moment))

    def averaged(self, moments: Iterable[Moment]) -> "Timeline":
        """After the body became the mean of bodies at these moments.

        Their steps are in it, too, so it has come through these as well.
        """
        now = self.stepped()
        last = {moment.run: moment for moment in now.past}
        for moment in moments:
            known = last.pop(moment.run, moment)
            if moment and moment.run != now.moment.run:
                last[moment.run] = max(known, moment, key=lambda m: m.steps)
        return replace(
            now,
            past=tuple(last.values())[-_MOST:],
            averages=self.averages + 1,
        )

    def lost(self) -> "Timeline":
        """After somebody has set the weights of a body that has trained.

        Nobody knows where they are from, so they are no known moment.
        """
        if not self.moment:
            return self
        return Timeline(
            Moment(new_run(), self.moment.steps), averages=self.averages
        )

    def includes(self, moment: Moment) -> bool:
        """Whether the body was at that moment once, or is."""
        return any(
            moment.run == known.run and moment.steps <= known.steps
            for known in (*self.past, self.moment)
        )

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold; empty for a body never trained."""
        if not self.moment:
            return {}
        config: dict[str, Any] = {"moment": self.moment.get_config()}
        if self.past:
            config["past"] = [moment.get_config() for moment in self.past]
        if self.averages:
            config["averages"] = self.averages
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Timeline":
        """That of a copy: the inverse of `get_config` for all but a step."""
        moment = Moment.get(config.get("moment"))
        past = tuple(Moment.get(item) for item in config.get("past", ()))
        averages = int(config.get("averages", 0))
        return cls(moment, past, averages=averages).copy()


def new_run() -> str:
    """The name of a run that nobody has begun before."""
    return secrets.token_hex(16)
