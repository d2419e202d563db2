"""Noise of whole numbers, whose distribution is known exactly.

Noise in floats is a differential privacy on paper alone: what a sum of floats
can and cannot be, tells what was added to (Mironov, "On Significance of the
Least Significant Bits for Differential Privacy", 2012). Whole numbers, added
to whole numbers, are what the proofs are about.

Each draw is made of two, of tables of 4096 entries, for the long range and
for the short one, so that a standard deviation has thousands of steps.
"""

import decimal
import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from decimal import Decimal

import tensorflow as tf

from keras_split.defenses.alias import SIZE
from keras_split.defenses.alias import Alias
from keras_split.defenses.key import Key

HALF = SIZE // 2
WORDS = 4  # of randomness for a number

# Of a Gaussian: the standard deviation of each table, and by what the numbers
# of the long range are multiplied.
TABLE = 170
FACTOR = 64
STEPS = TABLE * math.sqrt(1 + FACTOR**2)  # one standard deviation of the sum

# Of a Laplace: numbers of the short range, and its scale.
SHORT = 1024
SCALE = 16384

# How far a draw is from the distribution that is named, in total variation.
# A table's probabilities are rounded to multiples of 2**-64, 4096 times by
# half of one at most, and the largest makes up for all of them: 2**-53. There
# are two, and what else is left out is below 2**-100.
DISTANCE = 2.0**-51


def gaussian(key: Key, shape: Sequence[int]) -> tf.Tensor:
    """Numbers of a discrete Gaussian of standard deviation `STEPS`.

    `P(k) ~ exp(-k**2 / (2 * STEPS**2))` (Canonne, Kamath and Steinke, "The
    Discrete Gaussian for Differential Privacy", 2020). Of numbers x and y out
    of one with standard deviation s, `x + m y` is of one with
    `s sqrt(1 + m**2)`: completing the square in y, what remains to be summed
    is a Gaussian of standard deviation `s / sqrt(1 + m**2)` over the whole
    numbers, shifted. Here that is 2.66, whose sum depends on the shift by
    `2 exp(-2 pi**2 2.66**2)`, or 1e-60, of it.

    Args:
        key: What to draw from.
        shape: Of one example, static.

    Returns:
        Whole numbers, float32, shape `(batch, *shape)`, below 2**18.
    """
    table = _gaussian_table()
    one, two = _both(key, shape, table, table)
    return (two - HALF) * float(FACTOR) + (one - HALF)


def laplace(key: Key, shape: Sequence[int]) -> tf.Tensor:
    """Numbers of a Laplace distribution of scale `SCALE`, rounded down.

    Magnitudes of a geometric distribution have independent digits: the long
    range with its sign, and the short one, which runs the other way below
    zero. What can be said of the privacy of Laplace noise holds for these:
    whole numbers, to which it is added, may be added before it is rounded
    down as well as behind.

    Args:
        key: What to draw from.
        shape: Of one example, static.

    Returns:
        Whole numbers, float32, shape `(batch, *shape)`, below 2**22.
    """
    one, two = _both(key, shape, *_laplace_tables())
    two -= HALF
    return two * float(SHORT) + tf.where(two < 0, SHORT - 1 - one, one)


def _both(
    key: Key, shape: Sequence[int], one: Alias, two: Alias
) -> tuple[tf.Tensor, tf.Tensor]:
    """A number from each table, float32."""
    count = math.prod(shape)
    words = key.words(WORDS * count)
    a, b, c, d = (words[:, i * count : (i + 1) * count] for i in range(WORDS))
    first, second = one.draw(a, b), two.draw(c, d)
    return (
        tf.reshape(tf.cast(first, tf.float32), (-1, *shape)),
        tf.reshape(tf.cast(second, tf.float32), (-1, *shape)),
    )


@functools.cache
def _gaussian_table() -> Alias:
    return Alias.of(
        weights(lambda i: Decimal(-((i - HALF) ** 2)) / 2 / TABLE**2)
    )


@functools.cache
def _laplace_tables() -> tuple[Alias, Alias]:
    def long(i: int) -> Decimal:
        h = i - HALF
        return Decimal(-SHORT * (h if h >= 0 else -1 - h)) / SCALE

    short = weights(lambda i: Decimal(-i) / SCALE, SHORT)
    return Alias.of(short), Alias.of(weights(long))


def weights(exponent: Callable[[int], Decimal], count: int = SIZE) -> list[int]:
    """4096 integers, near to `exp(exponent(i))`, whose sum is 2**64.

    In decimals, whose functions are the same on every machine.

    Args:
        exponent: Of each entry.
        count: How many entries are not 0.
    """
    with decimal.localcontext(prec=50):
        exact = [exponent(i).exp() for i in range(count)]
        total = sum(exact)
        found = [int((e / total * 2**64).to_integral_value()) for e in exact]
    found[found.index(max(found))] += 2**64 - sum(found)
    return found + [0] * (SIZE - count)
