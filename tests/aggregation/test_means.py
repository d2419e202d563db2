import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_split.aggregation.means import Mean
from keras_split.aggregation.means import clipped
from keras_split.aggregation.means import left_out
from keras_split.aggregation.means import median
from keras_split.aggregation.means import trimmed_mean
from keras_split.aggregation.means import weighted_mean
from keras_split.errors import OptionError

NUMBERS = st.floats(-1e6, 1e6, width=32)
STACKS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 5)),
    elements=NUMBERS,
)
KINDS = [Mean("mean"), Mean("median"), Mean("trimmed-mean", 0.2)]


@pytest.mark.parametrize("mean", KINDS, ids=lambda mean: mean.kind)
@given(stack=STACKS)
def test_a_mean_lies_between_the_smallest_and_the_largest(mean, stack):
    made = mean.of(list(stack), [1.0] * len(stack))

    assert made.dtype == np.float32
    assert (made >= stack.min(axis=0)).all()
    assert (made <= stack.max(axis=0)).all()


@pytest.mark.parametrize("mean", KINDS, ids=lambda mean: mean.kind)
@given(vector=arrays.arrays(np.float32, 3, elements=NUMBERS))
def test_one_vector_is_its_own_mean_bit_for_bit(mean, vector):
    made = mean.of([vector, vector + 1], [7.0, 0.0])  # the other one listens

    assert made.tobytes() == vector.tobytes()
    assert made is not vector


@pytest.mark.parametrize("mean", KINDS, ids=lambda mean: mean.kind)
def test_who_has_no_examples_changes_nothing(mean):
    vectors = [np.ones(3, np.float32), np.full(3, 9, np.float32)]

    np.testing.assert_array_equal(mean.of(vectors, [0, 0]), np.zeros(3))


@given(stack=STACKS, data=st.data())
def test_examples_weigh_as_if_each_was_a_phone(stack, data):
    counts = st.integers(1, 5)
    weights = data.draw(
        st.lists(counts, min_size=len(stack), max_size=len(stack))
    )

    made = weighted_mean(list(stack), weights)

    each = np.repeat(stack, weights, axis=0).astype(np.float64)
    bound = 1e-6 * np.abs(stack).max() + 1e-30
    np.testing.assert_allclose(made, each.mean(axis=0), atol=bound)


@pytest.mark.parametrize("bears", [median, lambda v: trimmed_mean(v, 0.3)])
@given(stack=STACKS, lie=st.sampled_from([-3e38, 3e38]), data=st.data())
def test_liars_cannot_lead_out_of_what_honest_phones_say(
    bears, stack, lie, data
):
    most = left_out(len(stack), 0.3)
    liars = data.draw(st.integers(0, most))
    lying = stack.copy()
    lying[:liars] = lie

    made = bears(list(lying))

    honest = stack[liars:]
    assert (made >= honest.min(axis=0)).all()
    assert (made <= honest.max(axis=0)).all()


def test_a_trimmed_mean_of_few_phones_leaves_out_one_at_either_end():
    vectors = [np.array([value]) for value in (1.0, 2.0, -1e9)]

    assert trimmed_mean(vectors, 0.1) == [1.0]
    assert trimmed_mean(vectors, 0.0) == pytest.approx(-1e9 / 3, rel=1e-6)


@given(
    vector=arrays.arrays(np.float32, 4, elements=NUMBERS),
    max_norm=st.floats(0.01, 100),
)
def test_a_clipped_vector_is_short_and_points_the_same_way(vector, max_norm):
    made = clipped(vector, max_norm)

    norm = np.linalg.norm(vector.astype(float))
    if norm <= max_norm:
        assert made is vector
        return
    assert np.linalg.norm(made.astype(float)) <= max_norm * (1 + 1e-6)
    np.testing.assert_allclose(
        made, vector.astype(float) / norm * max_norm, rtol=1e-5, atol=1e-30
    )


def test_vectors_of_many_blocks_are_as_those_of_one():
    stack = np.random.default_rng(1).normal(size=(3, 50_000))

    np.testing.assert_array_equal(median(list(stack)), np.median(stack, 0))
    np.testing.assert_allclose(
        trimmed_mean(list(stack), 0.3), np.sort(stack, 0)[1]
    )


def test_another_mean_is_refused():
    with pytest.raises(OptionError, match="Received: 'mode'"):
        Mean("mode")
