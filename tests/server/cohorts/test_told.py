import numpy as np
import pytest

from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.told import Told

DRAWN = Drawn(7, 0, 7, ((0, 4), (1, 4)))


@pytest.fixture
def told():
    """Of a server that makes step 7 again, and has the half behind step 6."""
    half = CohortHalf()
    half.put(7, np.full(3, 2.0))
    made = Told(half)
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
    made = Told(CohortHalf())
    made.begin_again(DRAWN, b"a ticket")

    assert made.with_half(1, asks(5, 6)) is None


def test_who_is_behind_waits_until_another_has_given_its_half():
    made = Told(CohortHalf())
    asked = {0: asks(5, 6), 1: asks(7, 7), 2: asks(7, 7)}
    assert made.version(asked, 7) == 7
    assert made.stranded(7) == {0}
    assert made.giver(asked, 7) == 1

    half = PutHalf("s", 7, vectors.to_tensors(np.full(3, 2.0, np.float32)))
    assert not made.put(half, 2, 3)  # nobody asked for that one
    assert made.put(half, 1, 3)

    assert not made.stranded(7)
    assert made.giver(asked, 7) is None
    told = made.begin(Drawn(7, 0, 7, ((0, 4), (1, 4), (2, 0))), b"a ticket")
    found = vectors.from_tensors(told[0].tensors, 3)
    assert found.tolist() == [2.0] * 3
    assert not told[1].tensors and not told[2].tensors


def test_nobody_is_asked_twice_for_a_half_that_does_not_come():
    made = Told(CohortHalf())
    asked = {0: asks(5, 6), 1: asks(7, 7), 2: asks(7, 7)}
    made.version(asked, 7)

    assert [made.giver(asked, 7) for _ in range(3)] == [1, 2, None]
    assert made.stranded(7) == {0}


@pytest.mark.parametrize(
    ("seen", "heard", "again"),
    [(7, True, True), (8, True, False), (7, False, False), (0, True, False)],
    ids=["overtaken", "asks for the next", "gave nothing", "cannot say so"],
)
def test_a_message_that_its_phone_has_overtaken_asks_for_nothing_new(
    told, seen, heard, again
):
    if heard:
        told.heard(1)

    assert (told.again(1, asks(7, seen), None) is not None) == again
