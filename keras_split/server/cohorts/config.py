"""How the phones of a server train one model, in one place."""

import math
from dataclasses import dataclass
from numbers import Integral
from numbers import Real
from typing import Any

from keras_split.errors import OptionError
from keras_split.protocol.cohort import MODES

MEANS = ("mean", "median", "trimmed-mean")
# From so many phones on, halves are added up under masks.
FEWEST_SECURE = 3
# And of no more in one sum: what each has for all others, about 120 bytes for
# one of them, travels in what describes a message, which has 64 KiB.
MOST_SECURE = 500
_NUMBERS: dict[str, tuple[Any, float, bool]] = {
    # Kind, smallest, and whether None may stand for it.
    "phones": (Integral, 1, False),
    "batch": (Integral, 1, False),
    "phones_per_step": (Integral, 1, True),
    "round_phones": (Integral, 1, True),
    "step_deadline_s": (Real, 0.001, False),
    "round_deadline_s": (Real, 0.001, False),
    "return_deadline_s": (Real, 0.0, False),
    "max_half_bytes": (Integral, 1024, False),
    "clip_update_norm": (Real, 0.0, True),
    "clip_gradients": (Real, 0.0, True),
    "trim": (Real, 0.0, False),
    "seed": (Integral, 0, True),
}


