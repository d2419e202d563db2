import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_split.compression import formats
from keras_split.compression import rules
from keras_split.compression.rules import GRANULARITIES
from keras_split.compression.rules import ROUNDINGS
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.errors import QuantizationError

RULES = st.builds(
    Rule,
    st.sampled_from(formats.names()),
    st.sampled_from(GRANULARITIES),
    st.sampled_from(ROUNDINGS),
)


@pytest.mark.parametrize("dtype", formats.names())
def test_a_name_gives_both_rules(dtype):
    both = Quantization(dtype)

    assert both.activations.dtype == both.gradients.dtype == dtype
    assert str(both) == dtype


def test_gradients_may_have_a_rule_of_their_own():
    mixed = Quantization("int4", gradients=Rule("int8", "channel"))

    assert mixed.gradients == Rule("int8", "channel")
    assert str(mixed) == "int4/int8"


def test_a_rule_for_activations_lends_its_dtype_to_gradients():
    both = Quantization(Rule("int4", "tensor"))

    assert both.gradients.dtype == "int4"


def test_granularity_and_rounding_apply_to_rules_given_by_name():
    both = Quantization(
        "int8", Rule("int8"), granularity="channel", rounding="stochastic"
    )

    assert both.activations == Rule("int8", "channel", "stochastic")
    assert both.gradients == Rule("int8")


@given(RULES, RULES)
def test_a_config_survives_json(activations, gradients):
    both = Quantization(activations, gradients)

    config = json.loads(json.dumps(both.get_config()))

    assert Quantization.from_config(config) == both
    assert rules.get(config) == both


def test_get_takes_a_name_a_config_or_the_thing_itself():
    both = Quantization("int4")

    assert rules.get("int4") == both
    assert rules.get(both.get_config()) == both
    assert rules.get(both) is both


@pytest.mark.parametrize(
    ("dtype", "elements", "codes", "nbytes"),
    [
        ("float32", 7, 7, 28),
        ("float16", 7, 7, 14),
        ("bfloat16", 7, 7, 14),
        ("int8", 7, 7, 7 + 8),
        ("int4", 7, 4, 4 + 8),
        ("int2", 7, 2, 2 + 8),
        ("int2", 8, 2, 2 + 8),
    ],
)
def test_an_example_is_counted_packed_with_its_scale(
    dtype, elements, codes, nbytes
):
    rule = Rule(dtype)

    assert rule.codes_per_example((elements,)) == codes
    assert rule.nbytes(3, (elements,)) == 3 * nbytes


@pytest.mark.parametrize(
    ("granularity", "rows"), [("tensor", 1), ("example", 5), ("channel", 3)]
)
def test_each_group_has_one_row_of_scales(granularity, rows):
    assert Rule("int8", granularity).scale_rows(5, (4, 4, 3)) == rows
    assert Rule("float16", granularity).scale_rows(5, (4, 4, 3)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule("int3"), "int4"),
        (lambda: Rule("int8", "row"), "channel"),
        (lambda: Rule("int8", rounding="up"), "stochastic"),
        (lambda: Quantization("int7"), "int8"),
        (lambda: Quantization(8), "int8"),
        (lambda: Quantization("int8", gradients=4.0), "gradients"),
        (lambda: rules.get(None), "int8"),
        (lambda: Rule("int4", block=4.0), "block=4.0"),
        (lambda: Quantization("int4", block=0), "block=0"),
        (lambda: Quantization.from_config({"activations": {}}), "get_config"),
        (lambda: Quantization.from_config({"a": 1}), "get_config"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(make, message):
    with pytest.raises(QuantizationError, match=message) as caught:
        make()

    assert "Received" in str(caught.value)


def test_what_a_rule_remembers_of_its_dtype_is_no_part_of_it():
    used, unused = Rule("int4"), Rule("int4")

    assert used.has_scales and used.format.bits == 4

    assert used == unused and hash(used) == hash(unused)
    assert repr(used) == repr(unused)
    assert dataclasses.asdict(used) == dataclasses.asdict(unused)


@pytest.mark.parametrize(
    "made",
    [
        Quantization("int8"),
        Quantization("int4", gradients="float16"),
        Quantization("int4", block=4),
        Quantization(Rule("int8", "channel"), rounding="stochastic"),
    ],
)
def test_a_quantization_is_written_as_it_is_made(made):
    assert (
        eval(repr(made), {"Quantization": Quantization, "Rule": Rule}) == made
    )
    assert len(repr(Quantization("int4", gradients="float16"))) < 60
