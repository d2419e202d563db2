import keras
import pytest
from keras import layers

from keras_split.partition import costs
from tests import nets


def of_layer(layer, shape):
    x = keras.Input(shape)
    return costs.multiply_adds(keras.Model(x, layer(x)))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Dense(3), (4,), 4 * 3),
        (layers.Dense(3), (5, 4), 5 * 4 * 3),
        (layers.Conv2D(6, 3), (8, 8, 2), 6 * 6 * 3 * 3 * 2 * 6),
        (
            layers.Conv2D(6, 3, strides=2, padding="same"),
            (8, 8, 2),
            4 * 4 * 3 * 3 * 2 * 6,
        ),
        (layers.Conv2D(6, 3, groups=2), (8, 8, 4), 6 * 6 * 3 * 3 * 2 * 6),
        (layers.Conv1D(6, 3), (8, 2), 6 * 3 * 2 * 6),
        (layers.DepthwiseConv2D(3), (8, 8, 2), 6 * 6 * 3 * 3 * 2),
        (
            layers.SeparableConv2D(6, 3),
            (8, 8, 2),
            6 * 6 * (3 * 3 * 2 + 2 * 6),
        ),
        (
            layers.Conv2DTranspose(6, 3, strides=2),
            (8, 8, 2),
            8 * 8 * 3 * 3 * 2 * 6,
        ),
        (layers.BatchNormalization(), (8, 8, 2), 0),
        (layers.ReLU(), (8, 8, 2), 0),
        (layers.LSTM(3), (8, 2), 0),
        (layers.Embedding(5, 3), (8,), 0),
        (
            layers.EinsumDense("abc,cde->abde", (None, 2, 3)),
            (8, 4),
            8 * 4 * 2 * 3,
        ),
        (layers.EinsumDense("...b,bc->...c", 3), (8, 4), 8 * 4 * 3),
    ],
)
def test_multiply_adds_are_kernel_elements_times_positions(
    layer, shape, expected
):
    assert of_layer(layer, shape) == expected


class Block(layers.Layer):
    """Made of others, and multiplies what they make."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)
        self.attention = layers.MultiHeadAttention(2, 3)
        self.conv = layers.Conv1D(5, 3, padding="same")

    def call(self, x):
        x = self.dense(x)
        return self.conv(self.attention(x, x))


def test_a_layer_that_is_made_of_others_is_looked_into():
    dense = 8 * 4 * 4
    # Queries, keys, values and the way out; then queries by keys, and values.
    attention = 4 * 8 * 4 * 2 * 3 + 2 * 2 * 8 * 8 * 3
    conv = 8 * 3 * 4 * 5

    assert of_layer(Block(), (8, 4)) == dense + attention + conv


class Stubborn(layers.Layer):
    """Cannot be called with one example."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        if x.shape[0] == 1:
            raise ValueError("too few")
        self.add_loss(keras.ops.sum(self.matrix))
        return x @ self.matrix


def test_a_layer_that_cannot_be_looked_into_counts_nothing():
    assert of_layer(Stubborn(), (8, 4)) == 0


def test_weights_of_a_layer_that_two_models_call_are_counted_once():
    shared = layers.Dense(3)
    x, y = keras.Input((4,)), keras.Input((4,))
    one = keras.Model(x, shared(x))
    other = keras.Model(y, layers.Dense(2)(shared(y)))

    assert costs.parameters([one, other]) == (4 * 3 + 3) + (3 * 2 + 2)


def test_channels_may_come_first():
    conv = layers.Conv2D(6, 3, data_format="channels_first")

    assert of_layer(conv, (2, 8, 8)) == 6 * 6 * 3 * 3 * 2 * 6


def test_each_call_of_a_shared_layer_counts():
    x = values = keras.Input((4,))
    shared = layers.Dense(4)
    model = keras.Model(values, shared(shared(x)))

    assert costs.multiply_adds(model) == 2 * 4 * 4


def test_layers_of_nested_models_count():
    model = nets.transfer()
    base = model.get_layer("base")

    rest = 4 * 5 + 5 * 3
    assert costs.multiply_adds(model) == costs.multiply_adds(base) + rest


def test_operations_count_nothing():
    x = keras.Input((4,))

    assert costs.multiply_adds(keras.Model(x, keras.ops.exp(2 * x))) == 0


def test_an_unknown_axis_has_no_elements():
    assert costs.elements((3, 4)) == 12
    assert costs.elements((3, None)) == 0
    assert costs.elements(()) == 1
