"""Steps in flight: begun, answered, abandoned and asked for again."""

from dataclasses import replace

import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import SmashedGrad
from keras_split.server import steps
from keras_split.server.body import Body
from keras_split.server.steps import Means
from keras_split.server.steps.microbatched_step import MicrobatchedStep
from keras_split.server.steps.whole_step import WholeStep
from tests import links


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def means(server):
    before = server.half.weights()
    optimizer = server.half.optimizer(links.SGD)
    yield Means(server.half, optimizer, Body(server.half).guard)
    optimizer.leave()
    server.half.set_weights(before)


@pytest.fixture
def forward(server):
    return Forward("s", 0, links.smashed(server.contract))


@pytest.fixture
def backward(server):
    return Backward("s", 0, links.features_grad(server.contract), 0.1)


def test_the_first_message_says_which_step_it_is(means, forward):
    whole = steps.begin(forward, means)
    parts = steps.begin(
        replace(forward, microbatch=Microbatch(0, 2, 16)), means
    )

    assert isinstance(whole, WholeStep)
    assert isinstance(parts, MicrobatchedStep)


@pytest.mark.parametrize(
    ("microbatch", "said"),
    [
        (None, "Expected the forward of step 0 first"),
        (Microbatch(0, 2, 16), "Expected the forwards of step 0 first"),
        (Microbatch(2, 2, 16), "Expected a microbatch with an index below"),
    ],
)
def test_no_step_begins_with_a_backward(means, backward, microbatch, said):
    with pytest.raises(ProtocolError, match=said):
        steps.begin(replace(backward, microbatch=microbatch), means)


def test_no_step_with_labels_begins_where_they_stay_on_the_phone(
    means, forward
):
    message = LabeledStep("s", 0, forward.tensors, [], [], 0.1)

    with pytest.raises(ProtocolError, match="labels stay on the phone"):
        steps.begin(message, means)


def test_a_whole_step_is_done_with_its_backward(means, forward, backward):
    step = steps.begin(forward, means)

    step.answer(forward, None)
    waits = step.waits, step.done, means.half.in_flight.waiting
    reply = step.answer(backward, None)

    assert waits == (True, False, 1)
    assert (step.waits, step.done) == (False, True)
    assert step.replies == [reply]
    assert means.half.in_flight.waiting == 0
    assert step.compute_s > 0


def test_an_abandoned_whole_step_can_still_go_backward(
    means, forward, backward
):
    step = steps.begin(forward, means)
    step.answer(forward, None)

    step.abandon()
    waiting = means.half.in_flight.waiting
    reply = step.answer(backward, None)

    assert waiting == 0
    assert isinstance(reply, SmashedGrad)


def test_an_early_reply_goes_before_the_one_that_says_so(
    means, forward, backward
):
    step = steps.begin(replace(forward, early=True), means)
    step.answer(replace(forward, early=True), None)
    sent = []

    reply = step.answer(replace(backward, early=True), sent.append)

    assert [type(message) for message in sent] == [SmashedGrad]
    assert reply == Committed(0)
    assert links.same(
        links.parts(sent[0].tensors), links.parts(step.replies[0].tensors)
    )


def test_a_message_of_another_kind_belongs_to_no_step_in_flight(
    means, forward, backward
):
    part = Microbatch(0, 2, 16)
    whole = steps.begin(forward, means)
    parts = steps.begin(replace(forward, microbatch=part), means)

    assert whole.belongs(backward)
    assert not whole.belongs(replace(backward, microbatch=part))
    assert not whole.belongs(forward)
    assert not parts.belongs(backward)
    assert parts.belongs(replace(backward, microbatch=part))


@pytest.mark.parametrize("early", [False, True])
def test_a_reply_is_given_again(backward, early):
    kept, sent = SmashedGrad(0, []), []

    reply = steps.again([kept], replace(backward, early=early), sent.append)

    assert (reply, sent) == ((Committed(0), [kept]) if early else (kept, []))


def test_a_step_that_travelled_otherwise_is_not_given_again(backward):
    part = replace(backward, microbatch=Microbatch(0, 2, 16))

    with pytest.raises(ProtocolError, match="of a step of 1 microbatches"):
        steps.again([SmashedGrad(0, [])], part, None)


def test_a_malformed_forward_is_refused_before_a_step_begins(means, forward):
    codes = np.full_like(forward.tensors[0].codes, np.nan)
    tensor = replace(forward.tensors[0], codes=codes)

    with pytest.raises(ProtocolError) as info:
        steps.begin(replace(forward, tensors=[tensor]), means)

    assert info.value.reason == "not-finite"
