import pytest
import tensorflow as tf

from keras_split.training.known_batch import KnownBatch


def test_the_first_size_is_known_and_no_other():
    known = KnownBatch()

    assert [known(size) for size in (8, 2, 6, 8)] == [8, None, None, 8]


def test_nothing_is_known_after_data_whose_batches_vary():
    known = KnownBatch()

    assert [known(size) for size in (None, 8, 2)] == [None, None, None]


@pytest.mark.parametrize("sizes", [(8, 2, 6, 8), (3, 3, 1, 3), (5, 6, 6, 5)])
def test_it_is_what_a_compiled_step_knows(sizes):
    seen = []
    step = tf.function(lambda x: seen.append(x.shape[0]), reduce_retracing=True)
    known = KnownBatch()

    answers = []
    for size in sizes:
        step(tf.zeros((size, 4)))
        answers.append(known(size))

    assert list(dict.fromkeys(answers)) == seen
