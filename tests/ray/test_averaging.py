"""When bodies of replicas become one, and who takes part."""

import time

import numpy as np
import pytest

from keras_split.protocol.timeline import Timeline
from keras_split.ray import averaging
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.averaging import Averaging
from tests.ray.bodies import BodyActor
from tests.ray.bodies import Half
from tests.ray.fake_ray import FakeRay


class Cluster:
    """Replicas, and what makes their bodies one."""

    def __init__(self, count=2, every=4, before=()):
        self.actors = [BodyActor(number) for number in range(count)]
        for number, steps in enumerate(before):
            for _ in range(steps):
                self.actors[number].body.learn(float(number))
            self.actors[number].body.write()
            self.actors[number].body.restart()
        half = Half()
        origin = BodyState(half.timeline.moment, half.weights())
        self.averaging = Averaging(FakeRay(), every, origin, self.actors)
        for number, actor in enumerate(self.actors):
            self.averaging.saw(number, actor.look())

    def learn(self, number, *by):
        for one in by:
            self.actors[number].body.learn(one)

    def tick(self, **options):
        there = []
        for number, actor in enumerate(self.actors):
            if not actor.dead:
                self.averaging.saw(number, actor.look())
                there.append(number)
        self.averaging.look_after(lambda: there, **options)

    def kill(self, number):
        self.actors[number].dead = True

    def come_back(self, number):
        missed = self.averaging.missed(number)
        self.actors[number].come_back(missed)

    @property
    def weights(self):
        return [actor.body.weight for actor in self.actors]


def test_bodies_become_one_when_each_has_taken_its_steps():
    cluster = Cluster(every=4)
    cluster.learn(0, 1.0, 1.0, 1.0, 1.0, 1.0)
    cluster.learn(1, 1.0, 1.0)

    cluster.tick()
    early = cluster.averaging.count, cluster.weights
    cluster.learn(1, 1.0)
    cluster.tick()

    assert early == (0, [5.0, 2.0])
    mean = float(np.float32((5 * 5.0 + 3 * 3.0) / 8))  # by their steps
    assert (cluster.averaging.count, cluster.weights) == (1, [mean] * 2)


def test_nobody_waits_for_one_that_is_idle_or_dead():
    cluster = Cluster(count=3, every=2)
    cluster.kill(2)
    cluster.learn(0, 1.0, 1.0)

    cluster.tick()

    assert cluster.weights == [2.0, 2.0, 0.0]
    cluster.tick()
    cluster.tick()
    assert cluster.averaging.count == 1  # for no more steps were taken


def test_one_that_was_away_has_what_it_missed_and_what_it_learned():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.tick()
    cluster.learn(1, 0.5)
    cluster.actors[1].body.write()
    cluster.kill(1)
    cluster.learn(0, 4.0, 4.0)
    cluster.tick()

    cluster.come_back(1)

    assert cluster.weights == [10.0, 10.5]
    cluster.learn(1, 0.5, 0.5)
    cluster.tick()
    assert cluster.weights == [11.5, 11.5]


def test_one_that_lost_everything_begins_with_the_mean():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    cluster.tick()
    cluster.actors[1].body.written = None
    cluster.kill(1)

    cluster.come_back(1)
    cluster.tick()

    assert cluster.weights == [4.0, 4.0]


@pytest.mark.parametrize("missed", [False, True])
def test_no_step_is_in_it_twice_if_one_dies_behind_its_give(missed):
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    cluster.actors[1].dies_in = "take"
    cluster.tick()
    if missed:  # another average
        cluster.learn(0, 1.0, 1.0)
        cluster.tick()

    cluster.come_back(1)

    assert cluster.weights == [4.0 + 2 * missed] * 2


def test_what_it_learned_between_give_and_take_outlives_its_process():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    for number, actor in enumerate(cluster.actors):
        cluster.averaging.saw(number, actor.look())
    body = cluster.actors[1].body

    def there():
        """Meanwhile it takes a step, behind which a checkpoint is written."""
        if body.written and body.steps == 2:
            body.learn(0.5)
            body.write()
        return [0, 1]

    cluster.averaging.look_after(there)
    before = cluster.weights
    cluster.kill(1)
    cluster.come_back(1)

    assert before == cluster.weights == [4.0, 4.5]


def test_steps_of_a_checkpoint_are_averaged_though_their_process_is_gone():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    cluster.tick()
    cluster.learn(1, 0.5)
    cluster.actors[1].body.write()
    cluster.kill(1)
    cluster.come_back(1)

    cluster.tick()
    early = cluster.averaging.count, cluster.weights
    cluster.tick(now=True)

    assert early == (1, [4.0, 4.5])
    assert cluster.weights == [4.5, 4.5]


def test_steps_that_were_lost_with_their_process_are_not_counted():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    cluster.tick()
    cluster.learn(1, 9.0)
    cluster.kill(1)
    cluster.come_back(1)

    cluster.tick(now=True)

    assert cluster.averaging.count == 1 and cluster.weights == [4.0, 4.0]


def test_what_an_idle_one_may_go_on_from_does_not_pile_up():
    cluster = Cluster(every=2)
    for _ in range(9):
        cluster.learn(0, 1.0, 1.0)
        cluster.tick()
    kept = len(cluster.averaging._members[1].bases)
    cluster.kill(1)
    cluster.come_back(1)

    assert kept <= averaging._BASES
    assert cluster.weights == [18.0, 18.0]


