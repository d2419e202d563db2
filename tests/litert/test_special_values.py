"""What LiteRT makes of 0, tiny, huge, infinite and broken numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from keras import ops

from keras_split.litert.convert import convert
from keras_split.litert.losses import OutputLoss

SPECIAL = [0, 1e-30, 1e-20, 1e-10, 0.5, 1, 6, 20, 90, 1e4, 1e10, np.inf, np.nan]
VALUES = np.float32(SPECIAL + [-x for x in SPECIAL])
ROWS = np.stack([VALUES] * 4, 1)
ROWS = np.concatenate([ROWS, np.eye(4, dtype="float32")])
LABELS = np.resize(
    np.float32([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1]]), ROWS.shape
)
ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu"),
    *("log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("softplus", "softsign", "squareplus", "tanh", "softmax"),
)
FORWARD = {name: getattr(keras.activations, name) for name in ACTIVATIONS} | {
    "rsqrt": ops.rsqrt,
    "1 / sqrt": lambda x: 1.0 / ops.sqrt(x),
    "power": lambda x: ops.power(ops.abs(x), -0.5),
    "exp": ops.exp,
    "log1p": ops.log1p,
    "normalize": ops.normalize,
    "UnitNormalization": layers.UnitNormalization(),
    "l2_normalize": lambda x: tf.math.l2_normalize(x, -1),
    "divide": lambda x: x / x,
    "logsumexp": lambda x: ops.logsumexp(x, -1, keepdims=True),
    "std": lambda x: ops.std(x, -1, keepdims=True),
}
LOSSES = (
    *("CosineSimilarity", "LogCosh", "MeanSquaredError", "Huber"),
    *("MeanAbsoluteError", "Hinge", "SquaredHinge"),
)
ENTROPIES = (
    keras.losses.CategoricalCrossentropy(from_logits=True),
    keras.losses.BinaryCrossentropy(from_logits=True),
)


def cases():
    """Function as Keras has it, and as the phone's file is made of it."""
    found = {name: (lambda x, y, f=f: f(x),) * 2 for name, f in FORWARD.items()}
    for name in LOSSES:
        loss = getattr(keras.losses, name)()
        found[name] = (lambda x, y, f=loss: f.call(y, x),) * 2
    for loss in ENTROPIES:
        ours = OutputLoss("output", loss)
        found[loss.name] = (
            lambda x, y, f=loss: f.call(y, x),
            lambda x, y, f=ours: f._values(y, x),
        )
    return found


CASES = cases()
# XNNPACK's logarithm (LiteRT 2.3) has 88 for infinity and for NaN on some CPUs.
# `OutputLoss` sees NaN all the same, see test_losses.
LOGARITHMS = ("log1p", "logsumexp")


@pytest.fixture(scope="module")
def litert():
    """Values and slopes of all cases, from one file."""
    specs = {
        "x": tf.TensorSpec(ROWS.shape, tf.float32),
        "y": tf.TensorSpec(ROWS.shape, tf.float32),
    }

    def signature(function):
        def run(x, y):
            made = function(x, y)
            slope = tf.gradients(made, x)[0]
            # LiteRT wants all that it is given to be read.
            return {"value": made, "slope": slope, "y": y + 0.0}

        return run

    names = list(CASES)
    functions = {
        f"f{i}": (signature(CASES[name][1]), specs)
        for i, name in enumerate(names)
    }
    runner = Interpreter(model_content=convert(tf.Module(), functions, {}))
    return {
        name: runner.get_signature_runner(f"f{i}")(x=ROWS, y=LABELS)
        for i, name in enumerate(names)
    }


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_keras(name, litert):
    x = tf.constant(ROWS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = CASES[name][0](x, tf.constant(LABELS))
    slope = tape.gradient(value, x).numpy()

    found = litert[name]

    rows = np.full(len(ROWS), True)
    if name in LOGARITHMS:
        rows = np.isfinite(ROWS).all(1)
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(found["value"][rows], value[rows], **close)
    # No step is taken where the loss is not finite.
    finite = np.isfinite(slope) & np.isfinite(ROWS)
    x, slope, ours = ROWS[finite], slope[finite], found["slope"][finite]
    # Large terms cancel where a row of small numbers is divided by its norm.
    terms = 1.0 / np.abs(np.where(x == 0, 1.0, x))
    near = 1e-4 * np.abs(slope) + 1e-6 * terms + 1e-7
    assert (np.abs(ours - slope) <= near).all()
