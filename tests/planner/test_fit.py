import random
from dataclasses import replace

import pytest

from keras_split.errors import DataError
from keras_split.planner import Amount
from keras_split.planner import Work
from keras_split.planner.fit import Sample
from keras_split.planner.fit import fit
from keras_split.planner.fit import fit_tables
from keras_split.planner.profile import RATES
from keras_split.planner.profile import Cache
from keras_split.planner.profile import Profile
from keras_split.planner.profile import Rate
from keras_split.planner.profile import Table

KINDS = ("conv", "batchnorm", "dense")
CACHE = Cache(2.0**18, 2.0**22)


def machine():
    """One whose rates are known."""
    return Table(
        {"head_backward": 1e-3, "tail_step": 3e-3},
        {
            "conv": Rate(1e-4, 1e-5, 3e-10, 1e-9, 4e-9, 5e-9, 3e-9),
            "batchnorm": Rate(5e-5, 0.0, 0.0, 6e-9, 6e-9),
            "dense": Rate(multiply_adds=9e-10, weights=2e-9),
        },
    )


def networks(count, seed=0):
    """Work of any proportions, for a batch."""
    chance = random.Random(seed)

    def amount():
        return Amount(
            chance.randint(1, 9),
            chance.randint(1, 99),
            int(10 ** chance.uniform(4, 8)),
            int(10 ** chance.uniform(3, 6.5)),
            int(10 ** chance.uniform(2, 6)),
            int(10 ** chance.uniform(2, 6)),
        )

    for _ in range(count):
        some = chance.sample(KINDS, chance.randint(1, 3))
        work = Work({(k, chance.randint(32, 88)): amount() for k in some})
        phase = chance.choice(("head_backward", "tail_step"))
        yield phase, work, chance.choice((1, 2, 8))


def samples(count, table=None, cache=CACHE):
    table = table or machine()
    return [
        Sample(phase, work, batch, table.seconds(work, batch, phase, cache))
        for phase, work, batch in networks(count)
    ]


def worst(table, cache=CACHE):
    """The largest relative error, on networks that were not measured."""
    return max(
        abs(
            table.seconds(work, batch, phase, cache)
            / machine().seconds(work, batch, phase, CACHE)
            - 1
        )
        for phase, work, batch in networks(50, seed=1)
    )


def test_the_rates_of_a_machine_are_found_again():
    found = fit(samples(150), CACHE, trust=1e-6)

    assert worst(found) < 1e-3
    assert found.bases == pytest.approx(machine().bases, rel=1e-2)
    conv = found.rates["conv"]
    assert conv.multiply_adds == pytest.approx(3e-10, rel=1e-2)
    assert conv.far_elements == pytest.approx(4e-9, rel=1e-2)


def test_no_rate_is_negative_however_measurements_contradict():
    chance = random.Random(2)
    noisy = [
        Sample(s.phase, s.work, s.batch, s.seconds * chance.uniform(0.3, 3))
        for s in samples(20)
    ]

    found = fit(noisy, CACHE)

    rates = [getattr(r, name) for r in found.rates.values() for name in RATES]
    assert min(*rates, *found.bases.values()) >= 0


def test_another_machine_tells_what_few_samples_leave_open():
    slower = Table(
        {phase: 3 * base for phase, base in machine().bases.items()},
        {
            kind: Rate(*(3 * getattr(rate, name) for name in RATES))
            for kind, rate in machine().rates.items()
        },
    )

    found = fit(samples(4), CACHE, prior=slower)

    assert worst(found) < 0.05
    assert worst(fit(samples(4), CACHE)) > 0.05


def test_a_rate_of_0_on_another_machine_need_not_be_so_on_this_one():
    other = machine()
    conv = replace(other.rates["conv"], multiply_adds=0.0, weights=0.0)
    prior = Table(other.bases, {**other.rates, "conv": conv})

    found = fit(samples(150), CACHE, prior=prior)

    assert worst(found) < 0.2
    assert found.rates["conv"].multiply_adds == pytest.approx(3e-10, rel=0.1)


def test_the_cache_that_explains_the_samples_is_found():
    tables, cache = fit_tables(
        {"step": samples(150)}, Profile("prior", {"step": machine()})
    )

    assert cache == CACHE
    assert worst(tables["step"], cache) < 0.01


def test_no_samples_or_no_time_are_refused():
    work = Work({("dense", 3): Amount(1)})

    for passes in ([], [Sample("tail_step", work, 1, 0.0)]):
        with pytest.raises(DataError, match="Measure for longer"):
            fit(passes, CACHE)
