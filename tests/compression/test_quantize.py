import itertools

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_split.compression.quantize import QuantizedTensor
from keras_split.compression.quantize import dequantize
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import GRANULARITIES
from keras_split.compression.rules import ROUNDINGS
from keras_split.compression.rules import Rule
from keras_split.errors import QuantizationError

INTEGERS = [
    Rule(*settings)
    for settings in itertools.product(
        ("int8", "int4", "int2"), GRANULARITIES, ROUNDINGS
    )
]
FLOATS = [Rule("float32"), Rule("float16"), Rule("bfloat16")]
FLOAT8 = [Rule("float8_e4m3", granularity) for granularity in GRANULARITIES]
RULES = FLOATS + FLOAT8 + INTEGERS

# Every level of each of the three with every level of each other.
PAIRS = [
    Rule(dtype, GRANULARITIES[i], ROUNDINGS[(i + j) % 2])
    for j, dtype in enumerate(("int8", "int4", "int2"))
    for i in range(len(GRANULARITIES))
]

few = settings(max_examples=25, deadline=None)
very_few = settings(max_examples=8, deadline=None)  # for each of many rules


def name(rule):
    if not rule.has_scales:
        return rule.dtype
    return f"{rule.dtype}-{rule.granularity}-{rule.rounding}"


every_rule = pytest.mark.parametrize("rule", RULES, ids=name)


def but_few_long(rules, *more):
    """Parameters: a graph or a file of each rule takes half a second."""
    few = [*FLOATS, FLOAT8[0], *PAIRS[::4]]  # each level of each once
    return [
        pytest.param(
            rule,
            *more,
            id=name(rule) + "".join(f"-{value}" for value in more),
            marks=[] if rule in few else [pytest.mark.slow, pytest.mark.long],
        )
        for rule in rules
    ]


every_integer_rule = pytest.mark.parametrize("rule", INTEGERS, ids=name)


@st.composite
def batches(draw, limit=1e30):
    """Arrays (batch, ...) of float32, of which many values are special."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=6))
    size = draw(st.sampled_from([1e-25, 1e-3, 1.0, 6.0, 300.0, limit]))
    size = float(np.float32(size))
    values = st.floats(-size, size, width=32, allow_subnormal=True)
    x = draw(hnp.arrays(np.float32, shape, elements=values))
    if draw(st.booleans()):
        x = np.maximum(x, 0)  # as after a ReLU
    return x


def random_batches():
    """A few fixed batches (4, 5, 7, 6) of very different sizes and kinds."""
    rng = np.random.default_rng(0)
    for size in (1.0, 1e-6, 1e6, 1e-35, 1e25):
        x = (rng.normal(size=(4, 5, 7, 6)) * size).astype(np.float32)
        yield x
        yield np.maximum(x, 0)
        x[1] = 0
        x[:, :, :, 2] = 0
        yield -np.abs(x)
    yield np.clip(rng.normal(size=(4, 5, 7, 6)) * 6, 0, 6).astype(np.float32)
    # Halves and quarters of a step: ties everywhere.
    x = rng.integers(-510, 511, size=(4, 5, 7, 6)).astype(np.float32) / 4
    x[:, 0, 0] = 127.5
    x[:, 0, 1] = -127.5
    yield x


def damaged_batches():
    """Batches (2, 3, 4, 5) with one value that is not finite."""
    rng = np.random.default_rng(0)
    bad_values = (np.nan, np.inf, -np.inf)
    for bad, position in itertools.product(bad_values, (0, 17, 59)):
        x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
        x[1].reshape(-1)[position] = bad
        yield x


def parts(quantized):
    return [part for part in quantized if part is not None]


def assert_same_bits(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        a, e = np.asarray(a), np.asarray(e)
        assert a.dtype == e.dtype
        assert a.shape == e.shape
        assert a.tobytes() == e.tobytes()


def unpacked(codes, bits, elements):
    """The codes as the wire's documentation describes them, in NumPy."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (codes[:, :, np.newaxis] >> shifts) & (2**bits - 1)
    codes = codes.reshape(len(codes), -1)
    assert not codes[:, elements:].any()
    return codes[:, :elements]


