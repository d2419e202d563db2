"""Head, body and tail compute what the whole model computes, and so do their
gradients: on the shapes of graph that are hard to cut, and on the zoo.
"""

import importlib
import pkgutil

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
import keras_split_zoo
from keras_split import zoo
from keras_split.partition.partition import Partition
from tests import nets


def shared_ends():
    """One layer in head and tail, called twice in each."""
    x = values = keras.Input((4,), name="values")
    shared = layers.Dense(4, activation="tanh", name="shared")
    x = shared(shared(x))
    x = layers.Dense(4, activation="tanh", name="b")(x)
    x = layers.Dense(4, name="c")(shared(shared(x)))
    return keras.Model(values, x)


def shared_body():
    """One layer called twice in the body."""
    x = values = keras.Input((4,), name="values")
    shared = layers.Dense(4, activation="tanh", name="shared")
    x = layers.Dense(4, activation="tanh", name="a")(x)
    x = shared(layers.ReLU(name="between")(shared(x)))
    return keras.Model(values, layers.Dense(3, name="c")(x))


def branches():
    """Two branches that are cut at once, and a third that is not."""
    image = keras.Input((8, 8, 1), name="image")
    ends = []
    for side in ("left", "right", "phone"):
        x = layers.Conv2D(2, 3, activation="tanh", name=f"{side}1")(image)
        x = layers.Conv2D(3, 3, activation="tanh", name=f"{side}2")(x)
        ends.append(layers.Conv2D(2, 3, name=f"{side}3")(x))
    x = layers.Concatenate(name="join")(ends)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(2, name="out")(x))


def operations():
    """Operations of keras.ops in every segment."""
    x = image = keras.Input((8, 8, 2), name="image")
    x = keras.ops.tanh(2.0 * layers.Conv2D(4, 3, name="a")(x))
    x = keras.ops.concatenate([x[:, :3], x[:, 2:]], axis=1)
    x = layers.Conv2D(4, 3, name="b")(x) - 0.5
    x = keras.ops.mean(keras.ops.sin(x), axis=(1, 2))
    return keras.Model(image, layers.Dense(2, name="c")(x))


HARD = {
    "unet": (nets.unet, ["pool1", "mix2"]),
    "unet, two tensors back": (nets.unet, ["pool1", "deep"]),
    "unet, cut once": (nets.unet, ["down1"]),
    "residual": (nets.residual, ["inner_relu", "sum"]),
    "residual, skip round the server": (nets.residual, ["stem", "outer"]),
    "transfer": (nets.transfer, ["base/relu1", "hidden"]),
    "transfer, nested model whole": (nets.transfer, ["scale", "pool"]),
    "two by two": (nets.two_by_two, ["a", "b"]),
    "shared ends": (shared_ends, ["shared#2", "b"]),
    "shared body": (shared_body, ["a", "shared#2"]),
    "branches": (branches, [["left1", "right2"], ["left3", "right3"]]),
    "operations": (operations, ["Tanh#1", "Sin#1"]),
    "empty tail": (nets.dense, ["a", "c"]),
}


# Plain SGD with a rate so large that the old weights hide in the rounding of
# their change: it is the gradient.
RATE = 1000.0


def gradients_of(model, fitted, x, y, loss):
    """The gradient of each trainable variable of `model`, from one step.

    Args:
        model: Owns the weights.
        fitted: The model, or the client that was made of it.
        x: As for `fit`.
        y: As for `fit`.
        loss: As for `compile`.
    """
    fitted.compile(keras.optimizers.SGD(RATE), loss)
    before = [np.array(v.numpy()) for v in model.trainable_variables]
    fitted.train_on_batch(x, y)
    after = [np.array(v.numpy()) for v in model.trainable_variables]
    return [(b - a) / RATE for b, a in zip(before, after, strict=True)]


def assert_same_gradients(actual, expected, variables):
    """Each tensor is equal to 1e-4 of its largest value.

    The true gradient of a bias in front of a BatchNormalization is zero, and
    what comes out is rounding: a millionth of the other gradients. Such a
    tensor is compared with the largest gradient of the model instead.
    """
    overall = max(np.abs(e).max() for e in expected)
    assert overall > 0
    for a, e, variable in zip(actual, expected, variables, strict=True):
        largest = np.abs(e).max()
        if largest < 1e-6 * overall:
            largest = overall
        error = np.abs(a - e).max()
        assert error <= 1e-4 * largest, variable.path


@pytest.mark.parametrize("name", HARD)
def test_a_graph_that_is_hard_to_cut_computes_the_same(name):
    build, cut = HARD[name]
    whole, model = nets.built(build), nets.built(build)
    inputs = nets.random_inputs(whole)
    x = [np.array(t) for t in inputs] if inputs[1:] else np.array(inputs[0])
    expected = whole(inputs if inputs[1:] else inputs[0])
    y = keras.tree.map_structure(
        lambda t: np.random.default_rng(1).uniform(size=t.shape), expected
    )

    outputs = nets.run(Partition(model, cut), inputs)
    client, _ = keras_split.compile(model, cut, quantization="float32")
    gradients = gradients_of(model, client, x, y, "mse")

    for one, two in zip(outputs, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert_same_gradients(
        gradients,
        gradients_of(whole, whole, x, y, "mse"),
        whole.trainable_variables,
    )


MODULES = {
    module.name: importlib.import_module(f"keras_split_zoo.{module.name}")
    for module in pkgutil.iter_modules(keras_split_zoo.__path__)
}
PRESETS = {n: m for n, m in MODULES.items() if m.PRESET.KIND == "images"}


def build_preset(name):
    preset = PRESETS[name].PRESET
    shape = (preset.min_size, preset.min_size, 3)
    return preset.build(input_shape=shape, seed=0)


def preset_data(name):
    size = PRESETS[name].PRESET.min_size
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(4, size, size, 3)).astype("float32")
    return x, rng.integers(0, 10, size=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_computes_the_same_wherever_it_is_cut(name):
    model = build_preset(name)
    x = keras.ops.convert_to_tensor(preset_data(name)[0])
    expected = model(x)

    for cut in zoo.CUT_NAMES:
        partition = Partition(model, list(PRESETS[name].PRESET.cut(cut).layers))
        (outputs,) = nets.run(partition, [x])

        np.testing.assert_allclose(
            outputs, expected, rtol=1e-5, atol=1e-6, err_msg=cut
        )


# Where a network is cut changes no gradient if it changes no output, as the
# graphs above show with both; and a network of 400 or 800 layers is traced for
# a minute or two. Those left have every kind of block that these have.
TRACED_FOR_LONG = {"densenet121", "inception_resnet_v2"}
IN_CI = ("mobilenet_v2", "vgg19")  # with BatchNormalization, and without


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name not in IN_CI))
        for name in sorted({*PRESETS} - TRACED_FOR_LONG)
    ],
)
def test_a_preset_has_the_same_gradients(name):
    whole, model = build_preset(name), build_preset(name)
    x, y = preset_data(name)
    loss = "sparse_categorical_crossentropy"

    expected = gradients_of(whole, whole, x, y, loss)
    client, _ = keras_split.compile(
        model, list(PRESETS[name].PRESET.cut().layers), quantization="float32"
    )
    gradients = gradients_of(model, client, x, y, loss)

    assert_same_gradients(gradients, expected, whole.trainable_variables)
