from dataclasses import replace

import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol import gradient_norm
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Snapshot
from keras_split.server.body import Body
from keras_split.server.body_options import BodyOptions
from keras_split.server.guards import GradientLimits
from keras_split.server.session import Session
from keras_split.server.session_state import SessionState
from keras_split.server.storage.snapshots import Snapshots
from tests import links


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def session(server, tmp_path):
    session = open_session(server, tmp_path)
    yield session
    session.close()


def open_session(
    server, folder, name="s", optimizer=links.MOMENTUM, limits=None
):
    """A session that starts at the state that every test starts at."""
    options = BodyOptions(limits=limits or GradientLimits())
    body = Body(server.half, None, options, Snapshots(folder))
    return Session(SessionState(name, optimizer=optimizer), body)


@pytest.fixture(autouse=True)
def same_start(server):
    """Brings the body back, so that its graphs are traced only once."""
    before = server.half.weights()
    yield
    server.half.set_weights(before)


def forward(server, step=0, **options):
    return Forward("s", step, links.smashed(server.contract, **options))


def backward(server, step=0, rate=0.1, **options):
    grad = links.features_grad(server.contract, **options)
    return Backward("s", step, grad, rate)


def refusal(session, message):
    with pytest.raises(ProtocolError) as info:
        session.handle(message)
    return info.value


def test_a_forward_changes_nothing(server, session):
    before = links.state(server)

    replies = [session.handle(forward(server)) for _ in range(3)]

    assert links.same(links.state(server), before)
    assert all(isinstance(reply, Features) for reply in replies)


def test_a_repeated_forward_gives_the_same_features(server, session):
    first, second = (session.handle(forward(server)) for _ in range(2))

    assert links.same(links.parts(first.tensors), links.parts(second.tensors))


def test_of_forwards_that_are_repeated_one_waits_in_vain(server, session):
    given_up = []
    session.account.given_up = lambda: given_up.append(1)

    for seed in range(5):
        session.handle(forward(server, seed=seed))
    session.handle(backward(server))

    assert len(given_up) == 1
    session.handle(forward(server, step=1))
    assert server.half.in_flight.waiting == 1


def test_a_backward_moves_weights_statistics_and_seed(server, session):
    before = links.state(server)

    session.handle(forward(server))
    session.handle(backward(server))

    moved = {
        variable.path.split("/")[-1]
        for variable, value in zip(server.body.variables, before, strict=True)
        if not np.array_equal(np.array(variable), value)
    }
    assert moved >= {"kernel", "gamma", "moving_mean", "moving_variance"}
    assert moved >= {"seed_generator_state"}


def test_steps_have_different_dropout(server, session):
    message = forward(server)
    first = session.handle(message)
    session.handle(backward(server, rate=0.0))

    second = session.handle(replace(message, step=1))

    dropped = [reply.tensors[0].codes == 0 for reply in (first, second)]
    assert (dropped[0] != dropped[1]).any()


def test_repeated_forwards_leave_no_trace_in_the_weights(server, session):
    _, expected = links.take_step(session.handle, "s", server.contract)
    after = links.state(server)
    server.half.set_weights(links.state(links.halves()[1]))
    again = open_session(server, None)

    again.handle(forward(server, seed=5))
    again.handle(forward(server))
    _, received = links.take_step(again.handle, "s", server.contract)

    assert links.same(links.state(server), after)
    assert links.same(
        links.parts(received.tensors), links.parts(expected.tensors)
    )


def test_a_repeated_backward_commits_once_and_returns_its_reply(
    server, session
):
    session.handle(forward(server))
    first = session.handle(backward(server))
    after = links.state(server)

    second = session.handle(backward(server))

    assert second is first
    assert links.same(links.state(server), after)
    assert session.next_step == 1


def test_the_stored_reply_is_of_the_last_step_only(server, session):
    for step in range(2):
        links.take_step(session.handle, "s", server.contract, step)

    error = refusal(session, backward(server, step=0))

    assert error.reason == "order"
    assert str(error).startswith("Expected step 2. Received: step 0.")


@pytest.mark.parametrize("step", [1, 7])
def test_a_forward_ahead_of_its_time_is_refused(server, session, step):
    error = refusal(session, forward(server, step))

    assert error.reason == "order"
    assert f"Expected step 0. Received: step {step}." in str(error)


def test_a_forward_of_a_step_that_is_done_is_refused(server, session):
    links.take_step(session.handle, "s", server.contract)

    error = refusal(session, forward(server, 0))

    assert "Expected step 1. Received: step 0." in str(error)


