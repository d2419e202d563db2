from dataclasses import replace

import pytest

from keras_split.compression.rules import Quantization
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol.contract import Bucket
from keras_split.protocol.contract import Contract
from keras_split.protocol.difference import difference

SMASHED = (TensorSpec("a", (24, 24, 16)),)
FEATURES = (TensorSpec("b", (8,)),)
OURS = Contract("0" * 32, ("a", "b"), SMASHED, FEATURES, Quantization())
THEIRS = replace(OURS, fingerprint="f" * 32)


def bucket(length):
    return Bucket(length, SMASHED, FEATURES)


def smashed(*shape):
    return {"smashed": (TensorSpec("a", shape),)}


def test_equal_contracts_do_not_differ():
    assert difference(replace(OURS), OURS) is None


@pytest.mark.parametrize(
    "change, text",
    [
        ({"cut": ("a", "c")}, "cut at 'a', 'b', as on the server. Received: "),
        ({"cut": ("a", "c")}, "Received: 'a', 'c'. Another --cut"),
        ({"cut": ("a_code", "b_code")}, "A --bottleneck on one side alone"),
        (smashed(28, 28, 16), "'a' (28, 28, 16). Another --input-size. "),
        (smashed(24, 24, 4), "Another --bottleneck"),
        (smashed(28, 28, 4), "Another --input-size and another --bottleneck"),
        (smashed(24, 16), "Another --cut"),
        ({}, "another number of classes (--classes) or --batchnorm-momentum"),
        (
            {"buckets": (bucket(16), bucket(32))},
            "Lengths of sequences: one on the server, 16, 32 on the phone.",
        ),
    ],
)
def test_another_model_is_told_by_what_differs_first(change, text):
    reason, told = difference(replace(THEIRS, **change), OURS)

    assert reason == "fingerprint"
    assert text in told
    assert told.endswith("0 on the server, ffffffffffff on the phone.)")


def test_a_length_of_several_is_no_difference():
    ours = replace(OURS, buckets=(bucket(16), bucket(32)))

    assert difference(ours.at(16), ours) is None


def test_what_a_client_makes_as_long_as_it_likes_is_cut_off():
    _, told = difference(replace(THEIRS, cut=("x" * 5000,)), OURS)

    assert len(told) < 1000
