import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_split.aggregation import fixed_point
from keras_split.aggregation.fixed_point import FixedPoint
from keras_split.errors import OptionError
from keras_split.errors import QuantizationError

LIMITS = {32: 16.0, 64: 1048576.0}


def added(values, bits):
    """What the phones' integers add up to, and how they were written."""
    form = FixedPoint.of(
        bits, [fixed_point.exponent(w, bits) for _, w in values]
    )
    dtype = f"uint{bits}"
    total = np.zeros(values[0][0].size + 1, dtype)
    for vector, weight in values:
        encoded = form.encode(vector, weight)
        assert encoded.dtype == dtype
        total += encoded
    return total, form


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), bits=st.sampled_from([32, 64]))
def test_a_mean_is_within_the_stated_error(data, bits):
    limit = LIMITS[bits]
    number = st.floats(-limit, limit, width=32)
    weight = st.one_of(st.integers(0, 60_000), st.floats(0.01, 1000.0))
    phones = data.draw(st.integers(1, 8))
    values = [
        (
            np.array(data.draw(st.lists(number, min_size=3, max_size=3)), "f4"),
            data.draw(weight),
        )
        for _ in range(phones)
    ]
    weights = np.array([w for _, w in values], np.float64)
    if weights.sum() == 0:
        return
    expected = sum(v.astype("f8") * w for v, w in values) / weights.sum()

    total, form = added(values, bits)
    mean, weight = form.decode(total)

    error = form.error(phones, weights.sum(), expected)
    assert mean.dtype == np.float32
    assert (np.abs(mean - expected) <= error).all()
    rounded = phones * 2.0 ** -(form.fraction + 1)
    assert abs(weight - weights.sum()) <= rounded + 1e-9


@pytest.mark.parametrize(("bits", "stated"), [(32, 3e-8), (64, 2e-12)])
@pytest.mark.parametrize("phones", [1, 3, 10, 50])
@pytest.mark.parametrize("weight", [1, 600, 20_000])
def test_the_error_is_what_the_docs_say(bits, stated, phones, weight):
    form = FixedPoint.of(bits, [fixed_point.exponent(weight, bits)] * phones)

    error = form.error(phones, weight * phones, np.zeros(1))

    assert error <= phones * stated


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("phones", [1, 2, 7, 8])
@pytest.mark.parametrize("weight", [1, 3, 4096, 2**20])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_greatest_numbers_of_all_do_not_wrap(bits, phones, weight, sign):
    vector = np.full(2, sign * LIMITS[bits], np.float32)

    total, form = added([(vector, weight)] * phones, bits)

    mean, weight_of_all = form.decode(total)
    assert (mean == vector).all()
    assert weight_of_all == weight * phones


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan, "more"])
def test_a_number_that_does_not_fit_is_refused(bits, wrong):
    more = np.nextafter(np.float32(LIMITS[bits]), np.float32(np.inf))
    vector = np.array([0.0, more if wrong == "more" else wrong], np.float32)
    form = FixedPoint.of(bits, [0])

    with pytest.raises(QuantizationError, match="Expected numbers from -"):
        form.encode(vector, 1.0)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), 2.0**31])
def test_a_weight_that_does_not_fit_is_refused(bits, weight):
    with pytest.raises(QuantizationError, match="Expected a weight from 0"):
        fixed_point.exponent(weight, bits)


def test_phones_with_too_many_examples_are_refused_and_told_what_fits():
    with pytest.raises(QuantizationError, match="67,108,864 examples") as told:
        FixedPoint.of(32, [20] * 65)

    assert "64 bits" in str(told.value)
    assert FixedPoint.of(32, [20] * 64).fraction == 0


def test_an_exponent_is_the_least_that_holds_the_weight():
    weights = [0, 0.25, 1, 2, 3, 4, 5, 600, 1024, 1025]

    found = [fixed_point.exponent(weight, 64) for weight in weights]

    assert found == [0, 0, 0, 1, 2, 2, 3, 10, 10, 11]


def test_those_who_only_listen_have_a_mean_of_zeros():
    total, form = added([(np.ones(3, np.float32), 0)] * 3, 64)

    mean, weight = form.decode(total)

    assert weight == 0 and not mean.any() and mean.shape == (3,)


def test_other_bits_are_refused():
    with pytest.raises(OptionError, match="32 or 64 bits"):
        FixedPoint.of(16, [0])
