"""A cut that cannot be says why, and names the nearest that can."""

import re

import keras
import pytest
from keras import layers

from keras_split.errors import CutError
from keras_split.partition.partition import Partition
from tests import nets


def refusal(model, cut):
    with pytest.raises(CutError) as caught:
        Partition(model, cut)
    return str(caught.value)


def test_an_unknown_layer_is_refused_with_its_nearest_names():
    text = refusal(nets.plain(), ["a_rely", "b_drop"])

    assert "Received: 'a_rely'" in text
    assert "Did you mean 'a_relu'" in text


def test_an_unknown_path_is_refused_with_its_nearest_paths():
    text = refusal(nets.transfer(), ["base/conv_1", "hidden"])

    assert "Did you mean 'base/conv1'" in text


def test_an_unknown_name_like_no_other_is_refused_with_examples():
    text = refusal(nets.dense(), ["zebra", "b"])

    assert "'zebra', which it does not have" in text
    assert "It has layers such as 'a', 'b' and 'c'." in text


@pytest.mark.parametrize("cut", [None, 3, layers.Dense(2, name="other")])
def test_something_that_is_no_layer_of_the_model_is_refused(cut):
    text = refusal(nets.dense(), [cut, "b"])

    assert "which it does not have" in text


@pytest.mark.parametrize("cut", [[], ["a", "b", "c"]])
def test_no_cut_and_three_cuts_are_refused(cut):
    text = refusal(nets.dense(), cut)

    assert f"Received: {len(cut)} cuts" in text
    assert "cut=[[a1, a2], b]" in text


def test_a_layer_called_twice_is_refused_with_its_calls():
    x = values = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    x = twice(layers.ReLU(name="between")(twice(x)))
    model = keras.Model(values, layers.Dense(2, name="c")(x))

    text = refusal(model, ["twice", "c"])

    assert "'twice#1', 'twice#2'" in text


def test_a_subclassed_model_is_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    text = refusal(Subclassed(), ["a", "b"])

    assert "Received: Subclassed" in text


def test_cuts_in_the_wrong_order_are_refused_with_the_right_one():
    text = refusal(nets.dense(), ["b", "a"])

    assert "the second cut is not behind the first" in text
    assert text.endswith("The other way round it works: cut=['a', 'b'].")
    Partition(nets.dense(), ["a", "b"])


def assert_suggestions_work(model, cut, text):
    """Each cut that the message names works in place of the one refused."""
    which, named = re.search(
        r"The nearest for the (\w+) cut (?:is|are) (.*)\.$", text
    ).groups()
    position = {"first": 0, "second": 1, "only": 0}[which]
    suggestions = re.findall(r"'([^']+)'", named)
    assert suggestions
    for suggestion in suggestions:
        trial = list(cut)
        trial[position] = suggestion
        nets.assert_equals_whole(model, Partition(model, trial))
    return suggestions


def test_an_empty_body_is_refused():
    model, cut = nets.plain(), ["b", "b"]

    text = refusal(model, cut)

    assert "nothing is left for the server" in text
    assert assert_suggestions_work(model, cut, text) == ["b_bn"]


def test_a_first_cut_on_an_input_is_refused():
    model, cut = nets.plain(), ["image", "b"]

    text = refusal(model, cut)

    assert "raw data must not leave the phone" in text
    assert assert_suggestions_work(model, cut, text) == ["a", "a_bn"]


def test_an_input_among_other_cut_layers_is_refused():
    text = refusal(nets.two_by_two(), [["a", "extra"], "join"])

    assert "raw data must not leave the phone" in text


def test_an_input_that_the_server_would_read_is_refused_by_name():
    model, cut = nets.two_by_two(), ["a", "join"]

    text = refusal(model, cut)

    assert "'wide' would run on the server" in text
    assert "reads the model input 'extra'" in text
    assert assert_suggestions_work(model, cut, text) == ["flat"]


def test_an_input_that_the_server_would_read_is_refused_with_one_cut():
    text = refusal(nets.two_branches(), ["left1"])

    assert "'right1' would run on the server" in text


