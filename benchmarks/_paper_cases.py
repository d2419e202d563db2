"""What `paper.py` measures: cases, and what is stored of each."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _paper_networks import WHOLE

PARTS = ("memory", "time", "bytes", "learning")
LIMITS_MB = (512, 1024, 2048)
SPLIT_LIMIT_MB = 200
CUT = "spliteasy"
KERAS = "keras"  # a whole model that Keras trains


@dataclass(frozen=True)
class Case:
    """A line of the results.

    Attributes:
        part: One of `PARTS`.
        network: Its name.
        way: `"whole"`, `"keras"`, or the name of a cut.
        size: Of the images.
        batch: Images of a step.
        limit: Megabytes of private memory; 0 for none.
        seed: Of a training; rounds of times are told apart by it, too.
    """

    part: str
    network: str
    way: str = WHOLE
    size: int = 224
    batch: int = 1
    limit: int = 0
    seed: int = 0

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.network}-{self.way}-{self.size}-{self.batch}"


Found = dict[Case, dict[str, Any]]


def known(path: Path) -> Found:
    """The results so far."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {Case(**row["case"]): row["found"] for row in rows}


def keep(path: Path, case: Case, found: dict[str, Any]) -> None:
    """Adds a result."""
    row = {"case": vars(case), "found": found}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def of(part: str, found: Found) -> Found:
    """The results of a part."""
    return {case: what for case, what in found.items() if case.part == part}


def networks(found: Found) -> list[str]:
    """Of some results, in order."""
    return sorted({case.network for case in found})


def number(value: float) -> str:
    """For a cell."""
    return f"{value:,.0f}" if math.isfinite(value) else ""


def peak_mb(what: Mapping[str, Any] | None) -> float:
    """The most resident memory beyond the bare process; NaN if unknown."""
    if not what or not what["trained"]:
        return math.nan
    return float(what["peak_bytes"] - what["bare_bytes"]) / 1e6


def title(limit: int) -> str:
    """A limit in words."""
    return f"{limit} MB" if limit < 1024 else f"{limit / 1024:g} GB"
