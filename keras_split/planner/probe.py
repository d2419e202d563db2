"""Measures a phone: half a minute of small networks, with LiteRT alone."""

import importlib
import platform
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from keras_split.device.memory import peak_bytes
from keras_split.device.model import litert
from keras_split.errors import OptionError
from keras_split.planner import runs
from keras_split.planner.fit import Sample
from keras_split.planner.fit import fit_tables
from keras_split.planner.probe_files import ProbeFile
from keras_split.planner.probe_files import opened
from keras_split.planner.profile import PHASES
from keras_split.planner.profile import REFERENCE
from keras_split.planner.profile import Profile
from keras_split.planner.work import commit

# Every file runs in each round, so that a busy moment does not fall on one.
_ROUNDS = 2
# What an open connection has, beside the modules that speak gRPC.
_CONNECTION_BYTES = 5e6


def probe(
    *,
    name: str = "phone",
    seconds: float = 30.0,
    threads: int | None = None,
    clock: str = "wall",
    source: str | Path | None = None,
    prior: Profile | None = None,
    progress: Callable[[float], object] | None = None,
) -> Profile:
    """Runs the probes on this machine, and fits its rates.

    Args:
        name: Of the profile.
        seconds: For how long to measure, about; every pass runs a few times
            however long that takes.
        threads: Of one operation; LiteRT's choice if not given.
        clock: `"wall"`, or `"cpu"` for the time that this process had a core
            for, which is fairer beside other programs, with one thread.
        source: Other probes than those that come with keras_split.
        prior: A profile whose rates hold, at this machine's speed, where the
            probes leave something open, and whose memory is LiteRT's beside
            the base; by default that of `REFERENCE`.
        progress: Is called with the part that is done, 0 to 1.

    Raises:
        OptionError: If there is no such clock, or no time to measure.
        BackendError: If ai-edge-litert is not installed.
        DataError: If LiteRT cannot run the probes.
    """
    if clock not in runs.CLOCKS or seconds <= 0:
        raise OptionError(
            f"Expected a clock of {', '.join(runs.CLOCKS)}, and seconds above "
            f"0. Received: {clock!r}, {seconds}."
        )
    if clock == "cpu" and threads not in (None, 1):
        raise OptionError(
            "Expected one thread with the clock 'cpu', which adds up those of "
            f"all. Received: threads={threads}. Leave one of them out."
        )
    if clock == "cpu":
        threads = 1
    before = prior or Profile.load(REFERENCE)
    base = _base_bytes()
    with opened(source) as files:
        samples = _measure(files, seconds, threads, clock, progress)
    tables, cache = fit_tables(samples, before)
    return Profile(
        name,
        tables,
        before.memory and replace(before.memory, base=base),
        cache,
        {
            "machine": f"{platform.machine()}, {platform.system()}",
            "ai-edge-litert": version("ai-edge-litert"),
            "threads": "LiteRT's choice" if threads is None else str(threads),
            "clock": clock,
        },
    )


def _base_bytes() -> float:
    """Of a process that trains: with LiteRT, and connected to a server."""
    litert()
    importlib.import_module("keras_split.transports.grpc.transport")
    return peak_bytes() + _CONNECTION_BYTES


def _measure(
    files: Sequence[ProbeFile],
    seconds: float,
    threads: int | None,
    clock: str,
    progress: Callable[[float], object] | None,
) -> dict[str, list[Sample]]:
    """The fastest round of each pass, by table."""
    share = seconds / (_ROUNDS * max(len(files), 1))
    found: dict[Path, list[dict[str, float]]] = {f.path: [] for f in files}
    for number in range(_ROUNDS * len(files)):
        file = files[number % len(files)]
        made = runs.run(file.path, seconds=share, threads=threads, clock=clock)
        found[file.path].append(made.seconds)
        if progress is not None:
            progress((number + 1) / (_ROUNDS * len(files)))
    samples: dict[str, list[Sample]] = {}
    for file in files:
        for phase in runs.SIGNATURES:
            work = file.tail if phase == "tail_step" else file.head
            if phase == "head_backward":
                work += commit(file.tail)
            took = min(made[phase] for made in found[file.path])
            samples.setdefault(PHASES[phase], []).append(
                Sample(phase, work, file.batch, took)
            )
    return samples