def scale_of_each_value(x, scales, rule):
    """`scales[:, 0]`, broadcast to the shape of `x`."""
    scale = scales[:, 0].astype(np.float64)
    if rule.granularity == "example":
        scale = scale.reshape(-1, *[1] * (x.ndim - 1))
    return np.broadcast_to(scale, x.shape)


@every_integer_rule
@given(x=batches())
@very_few
def test_the_error_stays_below_the_promised_bound(rule, x):
    quantized = quantize(x, rule)

    values = dequantize(quantized, rule, x.shape[1:]).numpy()

    scale = scale_of_each_value(x, quantized.scales.numpy(), rule)
    step = 0.5 if rule.rounding == "nearest" else 1.0
    span = scale * (2**rule.bits - 1)
    assert (
        np.abs(values - x.astype(np.float64)) <= scale * step + span * 2**-21
    ).all()


@every_rule
@given(x=batches())
@very_few
def test_a_rule_counts_the_bytes_that_really_cross(rule, x):
    quantized = quantize(x, rule)

    nbytes = sum(part.numpy().nbytes for part in parts(quantized))

    assert nbytes == rule.nbytes(len(x), x.shape[1:])
    assert quantized.codes.dtype == rule.code_dtype
    assert quantized.codes.shape == (
        len(x),
        rule.codes_per_example(x.shape[1:]),
    )


@every_rule
@given(x=batches())
@very_few
def test_zero_is_exact(rule, x):
    values = simulate(x, rule).numpy()

    assert not values[x == 0].any()


@every_rule
def test_an_all_zero_group_stays_zero(rule):
    x = np.zeros((2, 3, 5), np.float32)
    x[1, :, 1:] = 3.0

    values = simulate(x, rule).numpy()

    assert not values[0].any()
    assert not values[:, :, 0].any()
    assert np.isfinite(values).all()


@pytest.mark.parametrize("dtype", ["int8", "int4", "int2"])
@given(x=batches())
@few
def test_codes_are_those_of_the_formula(dtype, x):
    rule = Rule(dtype)
    rows = x.reshape(len(x), -1)
    lo = np.minimum(rows.min(1, keepdims=True), 0)
    hi = np.maximum(rows.max(1, keepdims=True), 0)
    levels = np.float32(2**rule.bits - 1)
    scale = np.maximum((hi - lo) * (1 / levels), np.float32(2.0**-100))
    zero_point = np.rint(np.abs(lo) / scale)
    expected = np.minimum(np.rint(rows / scale) + zero_point, levels)

    codes, scales = (part.numpy() for part in quantize(x, rule))

    codes = unpacked(codes, rule.bits, rows.shape[1])
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(scales, np.hstack([scale, zero_point]))


@pytest.mark.parametrize(
    ("dtype", "packed"),
    [
        ("int4", [0 + 15 * 16, 7 + 3 * 16, 9]),
        ("int2", [0 + 3 * 4 + 1 * 16 + 1 * 64, 2]),
    ],
)
def test_the_first_code_sits_in_the_low_bits_and_the_end_is_zero(dtype, packed):
    x = np.array([[0.0, 15.0, 7.0, 3.0, 9.0]], np.float32)

    codes = quantize(x, Rule(dtype)).codes.numpy()

    if dtype == "int2":  # a step of 5: 0, 3, 1.4, 0.6, 1.8
        assert unpacked(codes, 2, 5).tolist() == [[0, 3, 1, 1, 2]]
    assert codes.tolist() == [packed]


