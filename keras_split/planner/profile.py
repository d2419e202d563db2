"""How fast a machine is at each kind of work: a small JSON file."""

import json
import math
import os
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.planner.work import KINDS
from keras_split.planner.work import Work
from keras_split.planner.work import elements_of

FORMAT = "keras_split.profile"
VERSION = 1
# The passes of a step, and the table of rates that each takes.
PHASES = {
    "head_forward": "forward",
    "head_backward": "step",
    "tail_step": "step",
    "body_forward": "body_forward",
    "body_backward": "body_backward",
}
TABLES = tuple(dict.fromkeys(PHASES.values()))
_PROBE = "keras-split device probe -o profile.json, a server with --server"
_ADVICE = f"Measure the machine again with {_PROBE}."


@dataclass(frozen=True)
class Rate:
    """Seconds for what an `Amount` counts.

    Attributes:
        calls: For each layer, whatever the size of the batch.
        products: For each product, whatever the size of the batch.
        multiply_adds: For each, and each example.
        elements: For each, and each example.
        far_elements: For each more, where they are not in the cache.
        weights: For each trained parameter, whatever the size of the batch.
        heavy_weights: For each more, in layers that have many.
        heavy_multiply_adds: For each more, in such layers, and each example.
    """

    calls: float = 0.0
    products: float = 0.0
    multiply_adds: float = 0.0
    elements: float = 0.0
    far_elements: float = 0.0
    weights: float = 0.0
    heavy_weights: float = 0.0
    heavy_multiply_adds: float = 0.0


# Batches of these whose tensors are larger, `litert.lowering.conv` takes image
# by image.
_BY_IMAGE = {"conv", "conv_1x1", "conv_strided"}
_MOST_BYTES = 2.0**23
RATES = tuple(entry.name for entry in fields(Rate))


@dataclass(frozen=True)
class Cache:
    """Which tensors a machine finds close by.

    Attributes:
        near_bytes: Smaller tensors are.
        far_bytes: Larger ones are not; those between are in part.
    """

    near_bytes: float = 2.0**18
    far_bytes: float = 2.0**22

    def far(self, nbytes: float) -> float:
        """What part of a tensor is far away, 0 to 1."""
        if nbytes <= self.near_bytes:
            return 0.0
        way = math.log(nbytes / self.near_bytes)
        return min(way / math.log(self.far_bytes / self.near_bytes), 1.0)


def counts(work: Work, batch: int, cache: Cache) -> dict[str, dict[str, float]]:
    """What a batch does of each kind, by the name of its rate."""
    made: dict[str, dict[str, float]] = {}
    for (kind, size), amount in work.amounts.items():
        nbytes = 4.0 * batch * elements_of(size)
        images = 1
        if kind in _BY_IMAGE and nbytes > _MOST_BYTES:
            images, nbytes = batch, nbytes / batch
        far = cache.far(nbytes)
        sums = made.setdefault(kind, dict.fromkeys(RATES, 0.0))
        sums["calls"] += amount.calls
        sums["products"] += amount.products * images
        sums["multiply_adds"] += batch * amount.multiply_adds
        sums["elements"] += batch * amount.elements
        sums["far_elements"] += batch * amount.elements * far
        sums["weights"] += amount.weights
        sums["heavy_weights"] += amount.heavy_weights
        heavy = amount.heavy_weights / max(amount.weights, 1)
        sums["heavy_multiply_adds"] += heavy * batch * amount.multiply_adds
    return made


@dataclass(frozen=True)
class Table:
    """The rates of passes of one sort.

    Attributes:
        bases: Seconds of a pass that does nothing, by phase.
        rates: By kind of work.
    """

    bases: Mapping[str, float]
    rates: Mapping[str, Rate]

    def seconds(
        self, work: Work, batch: int, phase: str, cache: Cache
    ) -> float:
        """Of a batch."""
        total = self.bases.get(phase, 0.0)
        for kind, sums in counts(work, batch, cache).items():
            rate = self.rates.get(kind)
            if rate is None:
                raise DataError(
                    f"Expected a profile that knows {kind!r}. Received: one "
                    f"of {', '.join(sorted(self.rates))}. {_ADVICE}"
                )
            total += sum(n * getattr(rate, name) for name, n in sums.items())
        return total


