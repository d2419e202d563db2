from dataclasses import replace

import numpy as np
import pytest

from keras_split.device.batch import Batch
from keras_split.device.description import Description
from keras_split.device.description import Tensor
from keras_split.errors import DataError
from tests import links


@pytest.fixture
def description(files):
    """Images of 16x16x1, three classes, batches of 8."""
    return Description.read(files["float32"])


def several(description, loss="mean_squared_error", shape=(2,)):
    """Two inputs and two outputs."""
    output = description.outputs[0]
    label = Tensor("b", shape, "float32")
    return replace(
        description,
        inputs=(Tensor("p", (2,), "float32"), Tensor("q", (), "int32")),
        outputs=(
            replace(output, name="a"),
            replace(output, name="b", loss=loss, shape=shape, label=label),
        ),
    )


def test_what_is_missing_repeats_the_first_example(description):
    x, y = links.batch(5)

    batch = Batch.of(description, x, y)

    assert batch.count == 5
    assert batch.tensors["count"] == 5
    np.testing.assert_array_equal(batch.tensors["x_0"][:5], x)
    np.testing.assert_array_equal(batch.tensors["x_0"][5:], x[[0, 0, 0]])
    assert batch.tensors["y_0"].tolist() == [0, 1, 2, 0, 1, 0, 0, 0]
    assert batch.tensors["y_0"].dtype == np.int32
    assert batch.tensors["sample_weight_0"].tolist() == [1.0] * 8


def test_a_full_batch_is_not_copied(description):
    x, y = links.batch(8)

    assert Batch.of(description, x, y).tensors["x_0"] is x


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 2],
        np.array([0, 1, 2], "uint8"),
        np.array([[0], [1], [2]]),
        np.array([0.0, 1.0, 2.0]),
        {"last": [0, 1, 2]},
        [np.array([0, 1, 2])],
    ],
)
def test_labels_come_in_the_forms_that_keras_takes(description, y):
    batch = Batch.of(description, links.batch(3)[0], y)

    assert batch.tensors["y_0"][:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("y", "text"),
    [
        ([0, 1, 3], "labels from 0 to 2.*Received: 0 to 3"),
        ([0, 1, -1], "labels from 0 to 2"),
        ([0.5, 1, 2], "whole numbers"),
        ([0, 1], "shape"),
        (np.zeros((3, 2)), "shape"),
        (["a", "b", "c"], "Received: <U1"),
        ([[0], [1, 2], [3]], "as an array"),
        ({"other": [0, 1, 2]}, r"\['last'\] are missing"),
        (None, "Expected labels"),
        ([0, 1, float("nan")], "whole numbers"),
    ],
)
def test_labels_that_do_not_fit_are_named(description, y, text):
    with pytest.raises(DataError, match=text):
        Batch.of(description, links.batch(3)[0], y)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((3, 16, 16)),
        np.zeros((3, 8, 8, 1)),
        np.zeros((0, 16, 16, 1)),
        np.zeros((9, 16, 16, 1)),
        np.zeros((3, 16, 16, 1), complex),
        np.float32(1),
        "image",
        {"other": np.zeros((3, 16, 16, 1))},
        None,
    ],
)
def test_inputs_that_do_not_fit_are_refused(description, x):
    with pytest.raises(DataError, match="Expected.*Received"):
        Batch.of(description, x, labeled=False)


def test_images_of_bytes_become_floats(description):
    images = np.full((8, 16, 16, 1), 255, np.uint8)

    batch = Batch.of(description, images, labeled=False)

    assert batch.tensors["x_0"].dtype == np.float32
    assert batch.tensors["x_0"].max() == 255.0


@pytest.mark.parametrize("form", [list, tuple, dict])
def test_several_inputs_and_outputs_come_in_order_or_by_name(description, form):
    x = [np.ones((3, 2)), np.array([4, 5, 6])]
    y = [np.array([0, 1, 2]), np.zeros((3, 2))]
    if form is dict:
        x, y = {"q": x[1], "p": x[0]}, {"b": y[1], "a": y[0]}
    else:
        x, y = form(x), form(y)

    tensors = Batch.of(several(description), x, y).tensors

    assert tensors["x_0"].shape == (8, 2)
    assert tensors["x_1"][:3].tolist() == [4, 5, 6]
    assert tensors["y_0"][:3].tolist() == [0, 1, 2]
    assert tensors["y_1"].shape == (8, 2)


def test_one_sample_weight_counts_for_every_output(description):
    given = several(description)
    x = [np.ones((3, 2)), np.arange(3)]
    y = [np.arange(3), np.zeros((3, 2))]

    one = Batch.of(given, x, y, np.array([1, 2, 3])).tensors
    each = Batch.of(given, x, y, {"a": [1, 1, 1], "b": [2, 2, 2]}).tensors

    assert one["sample_weight_0"][:3].tolist() == [1, 2, 3]
    assert one["sample_weight_1"][:3].tolist() == [1, 2, 3]
    assert each["sample_weight_1"][:3].tolist() == [2, 2, 2]


def test_arrays_of_several_inputs_that_do_not_fit_are_named(description):
    given = several(description)
    for x in (np.ones((3, 2)), [np.ones((3, 2))], {"p": np.ones((3, 2))}):
        with pytest.raises(DataError, match=r"\['p', 'q'\]"):
            Batch.of(given, x, labeled=False)
    with pytest.raises(DataError, match="same batch of 3"):
        Batch.of(given, [np.ones((3, 2)), np.arange(4)], labeled=False)


def test_labels_of_one_number_may_come_without_their_axis(description):
    given = several(description, shape=(1,))
    x = [np.ones((3, 2)), np.arange(3)]

    tensors = Batch.of(given, x, [np.arange(3), np.arange(3.0)]).tensors

    assert tensors["y_1"].shape == (8, 1)


@pytest.mark.parametrize("what", ["x", "y"])
def test_rows_of_several_lengths_are_refused_by_name_too(description, what):
    given = dict(zip("xy", links.batch(2), strict=True))
    given[what] = [[1.0], [1.0, 2.0]]
    (x, y), about = given.values(), description

    with pytest.raises(DataError, match="the same shape"):
        Batch.of(about, {about.inputs[0].name: x}, {about.outputs[0].name: y})
