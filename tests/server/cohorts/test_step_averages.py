import numpy as np
import pytest

from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.messages import Refusal
from keras_split.server import CohortConfig
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.step_averages import StepAverages
from tests.server.cohorts.fakes import enroll

WAIT_S = 30.0


@pytest.mark.parametrize("plain", [True, False])
def test_who_is_silent_holds_up_a_step_no_longer_than_a_step_may_take(plain):
    config = CohortConfig(
        phones=3,
        plain_aggregation=plain,
        step_deadline_s=0.05,
        round_deadline_s=600.0,
    )
    averages = StepAverages(config, Members())
    averages.open(0, [0, 1, 2], 2)
    stage = "value" if plain else "keys"
    tensors = vectors.to_tensors(np.ones(2, np.float32)) if plain else []
    keys = {} if plain else {0: bytes([*range(1, 97), 0])}

    message = Contribution("s", 0, stage, 4.0, tensors, keys)
    reply = averages.give(message, 0).result(WAIT_S)

    if plain:
        assert reply.members == (0,)
    else:  # one is too few to add up under masks
        assert isinstance(reply, Refusal) and reply.reason == "late"


def test_a_phone_that_vanished_before_it_gave_is_not_waited_for():
    config = CohortConfig(
        phones=2, step_deadline_s=600.0, round_deadline_s=600.0
    )
    averages = StepAverages(config, Members())
    averages.open(0, [0, 1], 2)
    tensors = vectors.to_tensors(np.ones(2, np.float32))
    future = averages.give(Contribution("s", 0, "value", 4.0, tensors), 0)

    averages.lost(Member(1, "b", "s1", enroll("s1"), present=False))

    assert future.result(WAIT_S).members == (0,)


@pytest.mark.parametrize("has_it", [True, False])
def test_an_average_is_made_again_only_if_nobody_has_it(has_it):
    config = CohortConfig(phones=2, step_deadline_s=600.0)
    averages = StepAverages(config, Members())
    averages.open(3, [0, 1], 2, again=True)
    tensors = vectors.to_tensors(np.ones(2, np.float32))
    future = averages.give(Contribution("s", 3, "value", 4.0, tensors), 0)

    if has_it:
        averages.has_it(4)
    else:
        averages.give_up(3, 1)

    reply = future.result(WAIT_S)
    if has_it:
        assert isinstance(reply, Refusal) and reply.reason == "late"
    else:
        assert reply.members == (0,) and reply.version == 4


def test_nothing_is_kept_of_steps_in_which_nothing_is_averaged():
    averages = StepAverages(CohortConfig(phones=2), Members())

    for step in range(9):
        averages.give_up(step, 0)
        averages.give_up(step, 1)

    assert not averages._without


def test_what_is_averaged_is_what_those_in_the_step_have_agreed_on():
    members = Members()
    weights = AveragingTerms(every=1)  # of one that left before it gave a half
    members.enroll("a", enroll("a", weights, size=9))
    members.end("a")
    gradients = AveragingTerms(every=1, what="gradients")
    members.enroll("b", enroll("b", gradients, averaged=2))
    averages = StepAverages(CohortConfig(phones=2), members)

    averages.begin(Drawn(0, 0, 0, ((1, 4),)))

    tensors = vectors.to_tensors(np.ones(2, np.float32))
    future = averages.give(Contribution("s", 0, "value", 4.0, tensors), 1)
    assert future.result(WAIT_S).members == (1,)
