"""Merged steps that several copies of a body compute: as if one had."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split.errors import ProtocolError
from keras_split.errors import TransportError
from keras_split.models.saved_server import SavedServer
from keras_split.ray.body_part import BodyPart
from keras_split.ray.body_part import Rows
from keras_split.ray.body_part import _portable
from keras_split.ray.data_parallel import DataParallel
from tests import links
from tests.nets import largest_difference

SIZES = (3, 5, 2)
RATE = 0.05


class Processes:
    """Copies of a body in this process, which take tasks as workers do."""

    def __init__(self, server, count=2):
        self.saved = SavedServer.of(server)
        self.parts = [self.fresh() for _ in range(count)]
        self.gone = False

    def fresh(self):
        return BodyPart(self.saved(), lambda weights: weights)

    def __len__(self):
        return len(self.parts)

    def each(self, shared, tasks):
        if self.gone:
            raise TransportError("All of them died.")
        for task in reversed(tasks):
            yield self.parts[task.index](shared, task)


def compiled(*middle, quantization="float32"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = layers.Dense(5, activation="tanh", name="a")(inputs)
    for layer in middle:
        x = layer(x)
    x = layers.Dense(6, kernel_regularizer="l2", name="b")(x)
    x = layers.Dense(3, activation="softmax", name="c")(x)
    return keras_split.compile(
        keras.Model(inputs, x), ["a", "b"], quantization=quantization
    )[1]


@pytest.fixture
def pair():
    """A body, and another one whose steps two copies of it compute."""
    one, other = compiled(), compiled()
    return Steps(one), Steps(other, Processes(other))


class Steps:
    """Steps of one body, computed here or by processes."""

    def __init__(self, server, processes=None):
        self.server, self.processes = server, processes
        self.half, self.contract = server.half, server.contract
        self.optimizer = self.half.adopt(keras.optimizers.Adam(RATE))
        if processes is not None:
            put = lambda weights: [np.array(w) for w in weights]  # noqa: E731
            self.half.merges = DataParallel(processes, put).step

    def forward(self, seed=0, sizes=SIZES):
        smashed = [
            links.smashed(self.contract, seed=seed + i, size=size)
            for i, size in enumerate(sizes)
        ]
        self.grads = [
            links.features_grad(self.contract, seed=50 + seed + i, size=size)
            for i, size in enumerate(sizes)
        ]
        self.step = self.half.merged(smashed, self.optimizer)
        return self.step.forward()

    def backward(self, without=()):
        grads = [
            None if i in without else grad for i, grad in enumerate(self.grads)
        ]
        return self.step.of_each(self.step.backward(grads, RATE))

    @property
    def values(self):
        return [np.array(v) for v in self.half.body.variables]


def codes(tensors):
    return [tensor.codes for tensor in keras.tree.flatten(tensors)]


def test_twenty_steps_are_those_of_one_process(pair):
    before = pair[0].values

    for seed in range(20):
        (features, penalty), (theirs, their_penalty) = (
            each.forward(seed) for each in pair
        )
        one, other = (each.backward() for each in pair)

        assert largest_difference(codes(features), codes(theirs)) < 1e-5
        assert penalty == pytest.approx(their_penalty, rel=1e-5) and penalty
        assert largest_difference(codes(one), codes(other)) < 1e-5

    after, theirs = (each.values for each in pair)
    assert largest_difference(after, theirs) < 1e-5
    assert largest_difference(before, after) > 0.1
    assert [len(of[0].codes) for of in one] == list(SIZES)


def test_a_phone_without_gradients_has_no_part_in_the_update(pair):
    for each in pair:
        each.forward()

    one, other = (each.backward(without=[1]) for each in pair)

    assert largest_difference(pair[0].values, pair[1].values) < 1e-6
    assert not np.any(other[1][0].codes)
    assert largest_difference(codes(one[0]), codes(other[0])) < 1e-6


def test_fewer_examples_than_processes(pair):
    for each in pair:
        each.forward(sizes=(1,))
        each.backward()

    assert largest_difference(pair[0].values, pair[1].values) < 1e-6


@pytest.mark.parametrize("lost", ["one", "all places"])
def test_what_a_process_has_lost_is_computed_anew_to_the_last_bit(lost):
    quiet, disturbed = (
        Steps(s, Processes(s)) for s in (compiled(), compiled())
    )
    for seed in range(2):
        for each in (quiet, disturbed):
            each.forward(seed)
        processes = disturbed.processes
        if lost == "one":
            processes.parts[1] = processes.fresh()
        else:
            for part in processes.parts:
                part._half.abandon_all()
        for each in (quiet, disturbed):
            each.backward()

    for one, other in zip(quiet.values, disturbed.values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_that_is_given_up_leaves_no_trace(pair):
    here, parallel = pair
    parallel.forward(seed=7)
    parallel.step.abandon()
    for each in pair:
        each.forward()
        each.backward()

    assert largest_difference(here.values, parallel.values) < 1e-6


def test_parts_draw_random_numbers_of_their_own_and_new_ones_each_step():
    server = compiled(layers.Dropout(0.5, seed=3))
    steps = Steps(server, Processes(server))
    (state,) = server.half.body.non_trainable_variables
    before = np.array(state)
    same = links.smashed(server.contract, size=4, value=1.0)

    drawn = []
    for _ in range(2):
        steps.step = server.half.merged([same, same], steps.optimizer)
        features, _ = steps.step.forward()
        grads = links.features_grad(server.contract, size=4, value=0.0)
        steps.grads = [grads, grads]
        steps.backward()
        drawn += np.split(features[0].codes, 2)

    patterns = {array.tobytes() for array in drawn}
    assert len(patterns) == 4
    after = np.array(state)
    assert after[0] == before[0] and after[1] > before[1]


def test_statistics_are_the_mean_of_those_of_parts():
    server = compiled(layers.BatchNormalization(momentum=0.0, name="bn"))
    steps = Steps(server, Processes(server))

    steps.forward()
    steps.backward()

    smashed = np.concatenate(
        [
            links.smashed(server.contract, seed=i, size=size)[0].codes
            for i, size in enumerate(SIZES)
        ]
    )
    mean, variance = (
        np.array(v) for v in server.half.body.non_trainable_variables
    )
    np.testing.assert_allclose(mean, smashed.mean(axis=0), atol=1e-5)
    parts = np.mean([half.var(axis=0) for half in np.split(smashed, 2)], axis=0)
    np.testing.assert_allclose(variance, parts, atol=1e-5)


def test_a_gradient_that_is_not_finite_changes_nothing(pair):
    parallel = pair[1]
    parallel.forward()
    before = parallel.values
    parallel.grads[2][0].codes[:] = np.inf

    with pytest.raises(ProtocolError, match="not taken") as raised:
        parallel.backward()

    assert raised.value.reason == "not-finite"
    for one, other in zip(before, parallel.values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_process_the_step_is_refused(pair):
    parallel = pair[1]
    parallel.processes.gone = True

    with pytest.raises(ProtocolError, match="All of them died") as raised:
        parallel.forward()

    assert raised.value.reason == "busy"


def test_a_loss_of_activations_is_refused():
    dense = layers.Dense(5, activity_regularizer="l2", name="active")
    server = compiled(dense)
    steps = Steps(server, Processes(server))

    with pytest.raises(ProtocolError, match="one process"):
        steps.forward()


def test_rows_of_a_table_travel_as_rows():
    table = tf.Variable(np.zeros((5, 2), "float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table, [1, 3]))
    found = _portable(tape.gradient(loss, table))

    assert isinstance(found, Rows)
    np.testing.assert_array_equal(
        tf.convert_to_tensor(found.slices()),
        [[0, 0], [1, 1], [0, 0], [1, 1], [0, 0]],
    )
