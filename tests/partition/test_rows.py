import keras
import pytest
from keras import layers
from keras import ops

from keras_split.errors import CutError
from keras_split.partition.graph import Graph
from keras_split.partition.partition import Partition
from keras_split.partition.rows import rows_per_batch


def frames(batch=None):
    """Three frames of an example become examples, and one again."""
    i = keras.Input(batch_shape=(batch, 3, 4, 4, 1))
    x = layers.Dense(2, name="before")(i)
    x = layers.Conv2D(2, 3, name="a")(ops.reshape(x, (-1, 4, 4, 2)))
    x = layers.Dense(5, name="b")(layers.Flatten(name="flat")(x))
    x = layers.Dense(4, name="late")(ops.reshape(x, (-1, 15)))
    return keras.Model(i, layers.Dense(1, name="out")(x))


def rows(model):
    graph = Graph(model)
    found = rows_per_batch(graph)
    return {c.path: found.get(c.outputs[0]) for c in graph.calls}


@pytest.mark.parametrize("batch", [None, 8])
def test_rows_are_followed_through_the_model(batch):
    found = rows(frames(batch))

    assert found["before"] == 1
    assert found["a"] == found["b"] == 3
    assert found["late"] == found["out"] == 1


@pytest.mark.parametrize(
    "cut", [["a", "b"], ["a", "late"], ["before", "b"], "a"]
)
def test_frames_folded_into_the_batch_do_not_cross(cut):
    with pytest.raises(CutError) as caught:
        Partition(frames(), cut)

    assert "has 3 rows for each example of a batch" in str(caught.value)


def test_frames_may_be_folded_inside_of_a_half():
    Partition(frames(), ["before", "late"])


def test_the_nearest_cuts_are_those_of_examples():
    with pytest.raises(CutError, match="for the second cut is 'resh"):
        Partition(frames(), ["before", "flat"])


class Halved(layers.Layer):
    """Takes two examples as one."""

    def call(self, x):
        return ops.reshape(x, (-1, 2 * x.shape[-1]))

    def compute_output_shape(self, shape):
        return (None if shape[0] is None else shape[0] // 2, 2 * shape[-1])


class Secret(layers.Layer):
    """Says nothing of its shapes, and cannot be traced for any batch."""

    def compute_output_spec(self, x):
        if x.shape[0] is not None:
            raise RuntimeError("not for me")
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        return x


def behind(layer):
    x = values = keras.Input((4,))
    x = layers.Dense(4, name="a")(layer(x))
    return keras.Model(values, layers.Dense(1)(layers.Dense(3, name="b")(x)))


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (layers.Lambda(lambda x: ops.reshape(x, (-1, 2))), 2),
        (ops.sum, 0),
        (lambda x: ops.sum(x, axis=0, keepdims=True), 1 / 7919),
        (Secret(), None),
    ],
)
def test_layers_and_operations_of_others_are_asked(layer, wanted):
    x = keras.Input((4,))
    (made,) = rows(keras.Model(x, layer(x))).values()

    assert made == wanted


def test_examples_that_become_fewer_do_not_cross():
    with pytest.raises(CutError, match=r"'a' would travel and has 0\.5 rows"):
        Partition(behind(Halved()), ["a", "b"])


def test_a_layer_that_says_nothing_is_no_obstacle():
    Partition(behind(Secret()), ["a", "b"])


def views():
    """Two views of an example become examples, as contrastive losses do."""
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    both = layers.Concatenate(axis=0, name="both")([one, two])
    x = layers.Dense(3, name="b")(layers.Dense(3, name="a")(both))
    return keras.Model([one, two], layers.Dense(2, name="c")(x))


def test_batches_behind_one_another_do_not_cross():
    assert rows(views()) == {"both": 2, "a": 2, "b": 2, "c": 2}
    with pytest.raises(CutError, match="'a' would travel and has 2 rows"):
        Partition(views(), ["a", "b"])
