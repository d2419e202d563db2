"""Every format has everything: a new one is held to this list as it is."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_split.compression import codecs
from keras_split.compression import formats
from keras_split.compression.quantize import QuantizedTensor
from keras_split.compression.quantize import dequantize
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import GRANULARITIES
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import ProtocolError
from keras_split.errors import QuantizationError
from keras_split.protocol import gradient_norm
from keras_split.protocol import validation
from keras_split.protocol.messages import Forward
from keras_split.protocol.wire.convert import from_wire
from keras_split.protocol.wire.convert import to_wire
from tests.compression.formats.fixed16 import Fixed16
from tests.compression.formats.fixed16 import registered

SHAPE = (3, 5)
BATCH = 4
SPEC = TensorSpec("a", SHAPE)
NAMES = (*formats.names(), "fixed16")
every_format = pytest.mark.parametrize("name", NAMES)
every_rule = pytest.mark.parametrize(
    ("name", "granularity"),
    [(n, g) for n in NAMES for g in GRANULARITIES],
)


@pytest.fixture(autouse=True, scope="module")
def one_from_outside():
    with registered(Fixed16()) as format:
        yield format


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(BATCH, *SHAPE)).astype("float32") * 3


def made(x, rule):
    codes, scales = quantize(tf.constant(x), rule)
    scales = None if scales is None else scales.numpy()
    return CutTensor("a", x.shape, codes.numpy(), scales)


def values(tensor, rule):
    return rule.format.values(tensor.codes, tensor.scales, rule, SHAPE)


@every_rule
def test_values_come_back_and_the_two_implementations_agree(name, granularity):
    rule, x = Rule(name, granularity), numbers()

    tensor = made(x, rule)

    back = dequantize(
        QuantizedTensor(
            tf.constant(tensor.codes),
            None if tensor.scales is None else tf.constant(tensor.scales),
        ),
        rule,
        SHAPE,
    ).numpy()
    assert np.abs(back - x).max() <= np.ptp(x) / 6 * 1.001  # int2's half step
    assert simulate(tf.constant(x), rule).numpy().tobytes() == back.tobytes()
    in_numpy = values(tensor, rule)
    assert in_numpy.dtype == np.float32
    assert in_numpy.tobytes() == back.tobytes()


@every_rule
def test_bytes_are_as_many_as_the_rule_says(name, granularity):
    rule = Rule(name, granularity)

    tensor = made(numbers(), rule)

    assert tensor.codes.dtype == rule.code_dtype
    assert tensor.codes.shape == (BATCH, rule.codes_per_example(SHAPE))
    assert tensor.nbytes == rule.nbytes(BATCH, SHAPE)
    assert (tensor.scales is not None) == rule.has_scales
    assert tensor.codes.nbytes * 8 >= rule.bits * BATCH * np.prod(SHAPE)
    assert validation.check_tensors([tensor], [SPEC], rule) == BATCH


@every_format
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen_and_refused(name, bad):
    rule, x = Rule(name), numbers()
    x[2, 1, 1] = bad

    tensor = made(x, rule)

    assert not validation.is_finite(tensor, rule)
    with pytest.raises(ProtocolError) as info:
        validation.check_tensors([tensor], [SPEC], rule)
    assert info.value.reason == "not-finite"


@st.composite
def tensors(draw, rule):
    """Codes of any bits beside scales of any bits, as an attacker's."""
    shape = (BATCH, rule.codes_per_example(SHAPE))
    size = rule.format.itemsize
    raw = draw(hnp.arrays(np.uint8, (shape[0], shape[1] * size)))
    scales = None
    if rule.has_scales:
        rows = rule.scale_rows(BATCH, SHAPE)
        bits = st.floats(width=32) | st.floats(-300, 300, width=32)
        scales = draw(hnp.arrays(np.float32, (rows, 2), elements=bits))
    codes = raw.view(rule.code_dtype)
    return CutTensor("a", (BATCH, *SHAPE), codes, scales)