@dataclass(frozen=True)
class Memory:
    """Bytes of the phone's process.

    Attributes:
        base: Before a file is loaded: Python, LiteRT.
        load: Of a loaded file, whatever is in it.
        head_weights: For each trained parameter of the head.
        tail_weights: For each of the tail.
        slots: For each parameter and slot of the optimizer beyond the first.
        kept: For each element that an `Amount` keeps, by kind.
    """

    base: float
    load: float
    head_weights: float
    tail_weights: float
    slots: float
    kept: Mapping[str, float]

    def peak_bytes(
        self, head: Work, tail: Work, batch: int, slots: int
    ) -> float:
        """Of a step."""
        total = self.base + self.load
        total += self.head_weights * head.weights
        total += self.tail_weights * tail.weights
        # What `head_backward` commits waits in a copy of the tail's state.
        copies = head.weights + 2 * tail.weights
        total += self.slots * (slots - 1) * copies
        for work in (head, tail):
            for kind, amount in work.by_kind.items():
                total += batch * amount.kept * self.kept.get(kind, 0.0)
        return max(total, self.base)


_CACHE = Cache()
# Of the profiles that come with keras_split, the phone that was measured with
# more probes than others are. What LiteRT takes of memory beside a process'
# base is in it, and the rates that a short probe starts from.
REFERENCE = "epyc-core"
# The server that was measured for longer than others are.
SERVER_REFERENCE = "epyc-server"


@dataclass(frozen=True)
class Profile:
    """What was measured of one machine.

    Attributes:
        name: What it calls itself.
        about: Words for people: the machine, versions, the clock.
        tables: The rates by table; a phone has `"forward"` and `"step"`, a
            server `"body_forward"` and `"body_backward"`.
        memory: Of a phone.
        cache: Which tensors are slower to read and write.
    """

    name: str
    tables: Mapping[str, Table]
    memory: Memory | None = None
    cache: Cache = _CACHE
    about: Mapping[str, str] = field(default_factory=dict)

    def seconds(self, work: Work, batch: int, phase: str) -> float:
        """How long the machine takes for a pass.

        Args:
            work: Of head, tail or body, with `crossing` for each cut.
            batch: Examples.
            phase: One of `PHASES`. `"head_backward"` computes the head's
                forward again; `"tail_step"` is forward, backward and update.

        Raises:
            OptionError: If there is no such phase, or the profile is of a
                machine that plays the other part.
            DataError: If the profile does not know a kind of the work.
        """
        if phase not in PHASES:
            raise OptionError(
                f"Expected a phase of {', '.join(PHASES)}. Received: {phase!r}."
            )
        if batch < 1:
            raise OptionError(
                f"Expected a batch of 1 or more. Received: {batch}."
            )
        table = self.tables.get(PHASES[phase])
        if table is None:
            raise OptionError(
                f"Expected a profile with {phase!r}. Received: {self.name!r}, "
                f"which has {', '.join(self.phases) or 'nothing'}. A phone is "
                "measured with keras-split device probe, a server with "
                "keras-split device probe --server."
            )
        return table.seconds(work, batch, phase, self.cache)

    def peak_bytes(
        self, head: Work, tail: Work, batch: int, *, slots: int = 1
    ) -> int:
        """The most memory that the phone's process has in a training step.

        Args:
            head: The head's work.
            tail: The tail's.
            batch: Examples.
            slots: Of the optimizer, for each weight: 0 for SGD, 1 with
                momentum, 2 for Adam.

        Raises:
            OptionError: If the profile is of no phone.
        """
        if self.memory is None:
            raise OptionError(
                "Expected a profile of a phone, with its memory. Received: "
                f"{self.name!r}. Measure one: keras-split device probe."
            )
        return round(self.memory.peak_bytes(head, tail, batch, slots))

    @property
    def phases(self) -> tuple[str, ...]:
        """Those that it knows."""
        return tuple(p for p, table in PHASES.items() if table in self.tables)

    def get_config(self) -> dict[str, Any]:
        """Plain values, as they stand in the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "about": dict(self.about),
            "seconds": {
                name: {
                    "bases": dict(table.bases),
                    "rates": {k: asdict(r) for k, r in table.rates.items()},
                }
                for name, table in self.tables.items()
            },
            "cache": asdict(self.cache),
            "memory": None if self.memory is None else asdict(self.memory),
        }

    @classmethod
    def from_config(cls, config: Any) -> "Profile":
        """The inverse of `get_config`.

        Raises:
            DataError: If it is none, or of a newer keras_split.
        """
        return _read(config, "a config")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file."""
        text = json.dumps(self.get_config(), indent=1) + "\n"
        Path(path).write_text(text, "utf-8")

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> "Profile":
        """Reads a file, or one of those that come with keras_split by name.

        Args:
            source: A path that ends in .json, or one of `Profile.names()`.

        Raises:
            DataError: If there is no such file, or it is no profile.
        """
        name = os.fspath(source)
        path: Any = Path(name)
        if not name.endswith(".json"):
            if name not in cls.names():
                raise DataError(
                    f"Expected a profile: {', '.join(cls.names())}, or a file "
                    f"that ends in .json. Received: {name!r}. {_ADVICE}"
                )
            path = _shipped() / f"{name}.json"
        try:
            config = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                f"Expected a profile in {name!r}. Received: {error}. {_ADVICE}"
            ) from error
        return _read(config, repr(name))

    @staticmethod
    def names() -> list[str]:
        """The profiles that come with keras_split."""
        found = _shipped().iterdir() if _shipped().is_dir() else ()
        return sorted(
            entry.name.removesuffix(".json")
            for entry in found
            if entry.name.endswith(".json")
        )


