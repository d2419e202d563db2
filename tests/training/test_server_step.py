"""The body's forward and backward, with NumPy tensors in and out."""

import json

import keras
import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.training.server_step import ServerHalf
from tests import links

RATE = 0.1


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture(autouse=True)
def same_start(server):
    before = server.half.weights()
    yield
    server.half.set_weights(before)


@pytest.fixture
def half(server):
    return server.half


@pytest.fixture
def optimizer(half):
    optimizer = half.optimizer(links.MOMENTUM)
    yield optimizer
    optimizer.leave()


@pytest.fixture
def smashed(server):
    return links.smashed(server.contract)


@pytest.fixture
def grad(server):
    return links.features_grad(server.contract)


def test_a_step_waits_between_its_forward_and_its_backward(
    half, optimizer, smashed, grad
):
    before = half.weights()

    *_, step = half.forward(smashed, optimizer)
    waiting = half.in_flight.waiting
    still = half.weights()
    half.backward(step, smashed, grad, optimizer, RATE)

    assert (waiting, half.in_flight.waiting) == (1, 0)
    assert links.same(still, before)
    assert not links.same(half.weights(), before)


def test_a_step_without_a_place_gives_the_same_bits(
    half, optimizer, smashed, grad, monkeypatch
):
    before, found = half.weights(), []

    for limit in (1, 0):
        monkeypatch.setattr(half.in_flight, "limit", limit)
        half.set_weights(before)
        fresh = half.optimizer(links.MOMENTUM)
        features, penalty, step = half.forward(smashed, fresh)
        assert (step is None) == (limit == 0)
        made = half.backward(step, smashed, grad, fresh, RATE)
        parts = links.parts(features) + links.parts(made)
        found.append([*parts, penalty, *half.weights()])
        fresh.leave()

    assert links.same(*found)


def test_each_body_has_places_of_its_own(server, smashed):
    halves = [
        ServerHalf(server.body, server.contract, max_in_flight=1)
        for _ in range(2)
    ]

    steps = [
        half.forward(smashed, half.optimizer(links.SGD))[-1]
        for half in halves
        for _ in range(2)
    ]
    for half in halves:
        half.in_flight.end_all()

    assert [step is not None for step in steps] == [True, False] * 2
    assert not any(len(half.in_flight) for half in halves)


def test_an_abandoned_step_is_computed_anew(half, optimizer, smashed, grad):
    before, found = half.weights(), []

    for gone in (False, True):
        half.set_weights(before)
        fresh = half.optimizer(links.MOMENTUM)
        *_, step = half.forward(smashed, fresh)
        if gone:
            half.abandon(step)
        made = half.backward(step, smashed, grad, fresh, RATE)
        found.append(links.parts(made) + half.weights())
        fresh.leave()

    assert links.same(*found)


def test_gradients_may_be_had_before_the_update(half, optimizer, smashed, grad):
    *_, step = half.forward(smashed, optimizer, early=True)
    given = []

    made = half.backward(step, smashed, grad, optimizer, RATE, given.append)

    assert given == [made]


def test_microbatches_move_the_body_with_the_last_one(
    server, half, optimizer, smashed, grad
):
    before = half.weights()
    body = half.microbatches(optimizer)

    for _ in range(2):
        body.forward(smashed)
    body.backward(0, smashed, grad, RATE, 0.5, last=False)
    still = half.weights()
    body.backward(1, smashed, grad, RATE, 0.5, last=True)

    assert links.same(still, before)
    assert not links.same(half.weights(), before)
    assert not half.in_flight.waiting


def test_microbatches_that_are_given_up_free_their_places(
    half, optimizer, smashed
):
    body = half.microbatches(optimizer)
    for _ in range(3):
        body.forward(smashed)

    body.abandon()

    assert not half.in_flight.waiting


def test_gradients_that_are_not_finite_change_nothing(
    server, half, optimizer, smashed
):
    before = half.weights()
    huge = links.features_grad(server.contract, value=3e38)
    *_, step = half.forward(smashed, optimizer)

    with pytest.raises(ProtocolError, match="Expected finite gradients"):
        half.backward(step, smashed, huge, optimizer, RATE)

    assert links.same(half.weights(), before)


def test_a_copy_trains_by_itself(server, half, smashed, grad):
    before = half.weights()
    copied = half.copy()
    ends = []

    for one in (copied, half):
        optimizer = one.optimizer(links.MOMENTUM)
        *_, step = one.forward(smashed, optimizer)
        one.backward(step, smashed, grad, optimizer, RATE)
        ends.append(one.weights())
        optimizer.leave()
        if one is copied:
            assert links.same(half.weights(), before)

    assert copied.in_flight is not half.in_flight
    assert links.same(*ends)


def test_an_optimizer_is_copied_with_its_slots(server, half, smashed, grad):
    server.compile("adam")
    own = half.adopt(server.optimizer)
    *_, step = half.forward(smashed, own)
    half.backward(step, smashed, grad, own, RATE)

    copied = half.copy().adopt(own)

    assert copied.graph.optimizer is not server.optimizer
    assert copied.lasting
    assert links.same(copied.weights(), own.weights())
    assert any(np.any(slot) for slot in copied.weights())


def test_a_step_without_a_place_is_the_same_bit_for_bit(
    half, optimizer, smashed, grad, monkeypatch
):
    """Its forward moves no statistics, though they are computed twice."""
    before, ends = half.weights(), []
    for places in (4, 0):
        half.set_weights(before)
        monkeypatch.setattr(half.in_flight, "limit", places)
        features, _, step = half.forward(smashed, optimizer)
        assert (step is None) == (places == 0)
        assert links.same(half.weights(), before)
        out = half.backward(step, smashed, grad, optimizer, 0.0)
        ends.append(links.parts([*features, *out]) + half.weights())

    assert links.same(*ends)


def test_a_float16_overflow_reaches_the_phone_as_zeros():
    """The body's optimizer skips such a step; the phone moves by nothing."""
    keras.config.set_dtype_policy("mixed_float16")
    _, server = links.halves("float16")
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    config = json.dumps(keras.saving.serialize_keras_object(scaled))
    half, contract = server.half, server.contract
    optimizer = half.optimizer(config)
    smashed = links.smashed(contract)
    kernels = [np.array(v) for v in half.body.trainable_variables]

    *_, step = half.forward(smashed, optimizer)
    grad = links.features_grad(contract, value=100.0)  # times 2**15
    out = half.backward(step, smashed, grad, optimizer, RATE)

    assert all(not part.any() for part in links.parts(out))
    assert links.same(half.body.trainable_variables, kernels)


def test_all_graphs_of_an_optimizer_have_one_loss_scale():
    keras.config.set_dtype_policy("mixed_float16")
    _, server = links.halves("float16")
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    config = json.dumps(keras.saving.serialize_keras_object(scaled))
    half, contract = server.half, server.contract
    one, other = half.optimizer(config), half.optimizer(config)
    smashed, grad = links.smashed(contract), links.features_grad(contract)
    before = [variable.shape for variable in one.weights()]

    for trains, optimizer in ((True, one), (False, other), (True, one)):
        *_, step = half.forward(smashed, optimizer, smashed_grad=trains)
        half.backward(
            *(step, smashed, grad, optimizer, RATE), smashed_grad=trains
        )

    assert [variable.shape for variable in one.weights()] == before
