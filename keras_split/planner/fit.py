"""From measured passes to rates, by non-negative least squares."""

import itertools
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import DataError
from keras_split.planner.profile import RATES
from keras_split.planner.profile import Cache
from keras_split.planner.profile import Profile
from keras_split.planner.profile import Rate
from keras_split.planner.profile import Table
from keras_split.planner.profile import counts
from keras_split.planner.work import KINDS
from keras_split.planner.work import Work

# A machine of which nothing is known: 5e9 multiply-adds and 5e8 elements a
# second, some microseconds an operation. Only what no probe tells is of this.
_USUAL = Rate(5e-6, 2e-6, 2e-10, 2e-9, 1e-9, 2e-9, 2e-9, 1e-10)
_USUAL_BASE = 5e-5
# How much a rate's guess weighs beside the measurements, whose relative error
# is what is minimized: little, so that it decides only what they leave open.
_TRUST = 0.02
# Rates are found in units of their guesses. Of one that came out as 0 on
# another machine it is so much of the usual, or it would be 0 on all of them.
_LEAST = 0.1
# A pass this short matters to no step, however wrong it is.
_SHORT = 3e-4
# Of what a machine may find close by, in powers of two of bytes; and by how
# much larger what is far away is.
_NEAR_BITS = (14, 16, 18, 20)
_FAR_BITS = (2, 4, 6)


@dataclass(frozen=True)
class Sample:
    """One pass that was measured.

    Attributes:
        phase: Which.
        work: Of one example.
        batch: Examples.
        seconds: Of the pass.
    """

    phase: str
    work: Work
    batch: int
    seconds: float


def fit(
    samples: Sequence[Sample],
    cache: Cache,
    prior: Table | None = None,
    trust: float = _TRUST,
) -> Table:
    """The rates that explain the samples, in the sense of relative errors.

    No rate is negative. Where samples say nothing, such as of a kind that is
    in none, it is the prior's, at the speed that the machine has at others.

    Args:
        samples: Passes of one table.
        cache: Of the machine.
        prior: Rates of another machine.
        trust: In the prior, as a relative error of one sample.

    Raises:
        DataError: If there are no samples, or one that took no time.
    """
    if not samples or min(sample.seconds for sample in samples) <= 0:
        raise DataError(
            "Expected passes that took some time. Received: "
            f"{[sample.seconds for sample in samples]}. Measure for longer."
        )
    phases = sorted({sample.phase for sample in samples})
    names = [("", phase) for phase in phases]
    names += [(kind, rate) for kind in KINDS for rate in RATES]
    guess = np.array([_guess(*name, prior) for name in names])
    unit = np.maximum(guess, [_LEAST * _guess(*name, None) for name in names])
    rows = np.array([_row(sample, names, cache) for sample in samples])
    seconds = np.array([sample.seconds for sample in samples])
    weights = 1.0 / (seconds + _SHORT)
    # In units of the guess, and of the time that was measured.
    design = rows * weights[:, np.newaxis]
    target = seconds * weights
    speed = float(np.median(target / np.maximum(design @ guess, 1e-12)))
    unit *= speed
    scale = _non_negative(design * unit, target, guess * speed / unit, trust)
    return _table(names, unit * scale)


def fit_tables(
    samples: Mapping[str, Sequence[Sample]], prior: Profile | None = None
) -> tuple[dict[str, Table], Cache]:
    """Rates for each table, and the cache that explains the samples best.

    Args:
        samples: By table.
        prior: Of another machine.
    """
    best: tuple[float, dict[str, Table], Cache] | None = None
    for near, far in itertools.product(_NEAR_BITS, _FAR_BITS):
        cache = Cache(2.0**near, 2.0 ** (near + far))
        tables, error = {}, 0.0
        for name, passes in samples.items():
            before = None if prior is None else prior.tables.get(name)
            table = fit(passes, cache, before)
            tables[name] = table
            error += sum(_error(table, sample, cache) for sample in passes)
        if best is None or error < best[0]:
            best = error, tables, cache
    assert best is not None
    return best[1:]


def _error(table: Table, sample: Sample, cache: Cache) -> float:
    guess = table.seconds(sample.work, sample.batch, sample.phase, cache)
    return abs(guess - sample.seconds) / (sample.seconds + _SHORT)


def _non_negative(
    design: np.ndarray[Any, Any],
    target: np.ndarray[Any, Any],
    guess: np.ndarray[Any, Any],
    trust: float,
) -> np.ndarray[Any, Any]:
    """Least squares near a guess with no number below 0.

    By block principal pivoting (Kim and Park, SIAM J. Sci. Comput. 33(6),
    2011, algorithm 1): numbers that came out negative become 0 all at once,
    and come back when they would lower the error.
    """
    gram = design.T @ design + trust**2 * np.eye(design.shape[1])
    aim = design.T @ target + trust**2 * guess
    free = np.ones(len(aim), bool)
    fewest, patience = len(aim) + 1, 3
    while True:
        found = np.zeros(len(aim))
        found[free] = np.linalg.solve(gram[np.ix_(free, free)], aim[free])
        slope = gram @ found - aim
        wrong = np.where(free, found < -1e-12, slope < -1e-12)
        count = int(wrong.sum())
        if not count:
            return np.maximum(found, 0.0)
        if count < fewest:
            fewest, patience = count, 3
        elif patience:
            patience -= 1
        else:  # one at a time always ends
            last = int(np.flatnonzero(wrong)[-1])
            wrong = np.arange(len(wrong)) == last
        free ^= wrong


def _guess(kind: str, name: str, prior: Table | None) -> float:
    if not kind:
        known = {} if prior is None else prior.bases
        return float(known.get(name, _USUAL_BASE))
    rate = _USUAL if prior is None else prior.rates.get(kind, _USUAL)
    return float(getattr(rate, name))


def _row(
    sample: Sample, names: Sequence[tuple[str, str]], cache: Cache
) -> list[float]:
    known = counts(sample.work, sample.batch, cache)
    known[""] = {sample.phase: 1.0}
    return [known.get(kind, {}).get(name, 0.0) for kind, name in names]


def _table(names: Sequence[tuple[str, str]], values: Any) -> Table:
    found: dict[str, dict[str, float]] = {}
    for (kind, name), value in zip(names, values, strict=True):
        found.setdefault(kind, {})[name] = float(value)
    bases = found.pop("")
    return Table(bases, {k: Rate(**v) for k, v in found.items()})
