"""What a body keeps of its own, and what it has of others."""

import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.moment import Moment
from keras_split.ray.averaged_body import Average
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.averaged_body import Kept
from tests.ray.bodies import StillBody
from tests.ray.fake_ray import Answer

RUN = "ab" * 16
NOTHING = DataDigest()


def kept(state):
    return Kept(state.moment, [Answer(lambda: state)])


def average(weight, variance=1.0, number=1, data=NOTHING):
    values = [
        np.full(2, weight, "float32"),
        np.full(2, variance, "float32"),
        np.full(1, 77, "int64"),
    ]
    return Average(kept(BodyState(Moment(RUN, number), values, data)), ())


@pytest.fixture
def trained():
    """A body that has learned 3, and what it has given."""
    body = StillBody()
    body.learn(3.0, variance=9.0)
    return body, kept(body.averaged.give())


def test_it_becomes_the_mean_but_for_its_counters(trained):
    body, base = trained

    body.averaged.take(average(1.1, variance=4.0), [base])

    weight, variance, counter = body.half.variables
    assert (weight == np.float32(1.1)).all() and (variance == 4.0).all()
    assert counter == 1


def test_what_it_learned_meanwhile_is_kept(trained):
    body, base = trained
    body.learn(0.5, variance=0.25)

    body.averaged.take(average(1.0, variance=4.0), [base])

    assert body.weight == 1.5
    assert (body.half.variables[1] == 4.0).all()  # not 0.25 + 4 - 9


def test_a_second_time_nothing_happens(trained):
    body, base = trained
    made = average(1.0)
    body.averaged.take(made, [base])
    body.learn(0.5)

    moment = body.averaged.take(made, [base])

    assert body.weight == 1.5
    assert moment == body.half.timeline.moment


def test_later_averages_move_what_earlier_ones_made(trained):
    body, base = trained
    first, third = average(1.0), average(4.0, number=3)
    body.averaged.take(first, [base])
    body.learn(0.5)

    body.averaged.take(third, [first.mean, base])

    assert body.weight == 4.5
    before = body.half.timeline.moment
    body.averaged.take(average(9.0, number=2), [first.mean])
    assert body.half.timeline.moment == before


def test_who_comes_from_nowhere_is_replaced(trained):
    _, base = trained
    other = StillBody()
    other.learn(5.0)

    other.averaged.take(average(1.0), [base])

    assert other.weight == 1.0


def test_a_base_that_is_lost_is_not_missed(trained):
    body, base = trained
    lost = Kept(base.moment, [Answer(lambda: None)])

    body.averaged.take(average(1.0), [lost, base])

    assert body.weight == 1.0


def test_who_trains_with_other_data_is_refused(trained):
    body, base = trained
    body.half.data = DataDigest("a" * 64)

    with pytest.raises(ProtocolError) as error:
        body.averaged.take(average(1.0, data=DataDigest("b" * 64)), [base])

    assert error.value.reason == "data" and body.weight == 3.0
    body.averaged.take(average(1.0, data=DataDigest("", "c" * 64)), [base])
    assert body.half.data == DataDigest("a" * 64, "c" * 64)


def test_a_moment_is_not_of_two_bodies(trained):
    body, base = trained
    before = body.half.timeline.moment

    body.averaged.take(average(1.0), [base])

    now = body.half.timeline
    assert now.moment != before
    assert now.includes(before) and now.includes(Moment(RUN, 1))
