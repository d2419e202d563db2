import numpy as np
import pytest
import tensorflow as tf

from keras_split.compression import topk
from keras_split.compression.layers import CutQuantizer
from keras_split.compression.quantize import QuantizedTensor
from keras_split.compression.quantize import dequantize
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import BLOCKS
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.topk import positions_of
from keras_split.errors import QuantizationError
from tests.compression.test_quantize import converted

SHAPE = (5, 7, 6)


def batch(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, *shape)).astype(np.float32)


def by_hand(x, block):
    """Positions and values of the largest of each block, with NumPy."""
    flat = x.reshape(len(x), -1)
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % block)))
    found = flat.reshape(len(x), -1, block)
    positions = np.abs(found).argmax(axis=2)
    values = np.take_along_axis(found, positions[..., None], axis=2)
    return positions, values[..., 0]


@pytest.mark.parametrize("block", BLOCKS[1:])
@pytest.mark.parametrize("dtype", ["int8", "int4", "int2"])
def test_the_largest_of_each_block_crosses(dtype, block):
    rule, x = Rule(dtype, block=block), batch()
    positions, values = by_hand(x, block)

    quantized = quantize(x, rule)

    np.testing.assert_array_equal(
        positions_of(quantized.codes, rule, SHAPE), positions
    )
    expected = np.zeros((*positions.shape, block), np.float32)
    rounded = simulate(tf.constant(values), Rule(dtype)).numpy()
    np.put_along_axis(expected, positions[..., None], rounded[..., None], 2)
    expected = expected.reshape(len(x), -1)[:, : x[0].size]
    np.testing.assert_array_equal(
        dequantize(quantized, rule, SHAPE), expected.reshape(x.shape)
    )


@pytest.mark.parametrize("block", BLOCKS[1:])
def test_a_rule_counts_the_bytes_that_really_cross(block):
    sent, known = (
        Rule("int4", block=block),
        Rule("int2", block=block, known=True),
    )

    there = quantize(batch(), sent)
    back = quantize(batch(), known, positions_of(there.codes, sent, SHAPE))

    for rule, quantized in ((sent, there), (known, back)):
        codes, scales = quantized.codes.numpy(), quantized.scales.numpy()
        assert codes.shape == (3, rule.codes_per_example(SHAPE))
        assert codes.nbytes + scales.nbytes == rule.nbytes(3, SHAPE)


def test_one_of_sixteen_at_four_bits_is_sixty_four_times_less():
    rules = Quantization("int4", "int4", block=16)

    shape = (8, 8, 64)
    assert rules.activations.codes_per_example(shape) == 4096 * 8 // 16 // 8
    assert rules.gradients.codes_per_example(shape) == 4096 * 4 // 16 // 8


def test_the_first_of_equals_is_taken():
    x = tf.constant([[0.0, 2.0, -2.0, 2.0, 0.0, 0.0, 0.0, 0.0]])

    assert topk.largest(topk.split(x, 4)).numpy().tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_gradients_come_back_to_the_values_that_crossed(dtype):
    sent, known = Rule("int8", block=8), Rule(dtype, block=8, known=True)
    x, gradient = batch(), batch(1)
    positions = positions_of(quantize(x, sent).codes, sent, SHAPE)

    back = simulate(tf.constant(gradient), known, positions).numpy()

    crossed = by_hand(x, 8)[0]
    mask = np.zeros((*crossed.shape, 8), bool)
    np.put_along_axis(mask, crossed[..., None], True, 2)
    mask = mask.reshape(3, -1)[:, : x[0].size].reshape(x.shape)
    assert not back[~mask].any()
    assert np.abs(back - gradient)[mask].max() < 0.03


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_visible(value):
    x = batch()
    x[1, 2, 3, 4] = value

    assert not np.isfinite(simulate(x, Rule("int4", block=16))).all()


def test_any_bytes_of_the_right_shape_dequantize():
    rule = Rule("int4", block=32)
    rng = np.random.default_rng(0)
    width = rule.codes_per_example(SHAPE)
    codes = tf.constant(rng.integers(0, 256, (4, width)), tf.uint8)
    scales = tf.constant([[1.0, 3.0]] * 4)

    x = dequantize(QuantizedTensor(codes, scales), rule, SHAPE).numpy()

    assert x.shape == (4, *SHAPE)
    assert set(np.unique(x)) <= set(range(-3, 13))


@pytest.mark.parametrize(
    "rule",
    [Rule("int8", block=2), Rule("int4", block=16), Rule("int2", block=8)],
)
def test_litert_gives_the_same_bits_with_builtin_operations(rule):
    known = Rule("int4", block=rule.block, known=True)

    def step(x, g):
        there = quantize(x, rule)
        positions = positions_of(there.codes, rule, SHAPE)
        back = quantize(g, known, positions)
        return {
            "codes": there.codes,
            "scales": there.scales,
            "seen": dequantize(there, rule, SHAPE),
            "codes_back": back.codes,
            "scales_back": back.scales,
            "seen_back": dequantize(back, known, SHAPE, positions=positions),
        }

    spec = (3, *SHAPE)
    phone, operations = converted(
        step, tf.TensorSpec(spec, name="x"), tf.TensorSpec(spec, name="g")
    )

    assert not any(o.startswith(("Flex", "CUSTOM")) for o in operations)
    for seed in range(3):
        x, g = batch(seed), batch(seed + 9)
        x[0, 0], x[2] = 0.5, 0  # equals, and nothing at all
        actual = phone(x=x, g=g)
        for key, expected in step(tf.constant(x), tf.constant(g)).items():
            assert actual[key].tobytes() == expected.numpy().tobytes(), key


def test_the_layer_passes_the_gradient_of_what_crossed_alone():
    rules = Quantization("int8", "float32", block=4)
    x = tf.constant(batch())

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = CutQuantizer(rules)(x)
        loss = tf.reduce_sum(y * batch(1))
    found = tape.gradient(loss, x).numpy()

    crossed = y.numpy() != 0
    np.testing.assert_array_equal(found[crossed], batch(1)[crossed])
    assert np.count_nonzero(found) <= -(-x[0].numpy().size // 4) * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule("int8", block=3), "2, 4"),
        (lambda: Rule("int8", block=512), "256"),
        (lambda: Rule("float16", block=4), "int4"),
        (lambda: Rule("int8", "channel", block=4), "channel"),
        (lambda: Quantization("float32", block=4), "int4"),
    ],
)
def test_blocks_that_do_not_exist_are_refused(make, message):
    with pytest.raises(QuantizationError, match=message) as caught:
        make()

    assert "Received" in str(caught.value)


def test_positions_are_asked_for_where_they_are_known():
    with pytest.raises(QuantizationError, match="positions"):
        quantize(batch(), Rule("int8", block=4, known=True))
    with pytest.raises(QuantizationError, match="positions"):
        quantize(batch(), Rule("int8", block=4), tf.zeros((3, 53), tf.int32))
