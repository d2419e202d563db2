"""Numbers that must look random, and be the same everywhere."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.defenses.random import uniform
from keras_split.litert.convert import convert


def draw(shape, seed=0, step=0):
    return uniform(shape, seed, tf.constant(step)).numpy()


def test_they_fill_the_unit_interval_evenly():
    numbers = draw((8, 14, 14, 32))

    counts, _ = np.histogram(numbers, 64, (0, 1))
    expected = numbers.size / 64
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 30 < chi_square < 110  # 63 degrees of freedom
    assert numbers.min() >= 0 and numbers.max() < 1


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_neighbours_are_not_alike(axis):
    numbers = draw((8, 14, 14, 32)) - 0.5

    one, other = numbers.take([0, 2, 4], axis), numbers.take([1, 3, 5], axis)
    correlation = 12 * (one * other).mean() * np.sqrt(one.size)
    assert abs(correlation) < 4.5


@pytest.mark.parametrize("other", [{"step": 1}, {"seed": 1}, {"step": 4096}])
def test_another_step_or_seed_draws_other_numbers(other):
    one, two = draw((50, 50)) - 0.5, draw((50, 50), **other) - 0.5

    assert abs(12 * (one * two).mean() * 50) < 4.5


def test_a_row_does_not_depend_on_how_many_there_are():
    np.testing.assert_array_equal(draw((3, 5, 4)), draw((8, 5, 4))[:3])


def test_litert_draws_the_same():
    def numbers(step):
        return {"numbers": uniform((4, 6, 5), 3, step)}

    specs = {"step": tf.TensorSpec((), tf.int32)}
    content = convert(tf.Module(), {"draw": (numbers, specs)}, {})
    runner = Interpreter(model_content=content).get_signature_runner("draw")

    for step in (0, 7, 123456):
        found = runner(step=np.int32(step))["numbers"]

        np.testing.assert_array_equal(found, draw((4, 6, 5), 3, step))
