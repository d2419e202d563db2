"""Tables whose probabilities are exact."""

import numpy as np
import tensorflow as tf

from keras_split.defenses.alias import SIZE
from keras_split.defenses.alias import Alias


def probabilities(table):
    """Of each number, in parts of 2**64."""
    limits = table.high.astype(object) * 2**32 + table.low + 2**31
    found = [int(limit) for limit in limits]
    for entry, limit in enumerate(limits):
        found[table.other[entry]] += 2**52 - int(limit)
    return found


def test_a_table_has_the_weights_it_was_made_of():
    rng = np.random.default_rng(0)
    weights = [int(w) for w in rng.integers(0, 2**52, SIZE) ** 2 // 2**51]
    weights[7] = 0
    weights[100] += 2**64 - sum(weights)

    assert probabilities(Alias.of(weights)) == weights


def test_words_at_a_limit_are_told_apart():
    weights = [2**52] * SIZE
    weights[0], weights[1] = 2**52 - 2**31 - 5, 2**52 + 2**31 + 5
    table = Alias.of(weights)
    # Entry 0, the last 52 bits one below the limit, at it, and above it.
    low = np.array([2**31 - 6, 2**31 - 5, 2**31 - 4], np.uint32) - 2**31
    two = tf.constant(low.view(np.int32))

    found = table.draw(tf.fill((3,), 2**20 - 1), two).numpy()

    other = table.other[0]
    assert other and found.tolist() == [0, other, other]
