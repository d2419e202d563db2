"""Defended, quantized, in parts: in a graph as in the phone's file."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.compression.cut import client_cuts
from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.rules import Quantization
from keras_split.compression.tensors import TensorSpec
from keras_split.defenses import Chain
from keras_split.defenses import GaussianNoise
from keras_split.defenses.chain import Moment
from keras_split.litert.convert import convert
from tests.defenses.scaled import Scaled

BOTH = ("smashed", "features_grad")
NOISE = Chain([GaussianNoise(0.1, BOTH), Scaled()], seed=7)
SMASHED = (TensorSpec("one", (3, 4)), TensorSpec("two", (5,)))
FEATURES = (TensorSpec("three", (6,)),)


def cuts(quantization="int8", defenses=NOISE, dtype="float32"):
    return client_cuts(
        SMASHED,
        FEATURES,
        Quantization(quantization),
        leaves=[dtype] * 2,
        arrives=None,
        defenses=defenses,
    )


def tensors(specs, batch=4, dtype="float32"):
    rng = np.random.default_rng(0)
    made = [rng.normal(size=(batch, *spec.shape)) for spec in specs]
    return [tf.constant(array, dtype) for array in made]


def moment(step=3):
    return Moment(tf.constant(step))


def test_without_defenses_it_is_the_codec():
    cut, given = cuts(defenses=Chain()).smashed, tensors(SMASHED)

    defended = cut.defend(given, moment())
    parts = cut.send(given, moment())

    assert all(a is b for a, b in zip(defended, given, strict=True))
    plain = CutCodec(SMASHED, Quantization("int8").activations).quantize(given)
    for part, expected in zip(parts, plain, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_it_defends_and_then_quantizes():
    cut, given = cuts().smashed, tensors(SMASHED)

    parts = cut.send(given, moment())

    expected = cut.quantize(cut.defend(given, moment()))
    for part, other in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(part, other)
    seen = cut.dequantize(parts)
    assert not np.allclose(seen[0], given[0], atol=0.01)


def test_gradients_go_back_through_what_was_drawn():
    cut, (x, _) = cuts().smashed, tensors(SMASHED)

    with tf.GradientTape() as tape:
        tape.watch(x)
        sent = cut.defend([x, _], moment())[0]
    grad = tape.gradient(sent, x)

    assert 0.5 <= grad.numpy().min() and grad.numpy().max() < 1.5
    assert grad.numpy().std() > 0.2


def test_a_defended_half_precision_head_gets_its_gradients_in_float32():
    made, plain = cuts(dtype="float16"), cuts(dtype="float16", defenses=Chain())

    assert made.smashed_grad.dtypes == ("float32", "float32")
    assert plain.smashed_grad.dtypes == ("float16", "float16")
    x = tensors(SMASHED, dtype="float16")
    assert made.smashed.defend(x, moment())[0].dtype == tf.float32


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_litert_sends_the_same_bits(quantization):
    made = cuts(quantization)
    pairs = [(made.smashed, SMASHED), (made.features_grad, FEATURES)]

    def send(step, count, **given):
        given = [given[name] for name in sorted(given)]
        at = Moment(step, count=count)
        parts = made.smashed.send(given[:2], at)
        parts += made.features_grad.send(given[2:], at)
        return {f"part_{i}": part for i, part in enumerate(parts)}

    x = [tensor for _, specs in pairs for tensor in tensors(specs)]
    specs = {"step": tf.TensorSpec((), tf.int32)}
    specs["count"] = tf.TensorSpec((), tf.int32)
    specs |= {f"x{i}": tf.TensorSpec(t.shape) for i, t in enumerate(x)}
    content = convert(tf.Module(), {"send": (send, specs)}, {})
    runner = Interpreter(model_content=content).get_signature_runner("send")

    for step, count in ((0, 4), (9, 3)):
        given = {"step": np.int32(step), "count": np.int32(count)}
        given |= {f"x{i}": tensor.numpy() for i, tensor in enumerate(x)}
        found = runner(**given)
        expected = tf.function(send, autograph=False)(
            **{name: tf.constant(value) for name, value in given.items()}
        )

        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