@every_integer_rule
@given(data=st.data())
@very_few
def test_any_bytes_of_the_right_shape_dequantize_to_their_codes(rule, data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
    elements = int(np.prod(shape))
    codes = data.draw(hnp.arrays(np.uint8, (2, rule.codes_per_example(shape))))
    rows = rule.scale_rows(2, shape)
    scales = np.tile(np.array([[0.5, 1.0]], np.float32), (rows, 1))

    values = dequantize(
        QuantizedTensor(tf.constant(codes), tf.constant(scales)), rule, shape
    )

    shifts = np.arange(0, 8, rule.bits, dtype=np.uint8)
    expected = (codes[:, :, np.newaxis] >> shifts) & (2**rule.bits - 1)
    expected = expected.reshape(2, -1)[:, :elements].reshape(2, *shape)
    np.testing.assert_array_equal(values, expected * 0.5 - 0.5)


def test_each_example_has_its_own_scale():
    x = np.array([[1.0, 0.5], [1000.0, 500.0]], np.float32)

    values = simulate(x, Rule("int8", "example")).numpy()

    np.testing.assert_allclose(values, x, rtol=0.004)


def test_each_channel_has_its_own_scale():
    x = np.array([[1.0, 1000.0], [0.5, 500.0]], np.float32)

    values = simulate(x, Rule("int8", "channel")).numpy()

    np.testing.assert_allclose(values, x, rtol=0.004)


def test_float32_is_untouched():
    x = tf.constant([[1e-42, -0.0, np.inf, 0.1]])

    quantized = quantize(x, Rule("float32"))

    assert quantized.codes.numpy().tobytes() == x.numpy().tobytes()
    assert quantized.scales is None
    assert simulate(x, Rule("float32")) is x


def test_float16_saturates_but_keeps_infinity():
    x = np.array([[70000.0, -1e38, 65504.0, np.inf, -np.inf]], np.float32)

    codes = quantize(x, Rule("float16")).codes.numpy()

    expected = [[65504.0, -65504.0, 65504.0, np.inf, -np.inf]]
    np.testing.assert_array_equal(codes, expected)


@given(batches(limit=60000.0))
@few
def test_float16_is_the_cast_of_numpy(x):
    codes = quantize(x, Rule("float16")).codes.numpy()

    expected = x.reshape(len(x), -1).astype(np.float16)
    assert codes.tobytes() == expected.tobytes()


@given(batches(limit=3e38))
@few
def test_bfloat16_rounds_the_upper_16_bits_to_nearest_even(x):
    codes = quantize(x, Rule("bfloat16")).codes.numpy()

    expected = x.reshape(len(x), -1).astype(ml_dtypes.bfloat16)
    assert codes.tobytes() == expected.tobytes()


@every_rule
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_simulate_is_quantize_and_dequantize(rule, dtype):
    # What is cast is rounded as float32 is: every third batch will do.
    step = 1 if dtype == "float32" else 3
    for x in itertools.islice(random_batches(), 0, None, step):
        x = tf.cast(np.clip(x, -6e4, 6e4), dtype)

        simulated = simulate(x, rule)

        there_and_back = dequantize(
            quantize(x, rule), rule, x.shape[1:], x.dtype
        )
        assert simulated.dtype == x.dtype
        assert_same_bits([simulated], [there_and_back])


@every_integer_rule
def test_a_float16_result_stays_finite(rule):
    x = tf.constant([[65504.0, -65504.0, 3.0]], tf.float16)

    assert np.isfinite(simulate(x, rule).numpy()).all()


@every_rule
def test_what_is_not_finite_stays_visible(rule):
    for x in damaged_batches():
        quantized = quantize(x, rule)

        assert not np.isfinite(simulate(x, rule).numpy()).all()
        if quantized.scales is not None:
            assert not np.isfinite(quantized.scales.numpy()).all()


@pytest.mark.parametrize("rule", but_few_long(RULES))
def test_a_graph_gives_the_bits_of_eager_code(rule):
    spec = tf.TensorSpec((None, 5, 7, 6))
    there = tf.function(lambda x: parts(quantize(x, rule)), [spec])
    both = tf.function(lambda x: simulate(x, rule), [spec])
    for x in random_batches():
        assert_same_bits(there(x), parts(quantize(x, rule)))
        assert_same_bits([both(x)], [simulate(x, rule)])


@pytest.mark.slow
@every_rule
def test_a_larger_graph_gives_the_same_bits(rule):
    rng = np.random.default_rng(0)
    kernel = tf.constant(rng.normal(size=(3, 3, 6, 4)), tf.float32)

    @tf.function
    def step(x):
        # What a graph optimizer likes to fold into its neighbours.
        activations = tf.nn.relu(tf.nn.conv2d(x * 0.3, kernel, 1, "SAME")) / 7
        quantized = quantize(activations, rule)
        values = dequantize(quantized, rule, (5, 7, 4))
        return activations, parts(quantized), values, values * 0.5 + 1.0

    for x in random_batches():
        activations, quantized, values, _ = step(x)

        assert_same_bits(quantized, parts(quantize(activations, rule)))
        assert_same_bits([values], [simulate(activations, rule)])


@pytest.mark.parametrize("rule", but_few_long(RULES))
def test_an_unknown_batch_keeps_the_static_shape(rule):
    @tf.function(input_signature=[tf.TensorSpec((None, 4, 3))])
    def step(x):
        quantized = quantize(x, rule)
        assert quantized.codes.shape[1] == rule.codes_per_example((4, 3))
        values = dequantize(quantized, rule, (4, 3))
        assert values.shape[1:] == simulate(x, rule).shape[1:] == (4, 3)
        return values

    assert step(tf.ones((2, 4, 3))).shape == (2, 4, 3)
    assert step(tf.ones((0, 4, 3))).shape == (0, 4, 3)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_stochastic_rounding_is_unbiased_where_nearest_is_not(granularity):
    x = np.full((4, 32, 32, 8), 0.3, np.float32)
    x[:, 0] = 255.0  # so that a step is 1

    nearest = simulate(x, Rule("int8", granularity)).numpy()
    rule = Rule("int8", granularity, "stochastic")
    stochastic = simulate(x, rule).numpy()

    assert not nearest[:, 1:].any()
    assert set(np.unique(stochastic[:, 1:])) == {0.0, 1.0}
    means = stochastic[:, 1:].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, 0.3, atol=0.003)