def test_one_that_dies_giving_is_left_out():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    cluster.actors[1].dies_in = "give"

    cluster.tick()

    assert cluster.weights == [2.0, 6.0]


def test_one_that_cannot_keep_its_body_does_not_give_it():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    cluster.actors[1].body.full = True

    cluster.tick()

    # Its steps are its own until it gives them.
    assert cluster.weights == [2.0, 8.0]
    cluster.actors[1].body.full = False
    cluster.learn(1, 0.0, 0.0)
    cluster.tick()
    assert cluster.weights == [8.0, 8.0]


def test_nan_does_not_spread():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, float("nan"), 1.0)

    cluster.tick()

    assert cluster.weights[0] == 2.0


def test_bodies_of_checkpoints_are_averaged_at_once():
    cluster = Cluster(count=3, every=100, before=(3, 1))

    cluster.tick()

    mean = float(np.float32((3 * 0.0 + 1 * 1.0) / 4))
    assert cluster.weights == [mean] * 3
    cluster.tick()
    assert cluster.averaging.count == 1


def test_in_the_end_any_step_is_enough():
    cluster = Cluster(every=100)
    cluster.learn(0, 1.0)

    cluster.tick()
    early = cluster.weights
    cluster.tick(now=True)

    assert (early, cluster.weights) == ([1.0, 0.0], [1.0, 1.0])
    last = cluster.averaging.last
    assert (last.values[0] == 1.0).all()
    assert last.moment in cluster.averaging.moments


def test_what_fails_is_not_tried_all_the_time():
    cluster = Cluster(count=1, every=2)
    cluster.actors[0].body.full = True
    cluster.learn(0, 1.0, 1.0)
    cluster.tick()
    cluster.actors[0].body.full = False

    cluster.tick()
    early = cluster.averaging.count
    cluster.tick(now=True)

    assert (early, cluster.averaging.count) == (0, 1)
    assert (cluster.averaging.last.values[0] == 2.0).all()


def test_who_goes_on_from_a_checkpoint_is_asked_until_it_gives(monkeypatch):
    monkeypatch.setattr(averaging, "_AGAIN_S", 0.3)
    cluster = Cluster(every=100, before=(0, 3))
    cluster.actors[1].body.full = True
    cluster.tick()
    cluster.actors[1].body.full = False

    cluster.tick()
    early = cluster.weights
    time.sleep(0.4)
    cluster.tick()

    assert (early, cluster.weights) == ([0.0, 3.0], [3.0, 3.0])


@pytest.mark.parametrize(("method", "then"), [("give", 14 / 3), ("take", 6)])
def test_one_that_hangs_is_waited_for_while_it_is_there(method, then):
    cluster = Cluster(count=3, every=2)
    for number in range(3):
        cluster.learn(number, 1.0, 1.0)
    cluster.actors[2].hangs_in = method
    for number, actor in enumerate(cluster.actors):
        cluster.averaging.saw(number, actor.look())
    looks = iter([[0, 1, 2]] * 2)

    cluster.averaging.look_after(lambda: next(looks, [0, 1]))

    assert cluster.averaging.count == 1
    assert cluster.weights == [2.0] * 3
    cluster.actors[2].hangs_in = ""
    cluster.learn(0, 2.0, 2.0)
    cluster.learn(1, 2.0, 2.0)
    cluster.tick()
    # What it did not give is in the next one, by its steps.
    assert np.allclose(cluster.weights, then)


def test_one_that_may_take_an_average_at_any_time_gives_nothing_before():
    cluster = Cluster(every=2)
    cluster.actors[1].hangs_in = "take"
    for by in (1.0, 3.0):
        cluster.learn(0, 1.0, 1.0)
        cluster.learn(1, by, by)
        for number, actor in enumerate(cluster.actors):
            cluster.averaging.saw(number, actor.look())
        looks = iter([[0, 1]] * 3)
        cluster.averaging.look_after(lambda looks=looks: next(looks, [0]))
    early = cluster.averaging.count, cluster.weights
    cluster.actors[1].hangs_in = ""

    cluster.tick(now=True)

    assert early == (2, [4.0, 8.0])
    assert cluster.weights == [10.0, 10.0]


def test_what_a_process_gave_is_not_counted_of_the_next():
    cluster = Cluster(count=2, every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    for number, actor in enumerate(cluster.actors):
        cluster.averaging.saw(number, actor.look())

    def there():
        """Meanwhile one has died, and is back."""
        if cluster.actors[1].process == 1 and cluster.actors[1].body.written:
            cluster.kill(1)
            cluster.come_back(1)
            cluster.averaging.saw(1, cluster.actors[1].look())
        return [0, 1]

    cluster.averaging.look_after(there)
    cluster.learn(1, 1.0, 1.0)
    cluster.tick()

    assert cluster.averaging.count == 2
    assert cluster.weights == [6.0] * 2


def test_the_last_average_knows_bodies_of_earlier_ones():
    cluster = Cluster(every=2)
    cluster.learn(0, 1.0, 1.0)
    cluster.learn(1, 3.0, 3.0)
    done = cluster.actors[0].look().status.moment  # of its phones
    cluster.tick()
    cluster.learn(1, 3.0, 3.0)
    cluster.tick()

    saved = Timeline().averaged(cluster.averaging.moments)

    assert cluster.averaging.count == 2
    assert saved.includes(done)