def _shipped() -> Any:
    return resources.files("keras_split.planner") / "profiles"


def _read(config: Any, source: str) -> Profile:
    def refuse(received: str, advice: str = _ADVICE) -> DataError:
        return DataError(
            f"Expected a profile of a machine in {source}. Received: "
            f"{received}. {advice}"
        )

    if not isinstance(config, Mapping) or config.get("format") != FORMAT:
        raise refuse("something else")
    version = config.get("version")
    if version != VERSION:
        raise refuse(
            f"version {version!r}, where this keras_split reads {VERSION}",
            "Install a keras_split that wrote it, or measure again with "
            f"{_PROBE}.",
        )
    tables: dict[str, Table] = {}
    cache: Any = config.get("cache")
    _numbers(cache, [f.name for f in fields(Cache)], refuse)
    if not 0 < cache["near_bytes"] < cache["far_bytes"]:
        raise refuse("a cache that ends before it begins")
    seconds, about = config.get("seconds"), config.get("about", {})
    if not isinstance(seconds, Mapping) or not isinstance(about, Mapping):
        raise refuse("no seconds, or a damaged about")
    for name, entry in seconds.items():
        whole = isinstance(entry, Mapping) and name in TABLES
        bases = entry.get("bases") if whole else None
        rates = entry.get("rates") if whole else None
        if not isinstance(rates, Mapping) or not isinstance(bases, Mapping):
            raise refuse(f"a damaged table {name!r}")
        _numbers(bases, bases, refuse)
        for kind, rate in rates.items():
            if kind not in KINDS:
                raise refuse(f"a rate of {kind!r}, which is no kind of work")
            _numbers(rate, RATES, refuse)
        tables[name] = Table(
            {str(phase): float(base) for phase, base in bases.items()},
            {
                kind: Rate(**{n: float(rate[n]) for n in RATES})
                for kind, rate in rates.items()
            },
        )
    memory: Any = config.get("memory")
    found = None
    if memory is not None:
        names = [f.name for f in fields(Memory) if f.name != "kept"]
        _numbers(memory, names, refuse)
        kept = memory.get("kept")
        if not isinstance(kept, Mapping) or not set(kept) <= set(KINDS):
            raise refuse("a damaged memory")
        _numbers(kept, kept, refuse)
        numbers = {name: float(memory[name]) for name in names}
        found = Memory(**numbers, kept={k: float(kept[k]) for k in kept})
    return Profile(
        str(config.get("name", "")),
        tables,
        found,
        Cache(float(cache["near_bytes"]), float(cache["far_bytes"])),
        {str(k): str(v) for k, v in about.items()},
    )


def _numbers(entry: Any, names: Iterable[str], refuse: Any) -> None:
    """Checks that all are there, finite and not negative."""
    for name in names:
        value = entry.get(name) if isinstance(entry, Mapping) else None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or value < 0
        ):
            raise refuse(f"{name} = {value!r}, where a number >= 0 belongs")
