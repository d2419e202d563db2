"""Batch normalization as one operation: Keras' numbers, and where it is not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split import zoo
from keras_split.training.fused_batchnorm import fused
from tests import nets

OPERATION = "FusedBatchNormV3"
SHAPES = {
    "images": (6, 5, 4, 3),
    "vectors": (16, 3),
    "sequences": (4, 7, 3),
    "volumes": (3, 4, 3, 2, 3),
    "one value a channel": (1, 1, 1, 3),
}


def normalization(shape, **options):
    """A layer with weights that are not those that it begins with."""
    layer = layers.BatchNormalization(**options)
    layer.build(shape)
    rng = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return layer


def train(layer, x, wanted):
    """Outputs, gradients and statistics of a step, and its operations."""
    x = tf.constant(x)
    weight = tf.random.stateless_normal(x.shape, (0, 1), dtype=x.dtype)

    @tf.function
    def step():
        with tf.GradientTape() as tape, fused(layer, wanted):
            tape.watch(x)
            y = layer(x, training=True)
            goal = tf.reduce_sum(
                tf.cast(y, tf.float32) * tf.cast(weight, "float32")
            )
        return y, tape.gradient(goal, [x, *layer.trainable_variables])

    names = {
        op.type for op in step.get_concrete_function().graph.get_operations()
    }
    y, grads = step()
    return [y, *grads, *layer.non_trainable_variables], names


def assert_close(actual, expected, tolerance=2e-5):
    for a, e in zip(actual, expected, strict=True):
        a, e = np.array(a, np.float32), np.array(e, np.float32)
        assert np.abs(a - e).max() <= tolerance * max(1, np.abs(e).max())


@pytest.mark.parametrize(
    "options", [{"epsilon": 0.5}, {"scale": False}, {"center": False}]
)
@pytest.mark.parametrize("kind", SHAPES)
def test_outputs_gradients_and_statistics_are_those_of_keras(kind, options):
    x = np.random.default_rng(0).normal(3, 2, SHAPES[kind]).astype("float32")

    expected, plain = train(normalization(x.shape, **options), x, False)
    actual, names = train(normalization(x.shape, **options), x, True)

    assert OPERATION in names
    assert OPERATION not in plain
    assert_close(actual, expected)


def test_it_is_as_near_the_truth_as_keras():
    x = np.random.default_rng(0).normal(50, 1, (8, 9, 9, 4))
    truth, _ = train(normalization(x.shape, dtype="float64"), x, True)
    x = x.astype("float32")

    errors = []
    for wanted in (False, True):
        found, _ = train(normalization(x.shape), x, wanted)
        errors.append(
            max(
                np.abs(np.array(f) - t).max()
                for f, t in zip(found, truth, strict=True)
            )
        )

    assert errors[1] <= 2 * errors[0]


def test_half_precision_computes_in_float32():
    x = np.random.default_rng(0).normal(0, 1, (4, 6, 6, 3)).astype("float16")
    expected, _ = train(normalization(x.shape, dtype="mixed_float16"), x, False)

    actual, names = train(
        normalization(x.shape, dtype="mixed_float16"), x, True
    )

    assert OPERATION in names
    assert actual[0].dtype == tf.float16
    assert_close(actual, expected, 2e-3)


class Own(layers.BatchNormalization):
    """Somebody else's, with a `call` of its own."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization(axis=1),
        layers.BatchNormalization(trainable=False),
        layers.BatchNormalization(renorm=True),
        layers.BatchNormalization(dtype="float64"),
        Own(),
    ],
    ids=["axis", "frozen", "renorm", "float64", "own call"],
)
def test_others_do_what_they_always_do(layer):
    x = np.random.default_rng(0).normal(0, 1, (4, 6, 6, 3))
    layer.build(x.shape)

    _, names = train(layer, x.astype(layer.compute_dtype), True)

    assert OPERATION not in names


def test_a_mask_is_heeded():
    values = keras.Input((5, 3))
    normalized = layers.BatchNormalization()(layers.Masking()(values))
    model = keras.Model(values, normalized)
    x = np.random.default_rng(0).normal(0, 1, (4, 5, 3)).astype("float32")
    x[:, 3:] = 0

    with fused(model):
        y = np.array(model(x, training=True))

    assert y[:, :3].mean() == pytest.approx(0, abs=1e-6)


def test_layers_are_left_as_they_were():
    model = nets.built(nets.transfer)
    normalizations = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]
    assert normalizations
    config = model.get_config()

    with pytest.raises(ZeroDivisionError), fused(model):
        assert all("call" in vars(layer) for layer in normalizations)
        raise ZeroDivisionError

    assert not any("call" in vars(layer) for layer in normalizations)
    assert model.get_config() == config


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"quantization": "int4"}, True),
        ({"quantization": "float32"}, False),
        ({"quantization": "float32", "fused_batchnorm": True}, True),
        ({"fused_batchnorm": False}, False),
    ],
)
def test_where_numbers_are_to_be_those_of_keras_it_is_left_out(
    options, expected, tmp_path
):
    model = nets.built(nets.plain)

    halves = keras_split.compile(model, ["a_relu", "b_drop"], **options)

    for half in halves:
        path = tmp_path / f"{half.name}.keras"
        half.save(path)
        loaded = keras_split.load_model(path)
        assert half.contract.fused_batchnorm is expected
        assert loaded.contract.fused_batchnorm is expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "microbatches"),
    [(["a_relu", "b_drop"], 1), (["a_relu", "b_drop"], 2), (["a_relu"], 1)],
)
def test_both_halves_of_a_client_have_it(cut, microbatches, monkeypatch):
    made = []
    original = tf.raw_ops.FusedBatchNormV3

    def counted(**inputs):
        made.append(inputs["x"].shape[-1])
        return original(**inputs)

    monkeypatch.setattr(tf.raw_ops, "FusedBatchNormV3", counted)
    client, _ = keras_split.compile(nets.built(nets.plain), cut)
    strategy = keras_split.SplitStrategy(microbatches=microbatches)
    loss = "sparse_categorical_crossentropy"
    client.compile(keras.optimizers.SGD(0.1), loss, strategy=strategy)

    client.fit(*nets.images(), batch_size=13, epochs=1, verbose=0)

    assert set(made) == {4, 6, 8}  # of head, body and tail


def test_presets_have_it_with_every_quantization():
    small = {"input_shape": (32, 32, 3), "quantization": "float32"}

    client, server = zoo.load("mobilenet_v2", **small)

    assert client.contract.fused_batchnorm
    assert server.contract.fused_batchnorm
    exact, _ = zoo.load("mobilenet_v2", fused_batchnorm=False, **small)
    assert not exact.contract.fused_batchnorm
