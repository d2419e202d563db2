import keras
import pytest

from keras_split.errors import DataError
from keras_split.models import shared_layers


def dense(name: str) -> keras.layers.Layer:
    return keras.layers.Dense(2, name=name)


def model(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((2,)), *layers])


def test_only_layers_with_weights_that_both_call_are_shared():
    both, relu = dense("both"), keras.layers.ReLU(name="relu")
    head = model(dense("first"), both, relu)

    assert shared_layers.names(head, model(both, relu)) == ["both"]
    assert shared_layers.names(head, None) == []


def test_a_tail_that_was_loaded_calls_the_layers_of_its_head_again():
    head, tail = model(dense("both")), model(dense("both"), dense("last"))
    last = tail.get_layer("last")

    joined = shared_layers.joined(head, tail, ["both"])

    assert joined.get_layer("both") is head.get_layer("both")
    assert joined.get_layer("last") is last


def test_weights_that_are_shared_inside_of_a_model_are_refused():
    # Keras would write them once, and could not load the file.
    both = dense("both")
    inner = model(both)

    for head, tail in ((inner, both), (both, inner)):
        with pytest.raises(DataError, match="both/kernel"):
            shared_layers.names(model(head), model(tail))
