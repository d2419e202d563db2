"""Initial weights that follow from a secret, and from nothing else."""

import random

import keras
import numpy as np
import pytest
from keras import layers

from keras_split.errors import OptionError
from keras_split.partition import birth
from tests import nets

SECRET, OTHER = b"a secret of tests", b"another one of tests"
OF_KERAS = {
    "dense": lambda: layers.Dense(3),
    "orthogonal": lambda: layers.Dense(3, kernel_initializer="orthogonal"),
    "normal": lambda: layers.Dense(3, bias_initializer="random_normal"),
    "seeded": lambda: layers.Dense(
        3, kernel_initializer=keras.initializers.HeNormal(seed=7)
    ),
    "attention": lambda: layers.MultiHeadAttention(2, 2),
    "lstm": lambda: layers.Bidirectional(layers.LSTM(3)),
    "distributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "spectral": lambda: layers.SpectralNormalization(layers.Dense(3)),
    "convolution": lambda: layers.SeparableConv1D(3, 1),
}


@keras.saving.register_keras_serializable("birth tests")
class Own(layers.Layer):
    """A layer whose initializer is none of Keras'."""

    def __init__(self, kind="keras", **options):
        super().__init__(**options)
        self.kind = kind

    def build(self, shape):
        self.w = self.add_weight(
            shape=(4, 4), initializer=MAKERS[self.kind], name="w"
        )

    def call(self, x):
        return x @ self.w

    def get_config(self):
        return super().get_config() | {"kind": self.kind}


class Seeded(keras.initializers.Initializer):
    def __init__(self, seed=5):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape, dtype=dtype, seed=self.seed)


MAKERS = {
    "keras": lambda shape, dtype: keras.random.normal(shape, dtype=dtype),
    "numpy": lambda shape, dtype: np.random.normal(size=shape).astype(dtype),
    "seeded": Seeded(),
    "fixed": lambda shape, dtype: keras.ops.eye(*shape, dtype=dtype),
    "system": lambda shape, dtype: (
        np.random.default_rng().normal(size=shape).astype(dtype)
    ),
    "broken": lambda shape, dtype: 1 / 0,
}


def born(model, secret=SECRET):
    birth.reinitialize([model], secret)
    return nets.values_of(model)


def sequence(layer):
    x = keras.Input((4, 5))
    attends = isinstance(layer, layers.MultiHeadAttention)
    return keras.Model(x, layer(x, x) if attends else layer(x))


@pytest.mark.parametrize("kind", OF_KERAS)
def test_what_initializers_of_keras_draw_follows_from_the_secret(kind):
    made = [sequence(OF_KERAS[kind]()) for _ in range(3)]
    before = nets.values_of(made[0])
    one, again, other = map(born, made, (SECRET, SECRET, OTHER))

    assert all(map(np.array_equal, one, again))
    assert any(v.ndim > 1 for v in one)
    for variable, *values in zip(
        made[0].variables, before, one, other, strict=True
    ):
        a, b, c = values
        chance = np.unique(a).size > 2 or "seed_generator" in variable.path
        assert np.array_equal(a, b) != chance, variable.path
        assert np.array_equal(b, c) != chance, variable.path
        assert a.shape == b.shape and a.dtype == b.dtype


def test_arrays_of_one_shape_get_numbers_of_their_own():
    model = keras.Sequential([keras.Input((4,))])
    for _ in range(3):
        model.add(layers.Dense(4))

    kernels = [v for v in born(model) if v.ndim == 2]

    assert len({kernel.tobytes() for kernel in kernels}) == 3


def test_each_layer_keeps_its_own_initializer():
    wide = layers.Dense(
        64, kernel_initializer=keras.initializers.RandomUniform(5.0, 6.0)
    )
    square = layers.Dense(64, kernel_initializer="orthogonal")
    born(keras.Sequential([keras.Input((64,)), wide, square]))

    kernel = wide.kernel.numpy()
    assert 5 <= kernel.min() < 5.1 and 5.9 < kernel.max() <= 6
    turned = square.kernel.numpy()
    np.testing.assert_allclose(turned @ turned.T, np.eye(64), atol=1e-5)


