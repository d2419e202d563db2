"""Simulated phones in processes of Ray."""

import os
import signal

import pytest

from keras_split.federation import shards
from keras_split.federation.simulation import simulate
from keras_split.ray import RayEngine
from keras_split.ray.runtime import runtime
from keras_split.ray.workers import Workers
from keras_split.training import tf_threads
from tests import nets
from tests.federation.test_engines import dropout
from tests.federation.test_engines import same

CUT = ["a_relu", "b_drop"]
OPTIONS = {"rounds": 3, "participation": 12, "batch": 4}


@pytest.fixture(scope="module")
def cluster():
    with runtime("local", cpus=2) as ray:
        yield ray


# As many threads as this process has, so that sums are in the same order.
ENGINE = RayEngine(workers=2, threads=tf_threads.cores())


def phones():
    x, y = nets.images(120)
    return shards.Shards(x, y, shards.dirichlet(y, 20, 0.5, seed=1))


@pytest.mark.slow
# In the test below processes make the same numbers, too.
@pytest.mark.long
@pytest.mark.parametrize("mode", ["private", "fedavg"])
def test_numbers_are_those_of_one_process_bit_for_bit(cluster, mode):
    one = simulate(dropout(), CUT, phones(), mode=mode, **OPTIONS)

    many = simulate(
        dropout(), CUT, phones(), mode=mode, engine=ENGINE, **OPTIONS
    )

    same(one, many)


@pytest.mark.slow
def test_a_process_that_is_killed_changes_no_number(cluster, monkeypatch):
    each, killed = Workers.each, []

    def deadly(self, shared, tasks):
        for number, result in enumerate(each(self, shared, tasks)):
            if number == 2 and len(killed) < 2:
                killed.append(self.processes[len(killed)])
                os.kill(killed[-1], signal.SIGKILL)
            yield result

    one = simulate(dropout(), CUT, phones(), mode="private", **OPTIONS)
    monkeypatch.setattr(Workers, "each", deadly)
    many = simulate(
        *(dropout(), CUT, phones()),
        mode="private",
        engine=ENGINE,
        **OPTIONS,
    )

    same(one, many)
    assert len(set(killed)) == 2