def test_a_backward_without_its_forward_is_refused(server, session):
    before = links.state(server)

    error = refusal(session, backward(server))

    assert error.reason == "order"
    assert "Expected the forward of step 0 first." in str(error)
    assert "Send the smashed data again." in str(error)
    assert links.same(links.state(server), before)


def test_gradients_of_another_batch_are_refused_and_the_step_stays_open(
    server, session
):
    before = links.state(server)
    session.handle(forward(server, size=8))

    error = refusal(session, backward(server, size=7))
    refused = links.state(server)
    reply = session.handle(backward(server, size=8))

    assert "Expected gradients of the 8 examples of step 0" in str(error)
    assert "Received: 7 examples." in str(error)
    assert links.same(refused, before)
    assert isinstance(reply, SmashedGrad)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_none_is_refused(server, session, rate):
    before = links.state(server)
    session.handle(forward(server))

    error = refusal(session, backward(server, rate=rate))

    assert error.reason == "learning-rate"
    assert links.same(links.state(server), before)


def test_the_learning_rate_of_each_step_is_the_one_that_came_with_it(
    server, session
):
    before = [np.array(v) for v in server.body.trainable_variables]

    links.take_step(session.handle, "s", server.contract, rate=0.0)
    still = [np.array(v) for v in server.body.trainable_variables]
    links.take_step(session.handle, "s", server.contract, 1, rate=0.5)
    moved = [np.array(v) for v in server.body.trainable_variables]

    assert links.same(still, before)
    assert not links.same(moved, before)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_residuals_that_are_gone_are_rebuilt_bit_for_bit(
    quantization, tmp_path
):
    outcomes = []
    for gone in (False, True):
        server = links.halves(quantization)[1]
        session = open_session(server, tmp_path)
        replies = []
        for step in range(3):
            session.handle(forward(server, step, seed=step))
            if gone:
                server.half.abandon_all()
            reply = session.handle(backward(server, step, seed=9 + step))
            replies += links.parts(reply.tensors)
        outcomes.append(replies + links.state(server))

    assert links.same(*outcomes)


def test_an_inference_changes_nothing_and_disturbs_no_step(server, session):
    before = links.state(server)
    expected, _ = links.take_step(session.handle, "s", server.contract)
    after = links.state(server)
    server.half.set_weights(before)
    again = open_session(server, None)

    features = again.handle(forward(server))
    inferred = again.handle(
        Infer("s", links.smashed(server.contract, size=3, seed=7))
    )
    still = links.state(server)
    again.handle(backward(server, seed=100))

    assert inferred.step == -1
    assert inferred.tensors[0].shape[0] == 3
    assert links.same(still, before)
    assert links.same(
        links.parts(features.tensors), links.parts(expected.tensors)
    )
    assert links.same(links.state(server), after)


def test_infer_runs_without_dropout(server, session):
    message = Infer("s", links.smashed(server.contract))

    first, second = (session.handle(message) for _ in range(2))

    assert links.same(links.parts(first.tensors), links.parts(second.tensors))


def test_batches_of_any_size_follow_one_another(server, session):
    for step, size in enumerate([8, 3, 1, 9]):
        features = session.handle(forward(server, step, size=size))
        grads = session.handle(backward(server, step, size=size))

        assert features.tensors[0].shape[0] == size
        assert grads.tensors[0].shape[0] == size


def test_a_snapshot_brings_back_the_body(server, session):
    links.take_step(session.handle, "s", server.contract)
    before = links.state(server)
    tag = session.handle(Snapshot("s")).tag
    links.take_step(session.handle, "s", server.contract, 1)

    reply = session.handle(Restore("s", tag))

    assert reply == Done()
    assert links.same(links.state(server), before)


@pytest.mark.parametrize("optimizer", [True, False])
def test_a_snapshot_brings_back_the_optimizer_on_request(
    server, session, optimizer
):
    links.take_step(session.handle, "s", server.contract)
    slots = session.optimizer.weights()
    tag = session.handle(Snapshot("s")).tag
    links.take_step(session.handle, "s", server.contract, 1)

    session.handle(Restore("s", tag, optimizer))

    assert links.same(session.optimizer.weights(), slots) is optimizer


def test_a_restore_between_forward_and_backward_ends_the_step(server, session):
    tag = session.handle(Snapshot("s")).tag
    session.handle(forward(server))
    session.handle(Restore("s", tag))

    error = refusal(session, backward(server))
    links.take_step(session.handle, "s", server.contract)

    assert "Expected the forward of step 0 first." in str(error)
    assert session.next_step == 1


