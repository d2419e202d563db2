from dataclasses import replace

import numpy as np
import pytest

from keras_split.compression.rules import Quantization
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol import validation
from keras_split.protocol.contract import Contract
from keras_split.protocol.row_layout import RowLayout
from tests import links

MASK = SharedSpec("mask", (10,), "int32", "bits")
SPECS = (TensorSpec("a", (3, 3, 2)), TensorSpec("b", (7,)))


def contract(quantization, shared=()):
    return Contract(
        "0" * 64, ("a", "c"), SPECS, (), quantization, shared=shared
    )


def message(about, size=5):
    """What a head could send, shared inputs behind it."""
    tensors = links.smashed(about, size=size)
    rng = np.random.default_rng(0)
    for spec in about.shared:
        codes = rng.integers(0, 200, (size, spec.codes_per_example))
        tensors.append(
            CutTensor(spec.name, (size, *spec.shape), codes.astype("uint8"))
        )
    return tensors


@pytest.mark.parametrize(
    ("quantization", "by_example"),
    [
        (Quantization("float32"), True),
        (Quantization("float16"), True),
        (Quantization("bfloat16"), True),
        (Quantization("int8"), True),
        (Quantization("int4"), True),
        (Quantization("int4", "int2", block=8), True),
        (Quantization("int8", granularity="tensor"), False),
        (Quantization("int8", granularity="channel"), False),
    ],
)
@pytest.mark.parametrize("shared", [(), (MASK,)])
def test_rows_are_all_of_a_message(quantization, by_example, shared):
    about = contract(quantization, shared)
    layout, tensors = RowLayout(about), message(about)

    rows = layout.rows(tensors)
    again = layout.tensors(rows, 5)

    assert layout.by_example is by_example
    assert [len(row) for row in rows] == (
        5 * [layout.nbytes(1)] if by_example else [layout.nbytes(5)]
    )
    assert links.same(links.parts(again), links.parts(tensors))
    rule = about.quantization.activations
    count = len(about.smashed)
    assert validation.check_tensors(again[:count], about.smashed, rule) == 5
    validation.check_shared(again[count:], about.shared, 5)


def test_a_row_is_the_same_in_another_batch():
    about = contract(Quantization("int8"), (MASK,))
    layout, tensors = RowLayout(about), message(about)

    chosen = layout.some(tensors, [3, 1])

    rows = layout.rows(tensors)
    assert layout.rows(chosen) == [rows[3], rows[1]]
    assert chosen[0].shape == (2, 3, 3, 2)
    assert layout.some(tensors, range(5)) is tensors
    assert layout.some(tensors, []) == []


def test_scales_are_part_of_a_row():
    about = contract(Quantization("int8"))
    layout, tensors = RowLayout(about), message(about)
    scales = tensors[0].scales.copy()
    scales[2] *= 2

    rows = layout.rows([replace(tensors[0], scales=scales), tensors[1]])

    before = layout.rows(tensors)
    assert [i for i in range(5) if rows[i] != before[i]] == [2]