@dataclass(frozen=True)
class CohortConfig:
    """How the phones of a server train one model.

    Attributes:
        mode: `"merged"` for body steps over the smashed data of several
            phones; `"private"` for a body for each phone, averaged with the
            halves (SplitFed v1); `"shared"` for one body, which phones train
            in turns (SplitFed v2); `"personal"` for halves that stay
            different on purpose.
        phones: How many are expected: the training begins when they are here.
            More may come, and some may go.
        batch: Examples of a merged step, of all phones together.
        phones_per_step: At most so many phones take part in a merged step;
            None for all.
        round_phones: So many of those that are there train in each round;
            None for all.
        step_deadline_s: How long a merged step waits for a phone, which is
            left out of the step then, and a stage of the averaging of its
            gradients for one.
        round_deadline_s: How long a round waits for a phone after the first
            has ended it, and a stage of the averaging of halves for one.
        return_deadline_s: How long anything waits for a phone that is gone
            without a goodbye, within the other deadlines: time to connect
            again, or to start the process again. It runs from the moment
            when its connection was lost, or the server was started again.
        plain_aggregation: Whether the server may read single halves, with
            three phones or more, too. With fewer it always can.
        bits: Of numbers under masks, 32 or 64: bytes against the error, see
            `keras_split.aggregation`.
        mean: How contributions become one: `"mean"`, weighted by examples, or
            `"median"` or `"trimmed-mean"` of each number, which bear some
            phones that lie. These need `plain_aggregation`.
        trim: Share of phones that a trimmed mean leaves out at either end.
        clip_update_norm: Longer changes of one phone are scaled down to this
            norm; None for as they are. Needs `plain_aggregation`.
        clip_gradients: In a merged step, gradients of one phone whose norm an
            example is more than so many times the median phone's are scaled
            down to that; None for as they are.
        allow_restore: Whether one phone may bring the body back to an earlier
            state under all of them.
        max_half_bytes: How long the vector of a half may be in a message:
            4 bytes a number, or 8 under masks modulo 2^64.
        seed: Of the draws; None for another one each time.

    Raises:
        OptionError: If a value cannot be.
    """

    mode: str = "merged"
    phones: int = 2
    batch: int = 32
    phones_per_step: int | None = None
    round_phones: int | None = None
    step_deadline_s: float = 30.0
    round_deadline_s: float = 600.0
    return_deadline_s: float = 30.0
    plain_aggregation: bool = False
    bits: int = 64
    mean: str = "mean"
    trim: float = 0.1
    clip_update_norm: float | None = None
    clip_gradients: float | None = None
    allow_restore: bool = False
    max_half_bytes: int = 1 << 28
    seed: int | None = None

    def __post_init__(self) -> None:
        _check("mode", MODES, self.mode)
        _check("mean", MEANS, self.mean)
        _check("bits", (32, 64), self.bits)
        for name, (kind, least, optional) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and optional:
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, kind)
                or not least <= value < math.inf
            ):
                raise OptionError(
                    f"Expected {name} to be a number of {least:g} or more. "
                    f"Received: {value!r}. See keras_split.server."
                    "CohortConfig."
                )
        for name in ("plain_aggregation", "allow_restore"):
            _check(name, (True, False), getattr(self, name))
        self._check_together()
        self._check_mean()

    def _check_together(self) -> None:
        """Refuses what is right alone, and does not go together."""
        if self.mode != "merged":
            for name in ("phones_per_step", "clip_gradients"):
                if getattr(self, name) is not None:
                    raise OptionError(
                        f"Expected {name} with merged steps. Received: "
                        f"{name}={getattr(self, name)} in a {self.mode} "
                        "cohort. Leave it out, or choose the mode merged."
                    )
        for name, most, what in (
            ("phones_per_step", "batch", "an example each"),
            ("phones_per_step", "phones", "as many are there"),
            ("round_phones", "phones", "as many are there"),
        ):
            value, limit = getattr(self, name), getattr(self, most)
            if value is not None and value > limit:
                raise OptionError(
                    f"Expected {name} to be {limit} ({most}) or less, for "
                    f"{what}. Received: {value}."
                )

    def _check_mean(self) -> None:
        """Refuses a mean that cannot be, or that needs what is hidden."""
        if not 0 <= self.trim < 0.5:
            raise OptionError(
                "Expected trim to be a share of phones from 0 to below 0.5, "
                f"which are left out at either end. Received: {self.trim!r}."
            )
        for name in ("clip_update_norm", "clip_gradients"):
            if getattr(self, name) == 0:
                raise OptionError(
                    f"Expected {name} to be a number above 0, or None. "
                    "Received: 0, with which nothing would be learned."
                )
        if self.trim != type(self).trim and self.mean != "trimmed-mean":
            raise OptionError(
                "Expected mean='trimmed-mean' (--mean trimmed-mean) with trim, "
                f"which is of no other mean. Received: trim={self.trim:g} and "
                f"mean={self.mean!r}, which leaves nobody out. Say both, or "
                "none."
            )
        few = self.round_phones
        if self.secure and few is not None and few < FEWEST_SECURE:
            raise OptionError(
                f"Expected rounds of {FEWEST_SECURE} phones or more, whose sum "
                f"tells of none. Received: round_phones={few}. Let more train "
                "in a round, or say plain_aggregation=True "
                "(--plain-aggregation)."
            )
        at_once = self.phones if few is None or self.mode == "merged" else few
        averages = self.mode != "personal" and self.secure
        if averages and at_once > MOST_SECURE:
            raise OptionError(
                f"Expected {MOST_SECURE} phones or fewer in a sum under masks. "
                f"Received: phones={self.phones}, round_phones={few}. Let "
                "fewer train in a round (round_phones, but for a merged "
                "cohort), or say plain_aggregation=True (--plain-aggregation)."
            )
        reads = self.mean != "mean" or self.clip_update_norm is not None
        if self.secure and reads:
            which = (
                f"mean={self.mean!r}"
                if self.mean != "mean"
                else f"clip_update_norm={self.clip_update_norm:g}"
            )
            raise OptionError(
                "Expected plain_aggregation=True (--plain-aggregation), for a "
                "mean that looks at what each phone says. Received: "
                f"{which}, where the server adds up what it cannot read."
            )

    @property
    def secure(self) -> bool:
        """Whether the server adds up what it cannot read."""
        return self.phones >= FEWEST_SECURE and not self.plain_aggregation

    @property
    def longest_half(self) -> int:
        """Numbers in the longest vector that a message may carry."""
        return self.max_half_bytes // (self.bits // 8 if self.secure else 4)


def _check(name: str, known: tuple[Any, ...], value: object) -> None:
    if value not in known:
        raise OptionError(
            f"Expected {name} to be one of {', '.join(map(str, known))}. "
            f"Received: {value!r}."
        )
