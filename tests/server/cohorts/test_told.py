import numpy as np
import pytest

from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import AskShare
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.told import Told
from keras_split.server.cohorts.waiting import WaitingRoom

DRAWN = Drawn(7, 0, 7, ((0, 4), (1, 4)))


@pytest.fixture
def told():
    """Of a server that makes step 7 again, and has the half behind step 6."""
    half = CohortHalf()
    half.put(7, np.full(3, 2.0))
    made = Told(half, WaitingRoom())
    made.begin_again(DRAWN, b"a ticket")
    return made


def asks(version, seen):
    return AskShare("s", 4, 0, version, seen)


def test_who_was_behind_when_the_server_died_gets_the_half_that_outlived_it(
    told,
):
    share = told.with_half(1, asks(5, 6))

    assert (share.step, share.count, share.ticket) == (7, 4, b"a ticket")
    assert vectors.from_tensors(share.tensors, 3).tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("version", "seen"),
    [(8, 8), (7, 7), (5, 8)],
    ids=["is further", "has that half", "has heard of the step"],
)
def test_nobody_else_gets_a_half_in_a_step_that_is_made_again(
    told, version, seen
):
    assert told.with_half(1, asks(version, seen)) is None


def test_a_half_that_died_with_the_server_is_not_waited_for():
    made = Told(CohortHalf(), WaitingRoom())
    made.begin_again(DRAWN, b"a ticket")

    assert made.with_half(1, asks(5, 6)) is None
