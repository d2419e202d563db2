import pytest

from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import TensorSpec
from keras_split.protocol.contract import Contract


def test_frozen_halves_need_fewer_bytes():
    specs = (TensorSpec("a", (4,)),), (TensorSpec("b", (3,)),)
    contract = Contract("", ("a", "b"), *specs, Quantization("float32"))

    assert contract.bytes_per_sample() == (28, 28)
    assert contract.bytes_per_sample(frozen_head=True) == (28, 12)
    assert contract.bytes_per_sample(frozen_body=True) == (28, 28)
    frozen = {"frozen_head": True, "frozen_body": True}
    assert contract.bytes_per_sample(**frozen) == (16, 12)


@pytest.mark.parametrize(
    "dtype, granularity, block",
    [
        ("float32", "example", 1),
        ("float16", "example", 1),
        ("int8", "example", 1),
        ("int8", "channel", 1),
        ("int8", "tensor", 4),
        ("int2", "example", 4),
    ],
)
def test_every_honest_reply_is_below_the_limit(dtype, granularity, block):
    rule = Rule(dtype, granularity)
    quantization = Quantization(rule, rule, block=block)
    for shape in ((1,), (30, 30, 4), (300,)):
        specs = (TensorSpec("x", shape),)
        contract = Contract("", ("a", "b"), specs, specs, quantization)

        _, downlink = contract.bytes_per_sample(9)

        most = contract.reply_limit_bytes(9)
        assert 9 * downlink < most
        assert most <= 9 * 2 * 16 * 3600 + (1 << 16)
