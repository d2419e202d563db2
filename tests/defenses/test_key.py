"""Draws for each example: they look random and are the same everywhere."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.defenses.key import Key
from keras_split.defenses.key import coarse
from keras_split.litert.convert import convert

SHAPE = (24, 24, 16)


def key(seed="7", step=3, samples=range(8)):
    return Key(seed, tf.constant(step), tf.constant(samples, tf.float32))


def test_normal_numbers_have_the_moments_that_the_docstring_says():
    numbers = key().normal(SHAPE).numpy().astype("float64")

    error = 1 / np.sqrt(numbers.size)
    assert abs(numbers.mean()) < 4 * error
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2) * error
    kurtosis = ((numbers - numbers.mean()) ** 4).mean() / numbers.var() ** 2
    assert abs(kurtosis - 2.995) < 4 * np.sqrt(24) * error
    assert np.abs(numbers).max() <= 5.19


@pytest.mark.parametrize(
    ("limit", "part"), [(1, 0.31731), (2, 0.0455), (3, 0.0027)]
)
def test_normal_numbers_have_the_tails_of_a_normal_distribution(limit, part):
    numbers = key().normal(SHAPE).numpy()

    beyond = (np.abs(numbers) > limit).mean()
    spread = np.sqrt(part * (1 - part) / numbers.size)
    assert abs(beyond - part) < 5 * spread


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_neighbours_are_not_alike(axis):
    numbers = key().normal(SHAPE).numpy()

    one, other = numbers.take([0, 2, 4], axis), numbers.take([1, 3, 5], axis)
    assert abs((one * other).mean() * np.sqrt(one.size)) < 4.5


@pytest.mark.parametrize(
    "other",
    [{"step": 4}, {"step": -1}, {"seed": "8"}, {"samples": range(8, 16)}],
    ids=str,
)
def test_another_step_seed_or_example_draws_other_numbers(other):
    one, two = key().normal(SHAPE).numpy(), key(**other).normal(SHAPE).numpy()

    assert abs((one * two).mean() * np.sqrt(one.size)) < 4.5


def test_no_two_examples_of_many_steps_draw_the_same():
    # With 2**24 streams to choose from, 1.5 % of these were one of another.
    drawn = [
        key(step=step, samples=range(10_000)).words(4).numpy()
        for step in range(60)
    ]

    rows = np.concatenate(drawn).view("V16")
    assert len(np.unique(rows)) == 600_000


def test_an_example_draws_the_same_wherever_it_is_in_a_batch():
    whole = key().normal(SHAPE).numpy()

    part = key(samples=[5, 2, 2]).normal(SHAPE).numpy()

    np.testing.assert_array_equal(part, whole[[5, 2, 2]])


def test_a_folded_key_draws_other_numbers():
    one, two = (k.uniform((50,)).numpy() for k in (key(), key().fold("again")))

    assert 0 <= one.min() and one.max() < 1
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 1), (4, 5, 6)], ids=str)
def test_any_shape_can_be_drawn(shape):
    assert key().normal(shape).shape == (8, *shape)


def test_coarse_keeps_eight_bits():
    x = np.random.default_rng(0).uniform(1e-3, 1e3, 1000).astype("float32")

    made = coarse(tf.constant(x)).numpy()

    mantissa, _ = np.frexp(made)
    np.testing.assert_array_equal(mantissa * 256 % 1, 0)
    assert (made <= x).all() and (made > x * (1 - 2.0**-7)).all()
    assert coarse(tf.constant([0.0, 1e-38])).numpy().tolist() == [0, 0]
    assert np.isnan(coarse(tf.constant([np.nan])).numpy()).all()


def test_litert_draws_the_same():
    def numbers(step, x):
        drawn = Key("7", step, tf.range(4.0))
        return {
            "normal": drawn.normal((5, 3)),
            "uniform": drawn.uniform((5, 3)),
            "coarse": coarse(x),
        }

    specs = {
        "step": tf.TensorSpec((), tf.int32),
        "x": tf.TensorSpec((4,), tf.float32),
    }
    content = convert(tf.Module(), {"draw": (numbers, specs)}, {})
    runner = Interpreter(model_content=content).get_signature_runner("draw")

    for step in (0, 7, 123456):
        x = np.float32([0.1, 3.7, 0, 1e30]) * (step + 1)
        found = runner(step=np.int32(step), x=x)
        expected = numbers(tf.constant(step), tf.constant(x))

        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
