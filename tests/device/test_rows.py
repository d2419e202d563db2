import numpy as np

from keras_split.device.batch import Batch
from keras_split.device.rows import Rows


def batches(*sizes):
    """Batches of the numbers from 0 on, with rows that fill up behind."""
    first = 0
    for size in sizes:
        x = np.arange(first, first + size)
        first += size
        yield Batch(size, {"x_0": np.append(x, [-1]), "count": np.int32(size)})


def values(batch):
    assert batch.tensors["count"] == batch.count
    return batch.tensors["x_0"].tolist()


def test_any_number_of_examples_is_taken_in_order():
    rows = Rows(batches(4, 4, 1), 6, 9)

    assert values(rows.take(3)) == [0, 1, 2, 0, 0, 0]  # filled up
    assert values(rows.take(6)) == [3, 4, 5, 6, 7, 8]
    assert rows.take(1) is None


def test_what_was_put_back_comes_next():
    rows = Rows(batches(4, 4), 4, 8)

    rows.put_back(rows.take(3))

    assert rows.left() == 8
    assert values(rows.take(4)) == [0, 1, 2, 3]


def test_batches_are_read_when_they_are_needed():
    read = []
    rows = Rows((read.append(b) or b for b in batches(2, 2, 2)), 4, 6)

    rows.take(3)

    assert len(read) == 2 and rows.left() == 3


def test_more_examples_than_were_said_are_left_all_the_same():
    rows = Rows(batches(4, 4), 4, 3)

    rows.take(3)
    assert rows.left() == 1
    rows.take(1)

    assert rows.left() == 4 and rows.take(4).count == 4
    assert rows.left() == 0


def test_fewer_examples_than_were_said_are_all_there_are():
    rows = Rows(batches(3), 4, 9)

    assert rows.left() == 9
    assert rows.take(4).count == 3 and rows.left() == 0
