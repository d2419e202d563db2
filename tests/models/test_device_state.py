"""What a device has learned, back in the client."""

import json

import keras
import numpy as np
import pytest

import keras_split
from keras_split.device.description import Description
from keras_split.device.state import State
from keras_split.errors import DataError
from keras_split.utils import npz
from tests import nets

CUT = ["a_bn", "b"]


def small():
    """Statistics in head and tail."""
    x = values = keras.Input((4,), name="values")
    for name in ("a", "b", "c"):
        x = keras.layers.Dense(3, name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.Model(values, x)


def a_client(optimizer=None, cut=CUT):
    model = nets.built(small)
    if optimizer is not None:
        model.compile(optimizer, "mse")
    return keras_split.compile(model, cut)[0]


def scheduled():
    return keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5)


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """A file that trains with Adam, and a state of it after 7 steps."""
    folder = tmp_path_factory.mktemp("phone")
    path = folder / "client.tflite"
    a_client(keras.optimizers.Adam(0.01)).export(path, batch_size=2)
    description = Description.read(path)
    rng = np.random.default_rng(0)
    arrays = {
        spec.name: rng.random(spec.shape).astype(spec.dtype)
        for spec in description.state
    }
    State(arrays, 7, "0123456789abcdef").write(
        folder / "state.npz", description
    )
    return folder


def entries(phone):
    rows = json.loads((phone / "client.json").read_text())["state"]
    arrays = npz.read(phone / "state.npz")
    return [(row, arrays[f"state.{row['name']}"]) for row in rows]


@pytest.mark.parametrize("rate", [0.01, scheduled], ids=["number", "schedule"])
def test_weights_statistics_slots_and_steps_come_back(phone, rate):
    rate = rate() if callable(rate) else rate
    client = a_client(keras.optimizers.Adam(rate))

    left = client.load_device_state(phone / "state.npz")

    assert left == []
    variables = {v.path: v for v in client.variables}
    slots = {id(v): [] for v in client.trainable_variables}
    for row, value in entries(phone):
        variable = variables[row["variable"]]
        if row["kind"] == "slot":
            slots[id(variable)].append(value)
        else:
            np.testing.assert_array_equal(variable.numpy(), value)
    expected = [s for v in client.trainable_variables for s in slots[id(v)]]
    actual = [v.numpy() for v in client.optimizer.variables[-len(expected) :]]
    assert nets.largest_difference(actual, expected) == 0
    assert int(client.optimizer.iterations) == 7
    assert client.snapshot_tag == "0123456789abcdef"


@pytest.mark.parametrize("optimizer", [None, "sgd", "rmsprop"])
def test_slots_without_a_place_are_named(phone, optimizer, caplog):
    client = a_client(optimizer)

    left = client.load_device_state(phone / "state.npz")

    slots = [row["name"] for row, _ in entries(phone) if row["kind"] == "slot"]
    assert left == slots
    assert ("has no place" in caplog.text) == (optimizer is not None)
    first, value = entries(phone)[0]
    np.testing.assert_array_equal(client.head.variables[0].numpy(), value)


def test_a_head_alone_takes_no_state_of_another_cut(phone):
    check_refused(a_client(cut=["a_bn", "b_bn"]), phone / "state.npz", "fing")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"state.head_000": np.zeros((2, 2), "float32")}, "head_000"),
        ({"state.head_999": np.zeros((2, 2), "float32")}, "head_999"),
        ({"state.tail_000": None}, "tail_000"),
        ({"frozen": np.array("0" * 64)}, "frozen weights"),
        ({"step": None}, "cannot be read"),
        ({"step": np.array(-1)}, "cannot be read"),
        ({"step": np.array(np.inf)}, "cannot be read"),
        ({"format": np.array(2)}, "newer keras_split"),
    ],
)
def test_what_does_not_fit_changes_nothing(phone, tmp_path, change, says):
    content = npz.read(phone / "state.npz") | change
    content = {k: v for k, v in content.items() if v is not None}
    npz.write(tmp_path / "state.npz", content)

    check_refused(a_client("adam"), tmp_path / "state.npz", says)


def test_a_state_that_is_none_is_refused(phone, tmp_path):
    client = a_client()
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 nothing")

    check_refused(client, tmp_path / "none.npz", "is no file")
    check_refused(client, tmp_path / "cut.npz", "cannot be read")


def check_refused(client, path, says):
    before = nets.values_of(client)

    with pytest.raises(DataError, match=f"(?s)Expected.*{says}.*"):
        client.load_device_state(path)

    assert nets.largest_difference(before, nets.values_of(client)) == 0


def test_steps_that_draw_the_noise_of_a_device_again_have_no_epsilon(phone):
    model = nets.built(small)
    model.compile("sgd", "mse")
    noise = keras_split.defenses.GaussianNoise(0.1)
    client, _ = keras_split.compile(model, CUT, defenses=[noise])
    client.load_device_state(phone / "state.npz")

    client.train_on_batch(np.zeros((2, 4)), np.zeros((2, 3)))

    assert "the noise of the first ones again" in client.uncounted["smashed"]
