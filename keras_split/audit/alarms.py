"""Whether a phone tells a server that hijacks it from an honest one."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

HONEST = "honest"
# Steps of an encounter: a detector looks at one of the first 8, one of the
# next 16, and one of the next 32.
WATCHED = 56


@dataclass(frozen=True)
class Encounter:
    """A phone with a `HijackDetector` before one server.

    Attributes:
        server: `"honest"`, or what the server does.
        steps: How many were taken; `WATCHED`, unless the phone stopped.
        told: After which of them it stopped; None if it did not.
        agreements: Of each check, `"before"` or `"after"` and a number that
            is near 1 for honest gradients.
        ssim: How alike the originals what the server reads off the last of
            these steps is; None for an honest one, and without images.
    """

    server: str
    steps: int
    told: int | None
    agreements: tuple[tuple[str, float], ...] = ()
    ssim: float | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Encounter":
        """The inverse of `dataclasses.asdict`."""
        pairs = tuple((kind, value) for kind, value in config["agreements"])
        return cls(**dict(config) | {"agreements": pairs})


@dataclass(frozen=True)
class Alarms:
    """Whether a phone tells a server that hijacks it from an honest one.

    Attributes:
        encounters: Of phones with a detector; none if it refused.
        epoch: Steps in an epoch of the phone.
        refused: Why these steps cannot be checked; empty if they can.
    """

    encounters: tuple[Encounter, ...]
    epoch: int
    refused: str = ""

    @property
    def servers(self) -> list[str]:
        """What they met, each once: hijackers first."""
        names = dict.fromkeys(e.server for e in self.encounters)
        return sorted(names, key=lambda name: name == HONEST)

    def of(self, server: str) -> list[Encounter]:
        """Those with one server."""
        return [e for e in self.encounters if e.server == server]

    @property
    def hijacked(self) -> list[Encounter]:
        """Those with a hijacker."""
        return [e for e in self.encounters if e.server != HONEST]

    @property
    def true_rate(self) -> float | None:
        """Part of the hijackers that were told; None if there was none."""
        return _told(self.hijacked)

    @property
    def false_rate(self) -> float | None:
        """Part of the honest servers that were taken for one, likewise."""
        return _told(self.of(HONEST))

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold, both rates among them."""
        return asdict(self) | {
            "true_positive_rate": self.true_rate,
            "false_positive_rate": self.false_rate,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Alarms":
        """The inverse of `get_config`."""
        met = tuple(map(Encounter.from_config, config["encounters"]))
        return cls(met, config["epoch"], config["refused"])


def _told(encounters: Sequence[Encounter]) -> float | None:
    if not encounters:
        return None
    return sum(e.told is not None for e in encounters) / len(encounters)
