import numpy as np
import pytest

from keras_split.compression import formats
from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import ProtocolError
from keras_split.protocol import gradient_norm
from tests import links

SPECS = (TensorSpec("a", (4, 3)), TensorSpec("b", (7,)))


def gradients(rule):
    return links.tensors(SPECS, rule, size=5)


def norm(tensors, rule):
    arrays = CutCodec(SPECS, rule).read(tensors)
    return np.sqrt(sum(np.square(a, dtype="float64").sum() for a in arrays))


@pytest.mark.parametrize("granularity", ["tensor", "example", "channel"])
@pytest.mark.parametrize("dtype", formats.names())
def test_no_norm_is_above_its_bound(dtype, granularity):
    rule = Rule(dtype, granularity)
    tensors = gradients(rule)

    bound, exact = gradient_norm.bound(tensors, rule), norm(tensors, rule)

    assert exact <= bound * (1 + 1e-6)
    if not rule.has_scales:
        assert bound == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("dtype", formats.names())
@pytest.mark.parametrize("value", [3.0, -3.0])
def test_no_norm_is_above_its_bound_where_each_value_is_the_largest(
    dtype, value
):
    rule = Rule(dtype)
    tensors = links.tensors(SPECS, rule, size=5, value=value)

    assert norm(tensors, rule) <= gradient_norm.bound(tensors, rule) * (
        1 + 1e-6
    )


@pytest.mark.parametrize("granularity", ["tensor", "example", "channel"])
@pytest.mark.parametrize("dtype", formats.names())
def test_scaled_gradients_are_the_same_but_smaller(dtype, granularity):
    rule = Rule(dtype, granularity)
    crossing, tensors = CutCodec(SPECS, rule), gradients(rule)

    made = crossing.read(gradient_norm.scaled(tensors, 0.25, rule))

    for one, other in zip(made, crossing.read(tensors), strict=True):
        np.testing.assert_allclose(one, other / 4, rtol=1e-2, atol=1e-3)


def test_of_blocks_the_values_that_cross_count():
    rule = Rule("int8", block=4, known=True)
    tensors = gradients(rule)

    assert [a.shape for a in CutCodec(SPECS, rule).read(tensors)] == [
        (5, 3),
        (5, 2),
    ]
    assert 0 < norm(tensors, rule) <= gradient_norm.bound(tensors, rule)


def test_a_norm_over_the_limit_is_refused():
    with pytest.raises(ProtocolError, match="at most 10. Received: 11") as info:
        gradient_norm.check_norm(11, 10)

    assert info.value.reason == "norm"
    gradient_norm.check_norm(10, 10)
