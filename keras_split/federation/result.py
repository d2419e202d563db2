"""What came out of a simulation, round by round."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from keras_split.utils.finite import or_none
from keras_split.utils.plain import plain


@dataclass(frozen=True)
class RoundResult:
    """How things stand after a round.

    Attributes:
        number: Of the round, from 1.
        metrics: Of the model on the test data, loss among them; of several
            halves (`personal`) the mean. None where it was not scored.
        loss: Mean of the round's training steps.
        uplink_bytes: Sent so far, by all phones together.
        downlink_bytes: Received so far, by all phones together.
        steps: Of bodies so far.
        seconds: That the simulation took so far.
    """

    number: int
    metrics: dict[str, float]
    loss: float
    uplink_bytes: int
    downlink_bytes: int
    steps: int
    seconds: float

    @property
    def accuracy(self) -> float:
        """The first metric on the test data that is one; NaN if none is.

        It is where the round was not scored, too.
        """
        for name, value in self.metrics.items():
            if "acc" in name:
                return value
        return float("nan")

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold; None for what is not finite."""
        metrics = {name: or_none(v) for name, v in self.metrics.items()}
        return asdict(self) | {"metrics": metrics, "loss": or_none(self.loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RoundResult":
        """The inverse of `get_config`; None becomes NaN."""
        metrics = {n: _number(v) for n, v in config["metrics"].items()}
        loss = _number(config["loss"])
        return cls(**config | {"metrics": metrics, "loss": loss})


@dataclass(frozen=True)
class SimulationResult:
    """What came out of a simulation.

    Attributes:
        name: What it is called in tables and pictures.
        settings: With which arguments it was made.
        rounds: In order.
        model: The whole model as it is in the end, to use or to save; None in
            `personal`, where there are many, and in what was read from JSON.
    """

    name: str
    settings: dict[str, Any]
    rounds: list[RoundResult] = field(default_factory=list)
    model: Any = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> list[float]:
        """Of each round."""
        return [one.accuracy for one in self.rounds]

    @property
    def best(self) -> float:
        """The best accuracy of any round that was scored."""
        known = [one.accuracy for one in self.scored]
        return max(known, default=float("nan"))

    @property
    def scored(self) -> list[RoundResult]:
        """The rounds after which the model was scored."""
        return [one for one in self.rounds if one.metrics]

    def bytes_to_reach(self, accuracy: float) -> tuple[int, int] | None:
        """Bytes up and down, of all phones, until it was that good.

        Args:
            accuracy: As a share, such as 0.85.

        Returns:
            None if it never was.
        """
        for one in self.rounds:
            if one.accuracy >= accuracy:
                return one.uplink_bytes, one.downlink_bytes
        return None

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold; None for what is not finite."""
        return {
            "name": self.name,
            "settings": self.settings,
            "rounds": [one.get_config() for one in self.rounds],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SimulationResult":
        """The inverse of `get_config`, without the model."""
        rounds = [RoundResult.from_config(one) for one in config["rounds"]]
        return cls(config["name"], config["settings"], rounds)

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.get_config())

    def table(self) -> str:
        """A line a round, as Markdown."""
        lines = [
            "| round | accuracy | loss | sent | received | seconds |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {one.number} | {_share(one.accuracy)} | {one.loss:.4f} | "
            f"{size(one.uplink_bytes)} | {size(one.downlink_bytes)} | "
            f"{one.seconds:.0f} |"
            for one in self.rounds
        ]
        return "\n".join(lines)

    def plot(self, path: Any) -> None:
        """Draws accuracy by round and by bytes; see `plot.plot`."""
        from keras_split.federation.plot import plot

        plot([self], path)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def table(results: Sequence[SimulationResult]) -> str:
    """A line a simulation, as Markdown."""
    lines = [
        "| | last accuracy | best | sent | received | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        last = result.rounds[-1]
        lines.append(
            f"| {plain(result.name)} | {last.accuracy:.3f} | "
            f"{result.best:.3f} | {size(last.uplink_bytes)} | "
            f"{size(last.downlink_bytes)} | {last.seconds:.0f} |"
        )
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes as a person reads them.

    Example:
    >>> size(1234567), size(12)
    ('1.2 MB', '12 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return (
                f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:.1f} TB"
