import keras
import pytest
from keras import layers

from keras_split.errors import DataError
from keras_split.partition import costs
from keras_split.partition.graph import Graph
from keras_split.planner import Amount
from keras_split.planner import Work
from keras_split.planner import commit
from keras_split.planner import crossing
from keras_split.planner import work_of


def work_of_layers(shape, *stack):
    model = keras.Sequential([keras.Input(shape), *stack])
    return model, work_of(Graph(model).calls)


def test_a_convolution_is_a_product_for_each_tap():
    _, work = work_of_layers((8, 8, 16), layers.Conv2D(4, 3, padding="same"))

    # The image has 1024 elements, which is 2 to the 40 quarters.
    assert work.amounts == {
        ("conv", 40): Amount(
            calls=1,
            products=9,
            multiply_adds=64 * 9 * 16 * 4,
            elements=64 * 9 * (16 + 4),
            weights=9 * 16 * 4 + 4,
            kept=64 * 4,
        ),
        ("bias", 40): Amount(1, 1, elements=512, kept=256),
    }


def test_over_few_channels_a_convolution_is_one_product():
    _, work = work_of_layers((8, 8, 3), layers.Conv2D(4, 3, strides=2))

    amount = work.by_kind["conv_thin"]
    assert amount.products == 1
    assert amount.elements == 9 * (9 * 3 + 4)


@pytest.mark.parametrize(
    ("layer", "kinds"),
    [
        (layers.Conv2D(4, 1), ["conv_1x1", "bias"]),
        (layers.Conv2D(4, 1, strides=2, use_bias=False), ["conv_strided"]),
        (layers.Conv2D(4, (1, 7), use_bias=False), ["conv"]),
        (layers.Conv2DTranspose(16, 2, 2, use_bias=False), ["conv_strided"]),
        (layers.DepthwiseConv2D(3, use_bias=False), ["depthwise"]),
        (layers.DepthwiseConv2D(3, 2), ["depthwise_strided", "bias"]),
        (layers.BatchNormalization(), ["batchnorm"]),
        (layers.ReLU(), ["relu"]),
        (layers.Activation("relu6"), ["relu"]),
        (layers.Activation("swish"), ["activation"]),
        (layers.Activation("linear"), []),
        (layers.LeakyReLU(), ["activation"]),
        (layers.MaxPooling2D(), ["max_pool"]),
        (layers.AveragePooling2D(2), ["average_pool"]),
        (layers.GlobalAveragePooling2D(), ["pool_all"]),
        (layers.ZeroPadding2D(), ["pad"]),
        (layers.Rescaling(0.5), ["other"]),
        (layers.Dense(3, "softmax"), ["dense", "bias", "activation"]),
        (layers.Dropout(0.1), []),
    ],
)
def test_each_layer_has_its_kinds(layer, kinds):
    _, work = work_of_layers((8, 8, 16), layer)

    assert list(work.by_kind) == kinds


def test_an_activation_inside_a_layer_counts_as_one_beside_it():
    _, inside = work_of_layers(
        (8, 8, 3), layers.Conv2D(4, 3, activation="relu")
    )
    _, beside = work_of_layers((8, 8, 3), layers.Conv2D(4, 3), layers.ReLU())

    assert inside.by_kind == beside.by_kind


def test_a_separable_convolution_is_its_two_halves():
    _, one = work_of_layers((8, 8, 16), layers.SeparableConv2D(4, 3))
    _, two = work_of_layers(
        (8, 8, 16),
        layers.DepthwiseConv2D(3, use_bias=False),
        layers.Conv2D(4, 1),
    )

    assert one.by_kind == two.by_kind


def test_multiply_adds_and_weights_are_those_of_the_model():
    model, work = work_of_layers(
        (8, 8, 3),
        layers.Conv2D(16, 3, strides=2),
        layers.BatchNormalization(),
        layers.SeparableConv2D(8, 3),
        layers.Conv2DTranspose(4, 2, strides=2),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(5),
    )

    assert work.multiply_adds == costs.multiply_adds(model)
    assert work.weights == sum(
        keras.ops.size(v) for v in model.trainable_variables
    )


def test_layers_with_many_weights_are_heavy():
    _, work = work_of_layers((300,), layers.Dense(900), layers.Dense(9))

    amount = work.by_kind["dense"]
    assert amount.heavy_weights == 301 * 900
    assert amount.weights == 301 * 900 + 901 * 9


def test_frozen_layers_have_nothing_to_train():
    _, work = work_of_layers((8, 8, 3), layers.Conv2D(4, 3, trainable=False))

    assert work.weights == 0


def test_the_parts_of_a_graph_add_up_to_the_whole():
    model, work = work_of_layers(
        (8, 8, 3), layers.Conv2D(16, 3), layers.Conv2D(16, 3), layers.ReLU()
    )
    calls = Graph(model).calls

    assert work_of(calls[:1]) + work_of(calls[1:]) == work


def test_a_crossing_counts_what_is_quantized():
    work = crossing([(4, 4, 2), (3,)])

    assert work.by_kind == {"crossing": Amount(2, 2, elements=35, kept=35)}
    assert work.multiply_adds == 0


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {"dense": 1},
        {"dense": {"1": None}},
        {"dense": {"x": {}}},
        {"dense": {"257": {}}},
        {"nonsense": {"1": {}}},
        {"dense": {"1": {"calls": -1}}},
        {"dense": {"1": {"calls": True}}},
        {"dense": {"1": {"seconds": 1}}},
    ],
)
def test_what_is_no_work_is_refused(config):
    with pytest.raises(DataError, match="work_of"):
        Work.from_config(config)


def test_a_tail_is_committed_by_its_weights():
    _, work = work_of_layers((4,), layers.Dense(3), layers.Dense(2))

    assert commit(work).weights == work.weights == 4 * 3 + 3 + 3 * 2 + 2
    assert commit(work).multiply_adds == 0
