"""What a phone's file has no place for is refused by name."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_split
from keras_split.errors import ExportError
from keras_split.litert import silent


class Center(layers.Layer):
    """Moves a weight when it is called: in training, or always."""

    def __init__(self, trainable=False, always=False):
        super().__init__(name="center")
        self._kind, self._always = trainable, always

    def build(self, shape):
        self.mean = self.add_weight(
            shape=(shape[-1],), trainable=self._kind, name="mean"
        )

    def call(self, x, training=False):
        if training or self._always:
            self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(x, 0))
        return x - self.mean


class Normalization(layers.BatchNormalization):
    def call(self, x, training=None, mask=None):
        return super().call(2.0 * x, training, mask)


def exported(x, y, path, mode="train", a="a", b="b"):
    client, _ = keras_split.compile(
        keras.Model(x, y), [a, b], quantization="float32"
    )
    client.compile("sgd", "mse")
    client.export(path / "client.tflite", batch_size=2, mode=mode)


def refused(x, y, path, *words, **options):
    with pytest.raises(ExportError) as caught:
        exported(x, y, path, **options)

    assert all(word in str(caught.value) for word in words), caught.value
    assert not list(path.iterdir())


def between(before, after=lambda x: x):
    """A model of three layers with others in its head and tail."""
    x = keras.Input((3,))
    y = layers.Dense(3, name="a")(before(x))
    y = layers.Dense(3, name="b")(y)
    return x, layers.Dense(1)(after(y))


@pytest.mark.parametrize(
    "make",
    [
        Center,
        lambda: Center(trainable=True),
        lambda: Normalization(name="center"),
    ],
)
def test_state_that_layers_move_in_training(make, tmp_path):
    refused(*between(make()), tmp_path, "moves 'center/m")


def test_state_that_the_tail_moves(tmp_path):
    model = between(lambda x: x, Center())

    refused(*model, tmp_path, "moves 'center/mean'")


def test_state_that_layers_move_in_inference(tmp_path):
    layer = Center(always=True)

    refused(*between(layer), tmp_path, "'center/mean'", mode="infer")


def test_state_that_stands_still_in_inference_is_kept(tmp_path):
    exported(*between(Center()), tmp_path, mode="infer")

    assert (tmp_path / "client.tflite").exists()


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_recurrent_state(mode, tmp_path):
    x = keras.Input(batch_shape=(2, 3, 2))
    y = layers.LSTM(2, stateful=True, unroll=True, name="memory")(x)
    y = layers.Dense(3, name="b")(layers.Dense(3, name="a")(y))

    refused(x, layers.Dense(1)(y), tmp_path, "'memory'", mode=mode)


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_masks_that_go_from_head_to_tail(mode, tmp_path):
    x = keras.Input((5, 3))
    masked = layers.Masking(name="mask")(x)
    y = layers.Dense(3, name="a")(layers.GlobalAveragePooling1D()(masked))
    y = layers.RepeatVector(5)(layers.Dense(3, name="b")(y))
    y = layers.Dense(1)(layers.Add()([masked, y]))

    refused(x, y, tmp_path, "'mask'", "tail would heed", mode=mode)


def test_masks_of_outputs(tmp_path):
    x = keras.Input((5, 3))
    y = layers.Dense(3, name="b")(layers.Dense(3, name="a")(x))
    y = layers.Dense(1, name="out")(layers.Masking()(y))

    refused(x, y, tmp_path, "'out'", "loss would heed")


def test_normalization_of_frames_that_are_rows(tmp_path):
    x = keras.Input((4, 3))
    y = layers.BatchNormalization(name="norm")(ops.reshape(x, (-1, 3)))
    y = layers.Dense(3, name="a")(ops.reshape(y, (-1, 12)))
    y = layers.Dense(3, name="b")(y)

    refused(x, layers.Dense(1)(y), tmp_path, "'norm', which gets 8")


def test_outputs_of_other_rows():
    x = keras.Input((3, 4))
    model = keras.Model(x, ops.reshape(x, (-1, 4)))

    with pytest.raises(ExportError, match="Received: 6 rows"):
        silent.check_rows(model, [model(np.zeros((2, 3, 4)))], 2)