@every_rule
@given(data=st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_whatever_is_sent_is_finite_or_refused(name, granularity, data):
    rule = Rule(name, granularity)
    tensor = data.draw(tensors(rule))

    finite = validation.is_finite(tensor, rule)

    there = values(tensor, rule).astype(np.float64)
    if finite:
        assert np.isfinite(there).all()
        bound = gradient_norm.bound([tensor], rule)
        norm = np.sqrt(np.square(there).sum())
        assert norm <= bound * (1 + 1e-4) + 1e-15  # squares underflow
    elif not rule.has_scales:
        assert not np.isfinite(there).all()


@every_rule
@pytest.mark.parametrize("factor", [0.25, 0.1])
def test_scaled_gradients_are_the_same_but_smaller(name, granularity, factor):
    rule = Rule(name, granularity)
    tensor = made(numbers(), rule)

    (scaled,) = gradient_norm.scaled([tensor], factor, rule)

    assert validation.check_tensors([scaled], [SPEC], rule) == BATCH
    expected = values(tensor, rule) * np.float32(factor)
    np.testing.assert_allclose(
        values(scaled, rule), expected, rtol=1e-2, atol=2**-8
    )


@every_rule
@pytest.mark.parametrize("codec", codecs.names())
def test_a_tensor_crosses_the_wire_as_it_is(name, granularity, codec):
    rule, codec = Rule(name, granularity), codecs.get(codec)
    tensor = made(numbers(), rule)

    envelope, payload = to_wire(Forward("s", 1, [tensor]), codec)
    content = b"".join(bytes(piece) for piece in payload)
    (came,) = from_wire(envelope, content, codec, 1 << 20).tensors

    assert came.codes.dtype == tensor.codes.dtype
    assert came.codes.tobytes() == tensor.codes.tobytes()
    assert validation.check_tensors([came], [SPEC], rule) == BATCH
    if rule.has_scales:
        assert came.scales.tobytes() == tensor.scales.tobytes()


@every_format
def test_the_name_leads_to_the_format(name):
    format = formats.get(name)

    assert format.name == name
    assert Rule(name).format is format
    assert format.code_dtype in formats.CODE_DTYPES
    assert format.bits <= 8 * format.itemsize * format.codes(1)


def test_what_is_not_a_tensor_needs_no_tensorflow():
    code = (
        "import sys, numpy, keras_split.device\n"
        "from keras_split.compression.rules import Rule\n"
        "from keras_split.compression import formats\n"
        "for name in formats.names():\n"
        "    rule = Rule(name)\n"
        "    codes = numpy.ones((2, rule.codes_per_example((4,))))\n"
        "    codes = codes.astype(rule.code_dtype)\n"
        "    rows = rule.scale_rows(2, (4,))\n"
        "    scales = numpy.ones((rows, 2), 'float32') if rows else None\n"
        "    assert rule.format.is_finite(codes, scales)\n"
        "    rule.format.values(codes, scales, rule, (4,))\n"
        "    rule.format.squared_bound(codes, scales, 8)\n"
        "    rule.format.scaled(codes, scales, 0.5)\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )

    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert output.strip() == "set()"


def changed(**attributes):
    format = Fixed16()
    vars(format).update(attributes)
    return format


@pytest.mark.parametrize(
    ("format", "message"),
    [
        (Fixed16, "FloatFormat"),
        ("int8", "FloatFormat"),
        (changed(bits=0), "bits=0"),
        (changed(bits=True), "bits=True"),
        (changed(code_dtype="complex64"), "complex64"),
        (changed(code_dtype=None), "code_dtype=None"),
        (changed(name=""), "1 to 32 letters"),
        (changed(name="fixed 16"), "1 to 32 letters"),
        (changed(name="x" * 33), "1 to 32 letters"),
        (changed(name=None), "1 to 32 letters"),
        (changed(name="int8"), "name of its own"),
        (changed(name="fixed16"), "name of its own"),
        (changed(name="small"), "name of its own"),
    ],
    ids=range(13),
)
def test_what_cannot_be_a_format_is_refused(format, message):
    before = formats.names()

    with pytest.raises(QuantizationError, match=message) as caught:
        formats.register(format)

    assert "Received" in str(caught.value)
    assert formats.names() == before


@pytest.mark.parametrize("name", ["float8", "", None, 8, ["int8"]])
def test_an_unknown_format_is_refused_with_what_to_do(name):
    with pytest.raises(QuantizationError, match="formats.register"):
        formats.get(name)
