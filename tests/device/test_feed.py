"""What a user gives, as a step takes it."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_split.device import feed
from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.data_spec import DataSpec


def description(names=("x",), batch_size=2, rate=0.5, spec=None):
    """What client.json would say, as far as it matters here."""
    inputs = [SimpleNamespace(name=n, shape=(2, 2, 3)) for n in names]
    return SimpleNamespace(
        inputs=inputs,
        batch_size=batch_size,
        learning_rate=rate,
        data_spec=spec,
    )


@pytest.mark.parametrize("batches", [[1, 2], lambda: iter([1, 2])])
def test_batches_are_gone_through_once(batches):
    assert list(feed.each(batches, "epoch 1")) == [1, 2]


def test_a_generator_that_is_used_up_is_an_error():
    with pytest.raises(DataError, match="in epoch 2. Received: none"):
        list(feed.each(iter([]), "epoch 2"))


def test_labels_are_asked_for():
    assert feed.labeled(["x", "y"]) == ("x", "y")
    with pytest.raises(DataError, match="Received: ndarray"):
        feed.labeled(np.zeros(2))
    with pytest.raises(DataError, match="Received: 4 values"):
        feed.labeled((1, 2, 3, 4))


def test_arrays_become_batches():
    x = np.arange(5)

    assert [b[0].tolist() for b in feed.examples(x, description())] == [
        *([0, 1], [2, 3], [4])
    ]
    several = {"a": x, "b": 2 * x}
    found = list(feed.examples(several, description(("a", "b"), 3)))
    assert found[1]["b"].tolist() == [6, 8]


def test_examples_that_an_input_lacks_are_not_left_out_in_silence():
    x = np.arange(6)
    about = description(("a", "b"), 2)

    for given in ({"a": x[:4], "b": x}, [x[:4], x]):
        with pytest.raises(DataError, match=r"Received: \[4, 6\]"):
            list(feed.examples(given, about))


def test_of_batches_labels_are_passed_over():
    assert list(feed.examples([("x", "y"), "z"], description())) == ["x", "z"]


def test_a_learning_rate_is_a_number_a_function_or_that_of_the_export():
    about = description()

    assert feed.rate(None, 7, about) == 0.5
    assert feed.rate(0.25, 7, about) == 0.25
    assert feed.rate(lambda step: step / 10, 7, about) == 0.7
    with pytest.raises(ProtocolError):
        feed.rate(float("nan"), 7, about)


def test_images_are_scaled_as_client_json_says():
    images = np.full((1, 2, 2, 3), 255, "uint8")
    about = description(spec=DataSpec((), np.eye(3) / 255, [0, 0, -1]))

    made = feed.to_model_input(images, about)

    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0, 0, 0], [1, 1, 0], atol=1e-6)
