"""Several defenses and one seed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.defenses import Chain
from keras_split.defenses import Defense
from keras_split.defenses import GaussianNoise
from keras_split.defenses import register
from keras_split.defenses.chain import INFERENCE
from keras_split.defenses.chain import Moment
from keras_split.errors import DefenseError
from tests.defenses.scaled import Scaled

X = tf.constant(np.random.default_rng(0).normal(size=(6, 5)), tf.float32)


@register("halved")
class Halved(Defense):
    def apply(self, x, key, where):
        return x[:, ::2]


def applied(chain=None, moment=None, x=X, where="smashed", tensor=0):
    chain = chain or Chain([GaussianNoise(0.1)], seed=7)
    made = chain.apply(x, where, tensor, moment or Moment(tf.constant(3)))
    return made.numpy()


def test_nothing_is_done_without_defenses():
    chain = Chain(["identity"])

    assert not chain and chain.describe() == []
    assert chain.apply(X, "smashed", 0, Moment(0)) is X
    noise = Chain([GaussianNoise(0.1)])
    assert noise.apply(X, "features_grad", 0, Moment(0)) is X


def test_defenses_are_applied_in_their_order():
    one, other = GaussianNoise(0.1), Scaled()

    first = applied(Chain([one, other], seed=7))
    second = applied(Chain([other, one], seed=7))

    assert not np.array_equal(first, second)


def test_a_seed_is_drawn_that_nobody_can_guess():
    first, second = Chain(["scaled"]), Chain(["scaled"])

    assert first.seed != second.seed
    assert max(first.seed, second.seed) > 1 << 100


def test_a_seed_does_not_follow_from_those_that_a_server_knows():
    seeds = set()
    for _ in range(3):
        keras.utils.set_random_seed(0)
        seeds.add(Chain(["scaled"]).seed)

    assert len(seeds) == 3


def test_the_seed_travels_in_the_config_and_not_in_the_description():
    chain = Chain([GaussianNoise(0.1), "scaled"], seed=12345)

    twin = Chain.get(chain.get_config())

    np.testing.assert_array_equal(applied(twin), applied(chain))
    assert "12345" not in str(chain.describe())
    assert Chain.get(chain) is chain


@pytest.mark.parametrize(
    "other",
    [
        {"moment": Moment(tf.constant(4))},
        {"moment": Moment(tf.constant(3), first=6)},
        {"tensor": 1},
        {"chain": Chain([GaussianNoise(0.1)], seed=8)},
        {"moment": INFERENCE},
    ],
    ids=["step", "examples", "tensor", "seed", "inference"],
)
def test_everything_that_tells_tensors_apart_changes_the_noise(other):
    assert not np.isclose(applied(), applied(**other)).any(axis=0).all()


def test_a_repeated_call_does_the_same():
    np.testing.assert_array_equal(applied(), applied())


def test_a_microbatch_gets_what_the_batch_gets():
    part = applied(x=X[4:], moment=Moment(tf.constant(3), first=4))

    np.testing.assert_array_equal(part, applied()[4:])


def test_what_fills_a_batch_up_repeats_the_first():
    x = tf.concat([X[:2], X[:1]], axis=0)

    made = applied(x=x, moment=Moment(tf.constant(3), count=tf.constant(2)))

    np.testing.assert_array_equal(made, applied()[[0, 1, 0]])


def test_a_prediction_does_not_depend_on_its_batch():
    whole = applied(moment=INFERENCE)

    np.testing.assert_array_equal(applied(moment=INFERENCE, x=X[3:]), whole[3:])


def test_a_defense_that_changes_the_shape_is_refused():
    with pytest.raises(DefenseError, match="'halved' to return a tensor"):
        applied(Chain(["halved"]))
