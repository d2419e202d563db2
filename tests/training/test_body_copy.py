import keras
import numpy as np
import pytest

from keras_split.errors import SplitError
from keras_split.training.body_copy import body_copy
from tests import links


def values(body):
    return [np.array(v) for v in body.variables]


def test_a_copy_has_every_value_of_the_body_and_shares_none():
    body = links.halves()[1].body
    generator = body.get_layer("drop").seed_generator
    generator.next()  # a state that no config tells

    made = body_copy(body)
    before = values(body)
    assert links.same(values(made), before)
    for variable in made.variables:
        variable.assign(variable + 1)

    assert links.same(values(body), before)
    assert made.count_params() == body.count_params()


def test_frozen_layers_are_frozen_in_the_copy():
    body = links.halves()[1].body
    body.get_layer("middle").trainable = False

    made = body_copy(body)

    kinds = [[v.trainable for v in b.variables] for b in (made, body)]
    assert kinds[0] == kinds[1]


def test_layers_of_one_s_own_need_no_registration():
    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), name="factor")

        def call(self, x):
            return x * self.factor

    inputs = keras.Input((3,))
    body = keras.Model(inputs, Scale()(inputs))

    made = body_copy(body)

    assert links.same(values(made), values(body))


def test_a_layer_that_cannot_be_made_again_is_refused():
    class Sized(keras.layers.Layer):
        def __init__(self, size):
            super().__init__()
            self.size = size

        def call(self, x):
            return x * self.size

    inputs = keras.Input((3,))
    body = keras.Model(inputs, Sized(2)(inputs))

    with pytest.raises(SplitError, match='bodies="shared"'):
        body_copy(body)


def test_a_layer_whose_config_does_not_tell_its_size_is_refused():
    class Grown(keras.layers.Layer):
        size = 1

        def build(self, shape):
            self.kernel = self.add_weight(shape=(self.size,), name="kernel")

        def call(self, x):
            return x * self.kernel[0]

    inputs = keras.Input((3,))
    layer = Grown()
    layer.size = 4
    body = keras.Model(inputs, layer(inputs))

    with pytest.raises(SplitError, match="what differs: .*kernel"):
        body_copy(body)