@every_integer_rule
def test_errors_cancel_over_many_values(rule):
    x = np.random.default_rng(0).normal(size=(8, 24, 24, 16))
    x = x.astype(np.float32)

    quantized = quantize(x, rule)
    values = dequantize(quantized, rule, x.shape[1:]).numpy()

    scale = scale_of_each_value(x, quantized.scales.numpy(), rule)
    error = (values - x) / scale
    # Four standard deviations of a mean of independent errors.
    assert abs(error.mean()) < 4 * 0.41 / np.sqrt(x.size)


def test_one_value_is_rounded_both_ways_as_its_neighbours_change():
    rng = np.random.default_rng(0)
    rule = Rule("int8", rounding="stochastic")
    x = rng.uniform(0, 6, size=(4000, 50)).astype(np.float32)
    x[:, 0], x[:, 1] = 6.0, 6.0 * 100.25 / 255

    values = simulate(x, rule).numpy()[:, 1]

    ups = (values > x[:, 1]).mean()
    assert abs(ups - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)


def test_stochastic_rounding_depends_on_the_tensor_and_on_nothing_else():
    rng = np.random.default_rng(0)
    rule = Rule("int8", rounding="stochastic")
    x = rng.uniform(0, 6, size=(2, 8, 8, 4)).astype(np.float32)
    x[1] = x[0]
    x[1, 3, 3, 3] = 0.1
    x[:, 0, 0, 0] = 6.0

    first = quantize(x, rule).codes.numpy()
    tf.random.set_seed(1)
    again = quantize(x, rule).codes.numpy()
    alone = quantize(x[1:], rule).codes.numpy()

    assert first.tobytes() == again.tobytes()
    assert first[1].tobytes() == alone[0].tobytes()
    assert (first[0] != first[1]).mean() > 0.02


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (tf.zeros((2, 3), tf.int32), "int32"),
        (tf.zeros(()), "static"),
        (tf.zeros((2, 0)), "static"),
    ],
)
def test_a_tensor_that_cannot_be_quantized_is_refused(x, message):
    with pytest.raises(QuantizationError, match=message):
        quantize(x, Rule("int8"))
    with pytest.raises(QuantizationError, match=message):
        simulate(x, Rule("int8"))


