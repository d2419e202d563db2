"""A batch is cut into parts, and nothing of it is lost."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.training.slices import slices


@pytest.mark.parametrize(("size", "count"), [(8, 3), (3, 3), (7, 1)])
@pytest.mark.parametrize("known", [True, False])
def test_parts_make_the_batch_and_differ_by_one_at_most(size, count, known):
    x = tf.reshape(tf.range(size * 2), (size, 2))

    def cut(x):
        parts = slices(x, count)
        return [
            (part.of({"x": x, "y": None})["x"], part.first, part.share)
            for part in parts
        ]

    spec = tf.TensorSpec((size if known else None, 2), tf.int32)
    made = tf.function(cut, input_signature=[spec], autograph=False)(x)

    rows, firsts, shares = zip(*made, strict=True)
    np.testing.assert_array_equal(np.concatenate(rows), x)
    sizes = [len(part) for part in rows]
    assert max(sizes) - min(sizes) <= 1
    ends = np.cumsum([0, *sizes])
    assert [int(first) for first in firsts] == ends[:-1].tolist()
    np.testing.assert_allclose(shares, np.array(sizes) / size, rtol=1e-6)
