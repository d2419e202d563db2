import keras
import numpy as np
import pytest
from keras import layers

from keras_split.errors import CutError
from keras_split.partition.graph import Graph
from keras_split.partition.pairing import in_order
from keras_split.partition.partition import Partition
from tests import nets

# Keras says so, and then does as the tests have it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of `inputs`"),
    pytest.mark.filterwarnings("ignore:Layer 'inner'"),
]


def inner(structure):
    """A model inside of `z - a`, made of its two inputs in some structure."""
    z, a = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    x = layers.Dense(5, name="n1")(layers.Subtract(name="minus")([z, a]))
    return keras.Model(
        structure(z, a), layers.Dense(5, name="n2")(x), name="inner"
    )


LIST = inner(lambda z, a: [z, a])
TUPLE = inner(lambda z, a: (z, a))
DICT = inner(lambda z, a: {"z": z, "a": a})
NESTED = inner(lambda z, a: [{"one": z}, [a]])

CALLS = {
    "a list": lambda z, a: LIST([z, a]),
    "a tuple": lambda z, a: LIST((z, a)),
    "a dict for a list": lambda z, a: LIST({"z": z, "a": a}),
    "a dict in another order": lambda z, a: LIST({"a": a, "z": z}),
    "a dict with more": lambda z, a: LIST({"a": a, "more": a, "z": z}),
    "the same twice": lambda z, a: LIST([a, a]),
    "by keyword": lambda z, a: LIST(inputs={"z": z, "a": a}, training=True),
    "no mask": lambda z, a: LIST([z, a], mask=None),
    "a dict for a tuple": lambda z, a: TUPLE({"z": z, "a": a}),
    "a list for a tuple": lambda z, a: TUPLE([z, a]),
    "a dict for a dict": lambda z, a: DICT({"a": a, "z": z}),
    "nested": lambda z, a: NESTED([{"one": z}, [a]]),
    "of another dtype": lambda z, a: LIST({"z": z, "a": a > 0.0}),
}


def calling(call):
    i, j = keras.Input((4,), name="i"), keras.Input((4,), name="j")
    x = call(i, layers.Rescaling(3.0, name="three")(j))
    x = layers.Dense(1, name="out")(layers.Dense(4, name="top")(x))
    return keras.Model([i, j], x)


def assert_equals_whole(model, cut):
    inputs = nets.random_inputs(model)

    (made,) = nets.run(Partition(model, cut), inputs)

    wanted = np.array(model(inputs if inputs[1:] else inputs[0]))
    np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("way", CALLS)
def test_a_cut_inside_finds_what_keras_gives_the_inner_model(way):
    assert_equals_whole(calling(CALLS[way]), ["inner/n1", "top"])


def test_a_list_of_one_is_called_with_its_tensor():
    x = keras.Input((4,), name="x")
    one = keras.Model([x], layers.Dense(3, name="n1")(x), name="inner")
    i = keras.Input((4,))
    x = layers.Dense(2, name="top")(one(i))

    assert_equals_whole(keras.Model(i, layers.Dense(1)(x)), ["inner/n1", "top"])


def test_models_nest_deeper_and_are_called_by_name():
    z, a = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    outer = keras.Model([a, z], LIST({"a": a, "z": z}), name="outer")

    model = calling(lambda z, a: outer({"z": z, "a": a}))

    assert_equals_whole(model, ["outer/inner/n1", "top"])


def test_a_sequential_model_is_called_by_the_name_of_its_input():
    stack = keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(3, name="n1")], name="inner"
    )
    i = keras.Input((4,))
    x = layers.Dense(2, name="top")(stack({"x": i}))

    assert_equals_whole(keras.Model(i, layers.Dense(1)(x)), ["inner/n1", "top"])


def test_a_conversion_is_told_apart_from_others():
    model = calling(lambda z, a: LIST([z > 0.0, a > 0.0]))

    labels = [call.label for call in Graph(model).calls]

    assert len(set(labels)) == len(labels)


def masked():
    """A model inside that reads a mask."""
    x = keras.Input((3, 4))
    inside = keras.Model(x, layers.LSTM(4, name="n1")(x), name="inner")
    i = keras.Input((3, 4))
    x = inside(layers.Masking(name="masking")(i))
    return keras.Model(i, layers.Dense(1)(layers.Dense(4, name="top")(x)))


def regularized():
    """A model inside that adds a loss of its own."""
    inside = inner(lambda z, a: [z, a])
    inside.activity_regularizer = keras.regularizers.L2(1.0)
    return calling(lambda z, a: inside([z, a]))


def of_another_rank():
    """Keras squeezes the last axis, when the model runs."""
    reshape = layers.Reshape((4, 1))
    return calling(lambda z, a: LIST([reshape(z), reshape(a)]))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (of_another_rank, "is called with a tensor of another rank"),
        (masked, "is called with a mask"),
        (regularized, "has an activity regularizer"),
    ],
)
def test_what_its_layers_alone_would_not_do_keeps_a_model_closed(build, reason):
    with pytest.raises(CutError, match=f"'inner/n1'; 'inner' .*{reason}"):
        Partition(build(), ["inner/n1", "top"])


@pytest.mark.parametrize(
    ("names", "given", "wanted"),
    [
        ("x", 1, [1]),
        ("x", {"x": 1}, [1]),
        (["x"], 1, [1]),
        (["x", "y"], {"y": 2, "x": 1, "z": 3}, [1, 2]),
        ({"k": "x", "j": "y"}, {"k": 1, "j": 2, "i": 3}, [2, 1]),
        ({"j": "x", "k": "y"}, [1, 2], [1, 2]),
        ({"k": "x", "j": "y"}, [1, 2], None),
        ({"k": "x"}, {"x": 1}, None),
        (["x", "y"], {"x": 1}, None),
        (["x", "y"], [1], None),
        ([["x"], "y"], {"x": 1, "y": 2}, None),
    ],
)
def test_inputs_are_found_by_key_by_name_and_by_place(names, given, wanted):
    assert in_order(names, given) == wanted