@pytest.mark.parametrize("kind", ["keras", "numpy", "seeded"])
def test_initializers_of_others_are_replayed(kind):
    made = [keras.Sequential([keras.Input((4,)), Own(kind)]) for _ in range(3)]
    (before,) = nets.values_of(made[0])
    (one,), (again,), (other,) = map(born, made, (SECRET, SECRET, OTHER))

    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, before)


def test_what_is_made_without_chance_stays():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Own("fixed"),
            layers.BatchNormalization(),
            layers.Dense(2, kernel_initializer="zeros"),
        ]
    )

    assert birth.reinitialize([model], SECRET) == []


@pytest.mark.parametrize(
    "kind, message",
    [
        ("system", "other numbers for 'w' each time"),
        ("broken", "ZeroDivisionError from its initializer"),
    ],
)
def test_an_initializer_that_cannot_be_replayed_is_refused(
    kind, message, monkeypatch
):
    good = MAKERS["keras"]
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    with monkeypatch.context() as patched:
        patched.setitem(MAKERS, kind, good)
        model.add(Own(kind))
    before = nets.values_of(model)

    with pytest.raises(OptionError, match=message):
        born(model)

    assert all(map(np.array_equal, nets.values_of(model), before))


def test_a_layer_that_has_no_config_is_refused():
    class Closed(layers.Layer):
        def __init__(self, size):
            super().__init__()
            self.w = self.add_weight(shape=(size, size))

        def call(self, x):
            return x @ self.w

        def get_config(self):
            raise NotImplementedError("no config")

    model = keras.Sequential([keras.Input((4,)), Closed(4)])

    with pytest.raises(OptionError, match="Closed, and NotImplementedError"):
        born(model)


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_that_were_trained_are_not_lost(frozen):
    model = nets.built(nets.dense)
    model.get_layer("b").bias.assign(np.ones(6))
    model.get_layer("b").trainable = not frozen
    before = nets.values_of(model)

    with pytest.raises(OptionError, match=r"Received: '.*b/bias', which was"):
        born(model)

    assert all(map(np.array_equal, nets.values_of(model), before))


def test_statistics_of_data_stay():
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(3.0, 2.0, (64, 4)))
    model = keras.Sequential([keras.Input((4,)), adapted, layers.Dense(2)])
    before = adapted.mean.numpy()

    drawn = birth.reinitialize([model], SECRET)

    assert [path.rpartition("/")[2] for path in drawn] == ["kernel"]
    assert np.array_equal(adapted.mean.numpy(), before)


def test_dropout_draws_what_no_seed_tells():
    models = [nets.built(nets.plain) for _ in range(2)]
    before = models[0].get_layer("c_drop").seed_generator.state.numpy()

    for model, secret in zip(models, (SECRET, OTHER), strict=True):
        born(model, secret)

    states = [
        m.get_layer("c_drop").seed_generator.state.numpy() for m in models
    ]
    assert not np.array_equal(before, states[0])
    assert (states[0] != states[1]).all()
    x = np.ones((4, 8), "float32")
    masks = [m.get_layer("c_drop")(x, training=True).numpy() for m in models]
    assert not np.array_equal(*masks)


def test_nested_models_are_drawn_and_shared_layers_once():
    first, second = (nets.built(nets.transfer) for _ in range(2))
    before = nets.values_of(first)

    drawn = birth.reinitialize([first, first], SECRET)
    birth.reinitialize([second], SECRET)

    assert len(drawn) == len(set(drawn)) == 4
    assert not np.array_equal(nets.values_of(first)[0], before[0])
    assert all(map(np.array_equal, *map(nets.values_of, (first, second))))


def test_names_and_what_was_built_before_do_not_matter():
    def net():
        return keras.Sequential(
            [keras.Input((4,)), layers.Dense(3), layers.Dropout(0.5)]
        )

    one = born(net())
    keras.utils.set_random_seed(99)
    layers.Dense(2)

    assert all(map(np.array_equal, one, born(net())))


def test_draws_outside_do_not_notice():
    def draws():
        return (
            random.random(),
            np.random.random(),
            keras.random.normal((2,)).numpy().tolist(),
        )

    model = nets.built(nets.plain, seed=4)
    keras.utils.set_random_seed(4)
    expected = draws()
    keras.utils.set_random_seed(4)

    born(model)

    assert draws() == expected
