"""Processes of Ray; what they take are functions without TensorFlow."""

import os
import signal
import sys

import pytest

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.errors import SplitError
from keras_split.errors import TransportError
from keras_split.ray import RayEngine
from keras_split.ray.runtime import runtime
from keras_split.ray.workers import FOREVER
from keras_split.ray.workers import Workers
from tests.ray.fake_ray import FakeRay
from tests.ray.fake_ray import Method
from tests.ray.fake_ray import RayError

WORKERS = 2


class Maker:
    """Makes what adds, fails or dies, as its task says."""

    def __init__(self, says=""):
        self.says = says

    def __call__(self):
        if self.says:
            raise DataError(self.says)
        return self.take

    def take(self, shared, task):
        if task == "ours":
            raise DataError("Expected another task.")
        if task == "foreign":
            raise KeyError("a place")
        if isinstance(task, tuple):
            number, marker = task
            if not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return shared + number
        return shared + task


def test_who_has_no_ray_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(BackendError, match="Expected Ray.*pip install"):
        RayEngine().open(Maker(), tasks=1)


@pytest.mark.parametrize(
    "options", [{"workers": -1}, {"cpus": 0}, {"gpus": -0.5}]
)
def test_processes_of_impossible_sizes_are_refused(options):
    with pytest.raises(OptionError, match="or more"):
        RayEngine(**options)


class Mortal:
    """A process that dies of some tasks, and is there again at once."""

    def __init__(self):
        self.ready, self.take = Method(lambda make: 1), Method(self._take)

    def _take(self, make, shared, task):
        if task == "deadly":
            raise RayError("the actor died")
        return shared.value + task


def test_a_task_of_which_processes_die_is_given_up_and_they_are_not():
    ray = FakeRay(Mortal(), Mortal())
    workers = Workers(ray, Maker(), 2, 1, 0, {}, FOREVER)

    for _ in range(3):
        with pytest.raises(TransportError, match="4 that died with it"):
            [*workers.each(100, ["deadly"])]

    assert sorted(workers.each(100, [1, 2, 3])) == [101, 102, 103]


@pytest.fixture(scope="module")
def cluster():
    with runtime("local", cpus=WORKERS) as ray:
        yield ray


@pytest.fixture
def workers(cluster):
    found = RayEngine().open(Maker(), tasks=9)
    yield found
    found.close()


@pytest.mark.slow
def test_every_task_is_done_once_and_the_cluster_stays(cluster, workers):
    found = [*workers.each(100, range(9))]
    again = [*workers.each(200, [1])]

    assert sorted(found) == [100 + n for n in range(9)]
    assert again == [201]
    assert len(set(workers.processes)) == len(workers) == WORKERS
    workers.close()
    assert cluster.is_initialized()


@pytest.mark.slow
def test_a_task_whose_process_dies_is_taken_by_the_next(workers, tmp_path):
    tasks = [(n, str(tmp_path / f"{n % 3}")) for n in range(6)]

    found = [*workers.each(10, tasks)]

    assert sorted(found) == [10, 11, 12, 13, 14, 15]


@pytest.mark.slow
def test_a_process_that_died_is_not_waited_for_and_comes_back(workers):
    before = workers.processes
    [*workers.each(0, range(4))]
    os.kill(before[0], signal.SIGKILL)

    found = [*workers.each(10, range(4))]

    assert sorted(found) == [10, 11, 12, 13]
    after = workers.processes
    assert after[1] == before[1] and after[0] != before[0]
    [*workers.each(0, range(9))]
    assert len(workers._there) == WORKERS


@pytest.mark.slow
def test_what_a_task_raises_is_ours(cluster, workers):
    with pytest.raises(DataError, match="^Expected another task.$"):
        [*workers.each(0, ["ours"])]
    with pytest.raises(SplitError, match="Received: KeyError: 'a place'"):
        [*workers.each(0, [1, "foreign"])]
    with pytest.raises(SplitError, match="by pickle"):
        [*workers.each((n for n in ()), [1])]


@pytest.mark.slow
def test_who_cannot_be_made_says_why(cluster):
    workers = RayEngine(workers=1).open(Maker("Expected flour."), tasks=1)

    with pytest.raises(DataError, match="^Expected flour.$"):
        [*workers.each(0, [1])]
    workers.close()


@pytest.mark.slow
def test_a_cluster_that_is_full_or_not_there_is_said(cluster):
    with pytest.raises(TransportError, match="room for 1 times 3 CPUs"):
        RayEngine(cpus=WORKERS + 1).open(Maker(), tasks=1)
    with pytest.raises(OptionError, match="ray.shutdown"):
        RayEngine("127.0.0.1:1").open(Maker(), tasks=1)
