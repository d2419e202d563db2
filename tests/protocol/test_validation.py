from dataclasses import replace

import numpy as np
import pytest

from keras_split.compression import formats
from keras_split.compression.rules import GRANULARITIES
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import ProtocolError
from keras_split.protocol import validation
from keras_split.protocol.contract import Contract

SPECS = (TensorSpec("a", (3, 2)), TensorSpec("b", (4,)))
CONTRACT = Contract("print", ("a", "c"), SPECS, SPECS[:1], Quantization())
INT8 = Rule("int8")


def tensor(spec, rule=INT8, batch=2):
    """A tensor of zeros that fits the rule."""
    codes = np.zeros(
        (batch, rule.codes_per_example(spec.shape)), rule.code_dtype
    )
    rows = rule.scale_rows(batch, spec.shape)
    scales = np.ones((rows, 2), "float32") if rows else None
    return CutTensor(spec.name, (batch, *spec.shape), codes, scales)


def refusal(tensors, rule=INT8):
    with pytest.raises(ProtocolError) as info:
        validation.check_tensors(tensors, SPECS, rule)
    return info.value


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("dtype", formats.names())
def test_tensors_that_fit_pass_and_tell_the_batch(dtype, granularity):
    rule = Rule(dtype, granularity)
    tensors = [tensor(spec, rule, batch=5) for spec in SPECS]

    assert validation.check_tensors(tensors, SPECS, rule) == 5


@pytest.mark.parametrize("names", ["", "a", "ba", "abb", "ax"])
def test_tensors_of_other_names_are_refused(names):
    error = refusal([replace(tensor(SPECS[0]), name=name) for name in names])

    assert error.reason == "shape"
    assert str(error).startswith(
        f"Expected tensors ['a', 'b']. Received: {list(names)}."
    )


@pytest.mark.parametrize(
    "shape", [(), (2,), (2, 2, 3), (2, 3, 2, 1), (0, 3, 3)], ids=str
)
def test_another_shape_is_refused(shape):
    error = refusal([replace(tensor(SPECS[0]), shape=shape), tensor(SPECS[1])])

    assert error.reason == "shape"
    assert "Expected 'a' of shape (batch, 3, 2)" in str(error)
    assert f"Received: {shape}" in str(error)


def test_an_empty_batch_is_refused_in_words():
    error = refusal([tensor(spec, batch=0) for spec in SPECS])

    assert error.reason == "shape"
    assert str(error).startswith(
        "Expected one example or more in 'a'. Received: a batch of 0, shape "
        "(0, 3, 2)."
    )


def test_two_tensors_of_different_batches_are_refused():
    error = refusal([tensor(SPECS[0], batch=2), tensor(SPECS[1], batch=3)])

    assert "the same batch in every tensor. Received: (3, 4)" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.zeros((2, 5), "uint8")},
        {"codes": np.zeros((2, 3, 2), "uint8")},
        {"codes": np.zeros((2, 6), "int8")},
        {"codes": np.zeros((2, 6), "float32"), "scales": None},
        {"scales": None},
        {"scales": np.ones((1, 2), "float32")},
    ],
    ids=["codes", "axes", "dtype", "floats", "no scales", "one scale"],
)
def test_codes_of_another_rule_are_refused(change):
    error = refusal([replace(tensor(SPECS[0]), **change), tensor(SPECS[1])])

    assert error.reason == "shape"
    assert "Expected 'a' as uint8 codes (2, 6) with 2 rows" in str(error)
    assert "Both sides must use the same quantization." in str(error)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_float_that_is_not_finite_is_refused(dtype, value):
    rule = Rule(dtype)
    tensors = [tensor(spec, rule) for spec in SPECS]
    if dtype == "bfloat16":
        bits = np.float32(value).view(np.uint32) >> 16
        tensors[1].codes[1, 2] = bits
    else:
        tensors[1].codes[1, 2] = value

    error = refusal(tensors, rule)

    assert error.reason == "not-finite"
    assert str(error) == (
        "Expected finite numbers in 'b'. Received: NaN or infinity. Lower the "
        "learning rate, or look for a batch with broken inputs."
    )


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_scale_that_is_not_finite_is_refused(value, column):
    tensors = [tensor(spec) for spec in SPECS]
    tensors[0].scales[1, column] = value

    assert refusal(tensors).reason == "not-finite"


def test_scales_whose_product_is_not_finite_are_refused():
    tensors = [tensor(spec) for spec in SPECS]
    tensors[0].scales[1] = 3e38, 128.0

    assert refusal(tensors).reason == "not-finite"


@pytest.mark.parametrize(
    "dtype, codes",
    [
        ("float32", np.full((1, 9), 3e38, "float32")),
        ("float16", np.full((1, 9), 65504, "float16")),
        ("bfloat16", np.full((1, 9), 0x7F7F, "uint16")),
    ],
)
def test_large_numbers_are_finite(dtype, codes):
    tensor = CutTensor("a", codes.shape, codes)

    assert validation.is_finite(tensor, Rule(dtype))


@pytest.mark.parametrize("value", [-1, 0x7F80])
@pytest.mark.parametrize("dtype", ["int64", "uint16"])
def test_labels_of_any_integers_are_finite(dtype, value):
    labels = np.full((3,), value).astype(dtype)

    validation.check_labels([CutTensor("labels_0", (3,), labels)], 3)


