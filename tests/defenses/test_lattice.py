"""Noise of whole numbers: what it is distributed as."""

from decimal import Decimal

import numpy as np
import tensorflow as tf

from keras_split.defenses import Key
from keras_split.defenses import lattice
from tests.defenses.test_alias import probabilities


def key(step=0):
    return Key("7", tf.constant(step), tf.range(16.0))


def test_a_gaussian_has_its_variance_and_its_tails():
    numbers = lattice.gaussian(key(), (20_000,)).numpy() / lattice.STEPS

    assert abs(numbers.mean()) < 4 / np.sqrt(numbers.size)
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2 / numbers.size)
    for limit, part in ((1, 0.31731), (2, 0.0455), (3, 0.0027)):
        spread = np.sqrt(part * (1 - part) / numbers.size)
        assert abs((np.abs(numbers) > limit).mean() - part) < 5 * spread


def test_a_laplace_has_its_spread_and_its_tails():
    numbers = (lattice.laplace(key(), (20_000,)).numpy() + 0.5) / lattice.SCALE

    assert abs(numbers.mean()) < 4 * np.sqrt(2 / numbers.size)
    for limit in (0.5, 1, 2, 5):
        part = np.exp(-limit)
        spread = np.sqrt(part * (1 - part) / numbers.size)
        assert abs((np.abs(numbers) > limit).mean() - part) < 5 * spread


def test_draws_are_whole_numbers_of_all_remainders():
    for draw in (lattice.gaussian, lattice.laplace):
        numbers = draw(key(), (20_000,)).numpy().ravel()

        assert (numbers == np.rint(numbers)).all()
        counts = np.bincount((numbers % 64).astype(int), minlength=64)
        expected = numbers.size / 64
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert 30 < chi_square < 110  # 63 degrees of freedom


def test_tables_are_as_near_to_their_distributions_as_is_said():
    middle, scale = lattice.HALF, 2 * Decimal(lattice.TABLE) ** 2
    exact = [(Decimal(-((i - middle) ** 2)) / scale).exp() for i in range(4096)]

    found = probabilities(lattice._gaussian_table())

    total = sum(exact)
    apart = sum(
        abs(e / total - Decimal(n) / 2**64)
        for e, n in zip(exact, found, strict=True)
    )
    assert sum(found) == 2**64
    assert apart / 2 < Decimal(2) ** -53 < lattice.DISTANCE / 2
    assert exact[0] / total < Decimal(2) ** -100


def test_two_tables_make_one_gaussian():
    # Of small ones, so that all can be added up: the same completed square.
    spread, factor = 8.0, 3
    x = np.arange(-200, 201)
    one = np.exp(-(x**2) / (2 * spread**2))
    one /= one.sum()
    far = np.zeros(factor * 400 + 1)
    far[::factor] = one

    made = np.convolve(one, far)

    k = np.arange(len(made)) - len(made) // 2
    expected = np.exp(-(k**2) / (2 * spread**2 * (1 + factor**2)))
    np.testing.assert_allclose(made, expected / expected.sum(), atol=1e-15)
