"""Several inputs and outputs find their losses, weights and metrics."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from tests import nets
from tests.pair import LOSS
from tests.pair import Pair
from tests.pair import assert_fits_alike


def two_by_two_data():
    rng = np.random.default_rng(0)
    x = {
        "image": rng.normal(size=(20, 8, 8, 1)).astype("float32"),
        "extra": rng.normal(size=(20, 3)).astype("float32"),
    }
    y = {
        "kind": rng.integers(0, 3, 20),
        "size": rng.normal(size=(20, 1)).astype("float32"),
    }
    return x, y


def two_by_two_pair(build=nets.two_by_two, cut=("a", "b")):
    return Pair(build, list(cut)).compile(
        loss={"kind": LOSS, "size": "mse"},
        loss_weights={"kind": 1.0, "size": 0.25},
        metrics={"kind": "accuracy", "size": ["mae"]},
    )


@pytest.mark.slow
def test_several_inputs_outputs_and_losses_by_name():
    assert_fits_alike(two_by_two_pair(), two_by_two_data, batch_size=8)


@pytest.mark.slow
def test_several_inputs_as_a_list():
    x, y = two_by_two_data()

    assert_fits_alike(
        two_by_two_pair(), lambda: ([x["image"], x["extra"]], y), batch_size=8
    )


@pytest.mark.slow
def test_several_outputs_with_sample_weights_of_their_own():
    weights = {"kind": np.linspace(0, 1, 20), "size": np.linspace(2, 0, 20)}

    assert_fits_alike(
        two_by_two_pair(), two_by_two_data, sample_weight=weights, batch_size=8
    )


def two_lists():
    """Outputs as a list, behind one input."""
    x = values = keras.Input((4,), name="values")
    x = layers.Dense(5, activation="tanh", name="a")(x)
    x = layers.Dense(5, activation="tanh", name="b")(x)
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    size = layers.Dense(1, name="size")(x)
    return keras.Model(values, [kind, size])


def two_lists_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4)).astype("float32")
    return x, [rng.integers(0, 3, 20), rng.normal(size=(20, 1))]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [("a", "b"), ("a",)], ids=["two", "one"])
def test_several_outputs_and_losses_as_lists(cut):
    pair = Pair(two_lists, list(cut)).compile(
        loss=[LOSS, "mse"],
        loss_weights=[1.0, 0.25],
        metrics=[["accuracy"], ["mae"]],
    )

    assert_fits_alike(pair, two_lists_data, batch_size=8)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [("a", "b"), ("a",)], ids=["two", "one"])
def test_several_outputs_of_a_list_are_known_by_name(cut):
    x, (kind, size) = two_lists_data()

    assert_fits_alike(
        two_by_two_pair(two_lists, cut),
        lambda: (x, {"kind": kind, "size": size}),
        batch_size=8,
    )


def two_named():
    """Outputs as a dict, behind one input."""
    model = two_lists()
    kind, size = model.outputs
    return keras.Model(model.inputs[0], {"size": size, "kind": kind})


@pytest.mark.slow
def test_one_cut_with_several_outputs_by_name():
    x, (kind, size) = two_lists_data()

    assert_fits_alike(
        two_by_two_pair(two_named, ["a"]),
        lambda: (x, {"kind": kind, "size": size}),
        batch_size=8,
    )


def test_inputs_that_are_missing_are_named():
    pair = two_by_two_pair()
    x, y = two_by_two_data()

    with pytest.raises(ValueError, match=r"\['extra'\] are missing"):
        pair.client.fit({"image": x["image"]}, y, verbose=0)
    with pytest.raises(ValueError, match="Expected 2 inputs.*Received: 1"):
        pair.client.predict(x["image"], verbose=0)


def test_outputs_in_dicts_of_dicts_have_losses_by_their_keys():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="a")(inputs)
    one, two = (keras.layers.Dense(1, name=name)(x) for name in ("x", "y"))
    model = keras.Model(inputs, {"n": {"one": one}, "b": [two]})

    client, _ = keras_split.compile(model, "a")

    assert client.wiring.by_output({"n": {"one": "mae"}}, "none") == [
        *("none", "mae")
    ]
    assert client.wiring.names == ["b/0", "n/one"]
