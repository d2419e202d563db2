import numpy as np
import pytest

from keras_split.compression.rules import Rule
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.device.row_padder import RowPadder
from keras_split.errors import ProtocolError
from tests import links

SPECS = (TensorSpec("a", (3, 2)), TensorSpec("b", (5,)))
RULES = [
    Rule("float32"),
    Rule("float16"),
    Rule("bfloat16"),
    *(
        Rule(dtype, granularity)
        for dtype in ("int8", "int4")
        for granularity in ("tensor", "example", "channel")
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_arrives_and_leaves_again_is_the_same(rule):
    crossing = RowPadder("features", SPECS, rule, 8)
    sent = links.tensors(SPECS, rule, size=5)

    known = crossing.arrive(sent, 5)
    again = crossing.leave(known, 5)

    assert all(known[f"features_{i}_codes"].shape[0] == 8 for i in (0, 1))
    assert [t.name for t in again] == ["a", "b"]
    assert [t.shape for t in again] == [(5, 3, 2), (5, 5)]
    assert links.same(links.parts(sent), links.parts(again))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_full_batch_is_not_copied(rule):
    crossing = RowPadder("features", SPECS, rule, 8)
    sent = links.tensors(SPECS, rule)

    known = crossing.arrive(sent, 8)

    assert known["features_0_codes"] is sent[0].codes


def test_replies_that_do_not_fit_are_refused():
    rule = Rule("int8")
    crossing = RowPadder("features", SPECS, rule, 8)
    sent = links.tensors(SPECS, rule, size=5)

    for wrong, count in (
        (sent, 4),
        (sent[:1], 5),
        ([sent[1], sent[0]], 5),
        ([CutTensor("a", (5, 3, 2), sent[0].codes), sent[1]], 5),
        (links.tensors(SPECS, Rule("float32"), size=5), 5),
    ):
        with pytest.raises(ProtocolError, match="Expected.*Received"):
            crossing.arrive(wrong, count)


@pytest.mark.parametrize("rule", [Rule("float32"), Rule("float16")], ids=str)
def test_nothing_that_is_not_finite_leaves(rule):
    crossing = RowPadder("smashed", SPECS[1:], rule, 4)
    codes = np.zeros((4, 5), rule.code_dtype)
    codes[2, 2] = np.inf

    with pytest.raises(ProtocolError) as info:
        crossing.leave({"smashed_0_codes": codes}, 4)

    assert info.value.reason == "not-finite"
    assert crossing.leave({"smashed_0_codes": codes}, 2)  # padding may be