@pytest.mark.parametrize("value", [0.0, 1e-9, 10.0])
def test_a_learning_rate_of_zero_or_more_passes(value):
    validation.check_learning_rate(value)


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf])
def test_another_learning_rate_is_refused(value):
    with pytest.raises(ProtocolError, match="learning rate of 0 or") as info:
        validation.check_learning_rate(value)

    assert info.value.reason == "learning-rate"


def test_equal_contracts_pass():
    validation.check_contract(replace(CONTRACT), CONTRACT)


@pytest.mark.parametrize("shape", [(), (2,), (4, 1)], ids=str)
def test_labels_of_another_batch_are_refused(shape):
    labels = CutTensor("labels_0", shape, np.zeros(shape, "int64"))

    with pytest.raises(ProtocolError, match="of 3 examples") as info:
        validation.check_labels([labels], 3)

    assert info.value.reason == "shape"
    assert str(info.value).endswith(f"Received: shape {shape}.")


def test_labels_that_are_not_finite_are_refused():
    labels = CutTensor("labels_0", (3,), np.array([0, np.nan, 1], "float32"))

    with pytest.raises(ProtocolError, match="Expected finite") as info:
        validation.check_labels([labels], 3)

    assert info.value.reason == "not-finite"


def test_what_is_finite_may_be_sent():
    tensors = [tensor(spec) for spec in SPECS]

    assert validation.check_finite(tensors, INT8) is tensors


def test_what_is_not_finite_must_not_be_sent():
    tensors = [tensor(spec) for spec in SPECS]
    tensors[1].scales[1, 0] = np.nan

    with pytest.raises(ProtocolError, match="Expected a finite 'b'") as info:
        validation.check_finite(tensors, INT8)

    assert info.value.reason == "not-finite"
    assert "The step was not taken" in str(info.value)


def rules(*names, **options):
    return {"quantization": Quantization(*names, **options)}


@pytest.mark.parametrize(
    "change, reason, text",
    [
        (
            {"cut": ("x", "y")},
            "cut",
            "the cut at 'a', 'c', as on the server. Received: 'x', 'y'. "
            "Another --cut, or another preset. Name the same",
        ),
        (
            {"smashed": SPECS[1:]},
            "cut",
            "Expected smashed data 'a' (3, 2), 'b' (4), as on the server. "
            "Received: 'b' (4). Another --cut",
        ),
        (
            {"features": (TensorSpec("a", ()),)},
            "cut",
            "Expected features 'a' (3, 2), as on the server. Received: 'a' ().",
        ),
        ({"features": ()}, "cut", "(3, 2), as on the server. Received: none."),
        (
            {"labels_on_server": True},
            "cut",
            "labels on the phone, as on the server. Received: on the server.",
        ),
        (rules("int4"), "quantization", "quantization int8. Received: int4."),
        (
            rules(granularity="tensor"),
            "quantization",
            "quantization, activations: dtype int8, granularity example",
        ),
        (
            rules(gradients=Rule("int8", rounding="stochastic")),
            "quantization",
            "quantization, gradients: dtype int8, granularity example",
        ),
        ({"codec": "zstd"}, "codec", "codec raw. Received: zstd."),
    ],
)
def test_another_contract_is_refused_in_words(change, reason, text):
    with pytest.raises(ProtocolError) as info:
        validation.check_contract(replace(CONTRACT, **change), CONTRACT)

    assert info.value.reason == reason
    assert text in str(info.value)
    assert "TensorSpec" not in str(info.value)


MASK = SharedSpec("mask", (10,), "int32", "bits")
REAL = SharedSpec("real", (2,), "float32", "float32")


def shared(spec, batch=3):
    shape = (batch, spec.codes_per_example)
    codes = np.zeros(shape, spec.code_dtype)
    return CutTensor(spec.name, (batch, *spec.shape), codes)


def test_shared_inputs_that_fit_pass():
    validation.check_shared([shared(MASK), shared(REAL)], (MASK, REAL), 3)
    validation.check_shared([], (), 3)


@pytest.mark.parametrize(
    "tensors",
    [
        [],
        [shared(REAL)],
        [shared(MASK), shared(MASK)],
        [shared(MASK, batch=2)],
        [replace(shared(MASK), shape=(3, 11))],
        [replace(shared(MASK), codes=np.zeros((3, 10), "uint8"))],
        [replace(shared(MASK), codes=np.zeros((3, 2), "int8"))],
        [replace(shared(MASK), scales=np.ones((3, 2), "float32"))],
    ],
)
def test_shared_inputs_that_the_contract_does_not_have_are_refused(tensors):
    with pytest.raises(ProtocolError, match="Expected the shared input") as e:
        validation.check_shared(tensors, (MASK,), 3)

    assert e.value.reason == "shape"


def test_a_shared_input_must_be_finite():
    tensor = shared(REAL)
    tensor.codes[1, 1] = np.nan

    with pytest.raises(ProtocolError, match="finite numbers in the shared"):
        validation.check_shared([tensor], (REAL,), 3)
    with pytest.raises(ProtocolError, match="finite 'real'"):
        validation.check_finite([tensor], INT8, shared=1)