def test_a_second_cut_beside_the_first_is_refused():
    model, cut = nets.two_branches(), ["left1", "right1"]

    text = refusal(model, cut)

    assert "the second cut does not depend on the first" in text
    assert assert_suggestions_work(model, cut, text) == ["left2"]


def test_the_end_of_the_model_is_refused_as_the_only_cut():
    model, cut = nets.dense(), ["c"]

    text = refusal(model, cut)

    assert "that is the end of the model" in text
    assert assert_suggestions_work(model, cut, text) == ["b"]


def test_an_output_made_by_the_head_takes_two_cuts():
    x = values = keras.Input((4,))
    a = layers.Dense(3, name="a")(x)
    b = layers.Dense(3, name="b")(a)
    model = keras.Model(values, [a, b])

    text = refusal(model, ["a"])

    assert "output 'a' is made on the phone, which takes two cuts" in text
    Partition(model, ["a", "b"])


def test_weights_shared_by_phone_and_server_are_refused():
    x = values = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.Dense(4, name="a")(shared(x))
    x = layers.Dense(4, name="b")(shared(x))
    model = keras.Model(values, layers.Dense(2, name="c")(x))
    cut = ["a", "b"]

    text = refusal(model, cut)

    assert "layer 'shared' has weights or a seed" in text
    assert "on the phone and on the server" in text
    assert_suggestions_work(model, cut, text)


def test_one_variable_in_two_layers_counts_as_shared():
    dense = layers.Dense(4, name="dense")
    x = values = keras.Input((3, 4))
    x = layers.TimeDistributed(dense, name="each")(x)
    x = layers.ReLU(name="a")(x)
    x = layers.ReLU(name="b")(dense(x))
    model = keras.Model(values, x)

    text = refusal(model, ["a", "b"])

    assert "has weights or a seed" in text


def test_a_tensor_of_unknown_shape_is_refused():
    x = image = keras.Input((None, None, 2))
    x = layers.Conv2D(3, 3, name="a")(x)
    x = layers.Conv2D(3, 3, name="b")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(4, name="c")(x)
    model = keras.Model(image, layers.Dense(2, name="out")(x))

    text = refusal(model, ["a", "c"])

    assert "'a' would travel and has shape (None, None, 3)" in text
    assert "input shape without None" in text
    assert "The nearest for the first cut is 'pool'." in text
    Partition(model, ["pool", "c"])


def test_a_tensor_of_integers_is_refused():
    x = values = keras.Input((4,))
    x = layers.Dense(4, name="a")(x)
    x = keras.ops.cast(x > 0, "int32")
    x = layers.Embedding(2, 3, name="embed")(x)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(values, layers.Dense(2, name="out")(x))

    text = refusal(model, ["Cast#1", "flat"])

    assert "is int32; only floating point tensors" in text
    assert assert_suggestions_work(model, ["", "flat"], text) == ["a", "embed"]


def masked():
    x = words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embed")(x)
    x = layers.Dense(4, name="a")(x)
    x = layers.LSTM(3, name="read")(x)
    x = layers.Dense(4, name="b")(x)
    return keras.Model(words, layers.Dense(2, name="out")(x))


def test_a_mask_computed_from_the_input_is_refused():
    text = refusal(masked(), ["embed", "b"])

    assert "the mask of 'embed' would be needed on the other side" in text
    assert "The nearest for the first cut is 'read'." in text
    Partition(masked(), ["read", "b"])


def test_a_mask_that_would_travel_is_refused():
    x = values = keras.Input((5, 3))
    x = layers.Dense(4, name="a")(x)
    x = layers.Masking(name="masking")(x)
    x = layers.LSTM(3, name="read")(x)
    model = keras.Model(values, layers.Dense(2, name="out")(x))
    cut = ["masking", "out"]

    text = refusal(model, cut)

    assert "'masking' would travel and carries a mask" in text
    assert_suggestions_work(model, cut, text)
