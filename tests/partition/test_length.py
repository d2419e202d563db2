import keras
import numpy as np
import pytest
from keras import layers

from keras_split.errors import CutError
from keras_split.partition.length import fix_length
from keras_split.partition.partition import Partition


def encoder():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, name="embed")(ids)
    return keras.Model(ids, layers.Dense(4, name="a")(x), name="encoder")


def tagger():
    """A nested encoder, and an input that has its shape."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    extra = keras.Input((3,), name="extra")
    x = layers.Dense(4, activation="tanh", name="b")(encoder()(ids))
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    outputs = {"tag": layers.Dense(2, name="c")(x), "more": extra * 2.0}
    return keras.Model({"ids": ids, "extra": extra}, outputs, name="tagger")


def test_it_computes_the_same_with_the_same_layers():
    model = tagger()
    x = {"ids": np.arange(12).reshape(2, 6) % 9, "extra": np.ones((2, 3))}

    fixed = fix_length(model, 6)

    assert fixed.input["ids"].shape == (None, 6)
    assert fixed.input["extra"].shape == (None, 3)
    assert fixed.get_layer("embed") is (
        model.get_layer("encoder").get_layer("embed")
    )
    expected, made = model(x), fixed(x)
    for name in ("tag", "more"):
        np.testing.assert_array_equal(made[name], expected[name])


def test_a_model_of_fixed_length_can_be_cut_and_one_of_any_length_says_how():
    with pytest.raises(CutError, match=r"keras_split.fix_length\(model"):
        Partition(tagger(), ["encoder/a", "b"])

    partition = Partition(fix_length(tagger(), {"ids": 5}), ["a", "b"])

    assert partition.smashed[0].shape == (5, 4)


@pytest.mark.parametrize("length", [0, -1, None, "long", {"extra": 3}, {}])
def test_a_length_is_a_number_for_each_input_without_one(length):
    with pytest.raises(CutError, match="length of 1 or more for the input 'i"):
        fix_length(tagger(), length)


def test_layers_of_one_name_in_two_nested_models_are_refused():
    ids = keras.Input((None,), dtype="int32", name="ids")
    two = [encoder()(ids)]
    other = encoder()
    other.name = "other"
    two.append(other(ids))
    model = keras.Model(ids, layers.Add()(two))

    with pytest.raises(CutError, match="Cannot fix the length"):
        fix_length(model, 4)


def test_code_of_its_own_is_not_dropped_in_silence():
    class Mine(keras.Model):
        def train_step(self, data):
            return {}

    inner = encoder()

    with pytest.raises(CutError, match="Mine.train_step would be dropped"):
        fix_length(Mine(inner.input, inner.output), 4)