def test_an_unknown_snapshot_changes_nothing(server, session):
    before = links.state(server) + session.optimizer.weights()

    error = refusal(session, Restore("s", "0123456789abcdef", True))

    after = links.state(server) + session.optimizer.weights()
    assert error.reason == "snapshot"
    assert links.same(after, before)


def test_a_snapshot_of_another_body_changes_nothing(server, session, tmp_path):
    """A folder of snapshots may be given to the server of another model."""
    before = links.state(server) + session.optimizer.weights()
    foreign = Snapshots(tmp_path).save([np.zeros(3)], [np.zeros(1)])

    error = refusal(session, Restore("s", foreign, True))

    after = links.state(server) + session.optimizer.weights()
    assert error.reason == "snapshot"
    assert "Expected a snapshot of this body" in str(error)
    assert links.same(after, before)


def test_a_snapshot_with_another_optimizer_brings_back_the_body_alone(
    server, session, caplog
):
    other = open_session(server, session.body.snapshots._folder, "t", links.SGD)
    tag = other.handle(Snapshot("t")).tag
    before = links.state(server)
    links.take_step(session.handle, "s", server.contract)
    slots = session.optimizer.weights()

    session.handle(Restore("s", tag, True))

    assert links.same(links.state(server), before)
    assert links.same(session.optimizer.weights(), slots)
    assert "taken with another optimizer" in caplog.text


def test_a_released_snapshot_is_gone(server, session):
    tag = session.handle(Snapshot("s")).tag

    session.handle(Release("s", tag))

    assert refusal(session, Restore("s", tag)).reason == "snapshot"


def test_diverged_features_are_refused_and_the_session_goes_on(server, session):
    good = server.half.weights()
    kernel = server.body.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan, "float32"))

    error = refusal(session, forward(server))
    server.half.set_weights(good)
    links.take_step(session.handle, "s", server.contract)

    assert error.reason == "not-finite"
    assert "Expected finite features from the body" in str(error)
    assert "Lower the learning rate and restore its weights." in str(error)


def test_a_step_whose_gradients_overflow_is_refused(server, tmp_path):
    session = open_session(
        server, tmp_path, limits=GradientLimits(float("inf"))
    )
    before = links.state(server) + session.optimizer.weights()
    session.handle(forward(server))
    huge = backward(server, value=3e38)

    error = refusal(session, huge)
    after = links.state(server) + session.optimizer.weights()
    links.take_step(session.handle, "s", server.contract)

    assert error.reason == "not-finite"
    assert links.same(after, before)


def test_gradients_of_an_absurd_size_are_refused(server, session):
    before = links.state(server) + session.optimizer.weights()
    session.handle(forward(server))

    error = refusal(session, backward(server, value=1e20))

    assert error.reason == "norm"
    assert "at most 1e+06. Received:" in str(error)
    assert links.same(links.state(server) + session.optimizer.weights(), before)
    links.take_step(session.handle, "s", server.contract)
    assert session.next_step == 1


def test_gradients_can_be_clipped_to_a_norm(server, tmp_path):
    """Clipped to half their norm they do what half of them does."""
    rule = server.contract.quantization.gradients
    norm = gradient_norm.bound(backward(server).tensors, rule)
    half = replace(
        backward(server),
        tensors=gradient_norm.scaled(backward(server).tensors, 0.5, rule),
    )
    made = []
    before = links.state(server)
    for message, limits in (
        (backward(server), GradientLimits(clip_grad_norm=norm / 2)),
        (half, None),
    ):
        server.half.set_weights(before)
        session = open_session(server, tmp_path, limits=limits)
        session.handle(forward(server))
        reply = session.handle(message)
        made.append(links.parts(reply.tensors) + links.state(server))

    for one, other in zip(*made, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_labels_are_refused_where_a_model_is_cut_twice(server, session):
    smashed = links.smashed(server.contract)
    before = links.state(server)

    error = refusal(session, LabeledStep("s", 0, smashed, [], [], 0.1))

    assert error.reason == "order"
    assert str(error) == (
        "Expected no labels, for this model is cut twice and labels stay on "
        "the phone. Received: a LabeledStep."
    )
    assert links.same(links.state(server), before)


def test_only_a_client_s_messages_are_answered(server, session):
    error = refusal(session, Hello(server.contract))

    assert error.reason == "order"
    assert "Received: Hello." in str(error)


def test_a_closed_session_keeps_no_residuals(server, session):
    session.handle(forward(server))

    session.close()

    assert not server.half.in_flight.waiting
