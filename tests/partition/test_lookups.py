import keras
from keras import layers

from keras_split.compression.shared import SharedSpec
from keras_split.partition import lookups


def spec(name):
    return SharedSpec(name, (5,), "int32", "int32")


def test_the_shortest_table_that_reads_an_input_says_how_many_rows_it_has():
    smashed = keras.Input((5, 4), name="smashed")
    kinds = keras.Input((5,), dtype="int32", name="kinds")
    mask = keras.Input((5,), dtype="int32", name="mask")
    inside = keras.Input((5,), dtype="int32")
    nest = keras.Model(inside, layers.Embedding(7, 4)(inside))
    x = smashed + layers.Embedding(9, 4)(kinds) + nest(kinds)
    x = x * keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    body = keras.Model([smashed, kinds, mask], x)

    assert lookups.rows(body, [spec("kinds"), spec("mask")]) == (7, None)
    assert lookups.rows(body, []) == ()
