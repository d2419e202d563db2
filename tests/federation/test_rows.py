import numpy as np
import pytest
import tensorflow as tf

from keras_split.errors import OptionError
from keras_split.federation.rows import Rows


def test_examples_come_out_in_the_order_in_which_they_went_in():
    rows = Rows()
    for start in (0, 4, 8):
        x = np.arange(start, start + 4)
        rows.add(({"a": x, "b": x[:, None]}, x + 1, None))

    x, y, weights = rows.take(6)
    rest = rows.take(9)

    assert x["a"].numpy().tolist() == list(range(6))
    assert x["b"].shape == (6, 1) and weights is None
    assert rest[1].numpy().tolist() == list(range(7, 13))
    assert len(rows) == 0


def test_what_was_not_trained_with_stands_in_front_again():
    rows = Rows()
    rows.add((np.arange(4),))
    rows.add((np.arange(4, 8),))

    taken = rows.take(5)
    rows.put_back(taken)

    assert len(rows) == 8
    assert rows.take(8)[0].numpy().tolist() == list(range(8))


def test_ragged_tensors_are_refused():
    with pytest.raises(OptionError, match="RaggedTensor"):
        Rows().add(tf.ragged.constant([[1], [2, 3]]))