def test_an_unknown_axis_behind_the_batch_is_refused():
    # AutoGraph would wrap the error in one of its own.
    step = tf.function(
        lambda x: quantize(x, Rule("int8")).codes, autograph=False
    )

    with pytest.raises(QuantizationError, match="None"):
        step.get_concrete_function(tf.TensorSpec((2, None, 3)))


@pytest.mark.parametrize("given", RULES, ids=name)
def test_codes_of_another_rule_or_shape_are_refused(given):
    quantized = quantize(tf.ones((2, 12)), given)
    other = "int8" if given.bits != 8 else "int4"

    with pytest.raises(QuantizationError, match="Received"):
        dequantize(quantized, Rule(other), (12,))
    with pytest.raises(QuantizationError, match="Received"):
        dequantize(quantized, given, (100,))


def converted(function, *specs):
    """`function` as the phone runs it, and the names of its operations."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    graph = tf.function(function, autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [graph.get_concrete_function(*specs)], tf.Module()
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = litert.Interpreter(model_content=converter.convert())
    runner = interpreter.get_signature_runner()
    operations = {op["op_name"] for op in interpreter._get_ops_details()}
    return runner, operations


@pytest.mark.parametrize(
    ("rule", "shape"),
    but_few_long(FLOATS + FLOAT8 + PAIRS, (5, 7, 6))
    + but_few_long([r for r in RULES if r.granularity == "example"], (13,)),
)
def test_litert_gives_the_same_bits_with_builtin_operations(rule, shape):
    keys = ["codes", "scales"][: 2 if rule.has_scales else 1]

    def there(x):
        return dict(zip(keys, parts(quantize(x, rule)), strict=True))

    def back(codes, scales=None):
        values = dequantize(QuantizedTensor(codes, scales), rule, shape)
        return {"values": values}

    batches = [
        x.reshape(-1)[: 4 * np.prod(shape)].reshape(4, *shape)
        for x in random_batches()
    ]
    x = batches[0]
    specs = {
        key: tf.TensorSpec(part.shape, part.dtype, name=key)
        for key, part in there(x).items()
    }
    phone_there, operations = converted(there, tf.TensorSpec(x.shape, name="x"))
    phone_back, more_operations = converted(back, *specs.values())

    for operation in operations | more_operations:
        assert not operation.startswith(("Flex", "CUSTOM"))
    for x in batches:
        expected = there(x)
        actual = phone_there(x=x)
        assert_same_bits([actual[k] for k in keys], expected.values())
        values = phone_back(**actual)["values"]
        assert_same_bits([values], [simulate(x, rule)])


@pytest.mark.parametrize(
    "rule", INTEGERS[:2] + FLOAT8[1:] + FLOATS[1:], ids=name
)
def test_litert_gives_the_same_bits_behind_a_convolution(rule):
    rng = np.random.default_rng(0)
    kernel = tf.constant(rng.normal(size=(3, 3, 6, 4)), tf.float32)

    def step(x):
        activations = tf.nn.relu(tf.nn.conv2d(x * 0.3, kernel, 1, "SAME"))
        quantized = parts(quantize(activations, rule))
        return {"activations": activations} | {
            f"part_{i}": part for i, part in enumerate(quantized)
        }

    phone, _ = converted(step, tf.TensorSpec((4, 5, 7, 6), name="x"))

    for x in random_batches():
        actual = phone(x=x)
        expected = parts(quantize(actual.pop("activations"), rule))
        assert_same_bits([actual[k] for k in sorted(actual)], expected)


@pytest.mark.parametrize("rule", FLOATS + FLOAT8 + INTEGERS[:6], ids=name)
def test_litert_shows_what_is_not_finite(rule):
    phone, _ = converted(
        lambda x: {"values": simulate(x, rule)},
        tf.TensorSpec((2, 3, 4, 5), name="x"),
    )

    for x in damaged_batches():
        assert not np.isfinite(phone(x=x)["values"]).all()
