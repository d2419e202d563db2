"""Layers as the phone computes them, against the layers of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert import lowering
from keras_split.litert.layer_overrides import Batch
from keras_split.litert.layer_overrides import layer_overrides

COUNT, SIZE = 3, 5


def one_layer(layer, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def both(model, x, dy):
    """Outputs, gradients and statistics: of Keras for the real examples, and
    of the stand-ins for the whole batch."""

    def run(x, dy, context):
        values = [tf.convert_to_tensor(v) for v in model.trainable_variables]
        moving = model.non_trainable_variables
        scope = keras.StatelessScope(
            list(zip(model.trainable_variables, values, strict=True))
        )
        with scope, context:
            y = model(x, training=True)
        grads = tf.gradients(y, [x, *values], dy)
        return y, grads, [scope.get_current_value(v) for v in moving]

    @tf.function
    def expected(x, dy):
        return run(x, dy, tf.name_scope("keras"))

    @tf.function
    def found(x, dy):
        batch = Batch(SIZE, tf.constant(COUNT), tf.constant(0))
        with lowering.builtin_gradients():
            return run(x, dy, layer_overrides(model, batch))

    real = np.arange(SIZE) < COUNT
    masked = dy * real.reshape((-1,) + (1,) * (dy.ndim - 1))
    return (
        expected(tf.constant(x[:COUNT]), tf.constant(dy[:COUNT])),
        found(tf.constant(x), tf.constant(masked.astype("float32"))),
    )


@pytest.mark.parametrize("options", [{}, {"center": False, "scale": False}])
@pytest.mark.parametrize(
    "shape, axis", [((4,), -1), ((6, 7, 3), -1), ((6, 7, 3), 1), ((5, 2), -1)]
)
def test_normalization_takes_the_real_examples_alone(shape, axis, options):
    rng = np.random.default_rng(0)
    layer = keras.layers.BatchNormalization(axis, momentum=0.7, **options)
    model = one_layer(layer, shape)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    x = rng.normal(1, 2, (SIZE, *shape)).astype("float32")
    dy = rng.normal(size=x.shape).astype("float32")

    expected, found = both(model, x, dy)

    np.testing.assert_allclose(found[0][:COUNT], expected[0], atol=2e-5)
    for ours, theirs in zip(found[1][1:], expected[1][1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1][0][:COUNT], expected[1][0], atol=2e-5)
    assert not found[1][0][COUNT:].numpy().any()
    for ours, theirs in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_frozen_normalization_stays_in_inference_mode():
    layer = keras.layers.BatchNormalization()
    model = one_layer(layer, (4,))
    layer.trainable = False
    layer.moving_mean.assign([1.0, 2, 3, 4])
    x = np.ones((SIZE, 4), "float32")

    expected, found = both(model, x, x)

    np.testing.assert_array_equal(found[0][:COUNT], expected[0])
    assert found[2] == [None] * 4 or all(v is None for v in found[2])


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("channels", [3, 16])
def test_convolutions_keep_their_numbers(channels, strides):
    rng = np.random.default_rng(0)
    layer = keras.layers.Conv2D(4, 3, strides, padding="same")
    model = one_layer(layer, (8, 8, channels))
    x = rng.normal(size=(SIZE, 8, 8, channels)).astype("float32")
    dy = rng.normal(size=(SIZE, *model.output_shape[1:])).astype("float32")

    expected, found = both(model, x, dy)

    np.testing.assert_allclose(found[0][:COUNT], expected[0], atol=1e-5)
    for ours, theirs in zip(found[1][1:], expected[1][1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (keras.layers.Dropout(0.4), (300,)),
        (keras.layers.Dropout(0.4, noise_shape=(None, 1, 50)), (6, 50)),
        (keras.layers.SpatialDropout2D(0.4), (3, 3, 40)),
    ],
)
def test_dropout_drops_and_scales(layer, shape):
    model = one_layer(layer, shape)
    x = np.ones((40, *shape), "float32")

    def drop(step):
        batch = Batch(40, tf.constant(40), tf.constant(step))
        with layer_overrides(model, batch):
            return model(x, training=True).numpy()

    one, again, other = drop(1), drop(1), drop(2)

    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert set(np.unique(one)) == {np.float32(0), np.float32(1 / 0.6)}
    assert one.mean() == pytest.approx(1, abs=0.08)
    if len(shape) > 1:  # whole channels, or the same for all steps
        assert not np.ptp(one, axis=tuple(range(1, len(shape)))).any()


def test_a_layer_called_twice_draws_two_masks():
    inputs = keras.Input((200,))
    layer = keras.layers.Dropout(0.5)
    model = keras.Model(inputs, [layer(inputs), layer(inputs)])
    batch = Batch(2, tf.constant(2), tf.constant(0))

    with layer_overrides(model, batch):
        one, other = model(np.ones((2, 200), "float32"), training=True)

    assert (one.numpy() != other.numpy()).any()


def test_layers_are_themselves_again_afterwards():
    layer = keras.layers.Dropout(0.5)
    model = one_layer(layer, (4,))

    with pytest.raises(RuntimeError, match="in between"):
        with layer_overrides(model, Batch(1, tf.constant(1), tf.constant(0))):
            assert "call" in vars(layer)
            raise RuntimeError("in between")

    assert "call" not in vars(layer)


def test_renorm_is_refused():
    layer = keras.layers.BatchNormalization(renorm=True)
    model = one_layer(layer, (4,))

    with pytest.raises(ExportError, match="renorm"):
        with layer_overrides(model, Batch(2, tf.constant(2), tf.constant(0))):
            model(np.ones((2, 4), "float32"), training=True)
