"""Compares gradients of the table with TensorFlow's own, here and in LiteRT."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import settings
from hypothesis import strategies as st

from keras_split.litert import lowering

few = settings(deadline=None, max_examples=12, derandomize=True)
small = st.integers(1, 4)
_CHILD = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
folder = sys.argv[1]
run = Interpreter(f"{folder}/a.tflite").get_signature_runner("gradients")
np.savez(f"{folder}/g.npz", **run(**np.load(f"{folder}/x.npz")))
"""


def assert_same_gradients(
    function, *inputs, reference=None, tolerance=1e-10, dtype=tf.float64
):
    """`inputs` are shapes, or values; `reference` computes the same."""
    values = [_value(x, dtype, seed) for seed, x in enumerate(inputs)]
    lowered = tf.function(_lowered(function), autograph=False)(*values)
    stock = _stock(reference or function, values)
    for ours, theirs in zip(lowered, stock, strict=True):
        _assert_close(ours, theirs, tolerance)


def assert_runs_in_litert(
    function, *inputs, reference=None, tolerance=1e-4, limit_s=None
):
    """The converter may use builtins only; float32.

    With a limit, in a process of its own, that it may hang.
    """
    values = [_value(x, tf.float32, seed) for seed, x in enumerate(inputs)]
    specs = [
        tf.TensorSpec(x.shape, tf.float32, name=f"x{i}")
        for i, x in enumerate(values)
    ]
    lowered = _lowered(function)

    def signature(*xs):
        return {f"g{i}": g for i, g in enumerate(lowered(*xs))}

    concrete = tf.function(signature, autograph=False).get_concrete_function(
        *specs
    )

    file = _convert(concrete)

    given = {f"x{i}": x.numpy() for i, x in enumerate(values)}
    if limit_s is None:
        interpreter = Interpreter(model_content=file)
        results = interpreter.get_signature_runner("gradients")(**given)
    else:
        results = _run_apart(file, given, limit_s)
    stock = _stock(reference or function, values)
    for i, theirs in enumerate(stock):
        _assert_close(results[f"g{i}"], theirs, tolerance)


def _run_apart(file, given, limit_s):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.tflite").write_bytes(file)
        np.savez(Path(folder, "x.npz"), **given)
        subprocess.run(
            [sys.executable, "-c", _CHILD, folder],
            check=True,
            timeout=limit_s,
            capture_output=True,
        )
        with np.load(Path(folder, "g.npz")) as found:
            return dict(found)


def _convert(concrete):
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(
            tf.Module(),
            folder,
            signatures={"gradients": concrete},
            options=tf.saved_model.SaveOptions(
                experimental_custom_gradients=False
            ),
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["gradients"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()


def _stock(function, values):
    """TensorFlow's own gradients, without a graph that is used once."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        y = function(*values)
    return tape.gradient(y, values, output_gradients=_upstream(y))


def _lowered(function):
    def gradients(*xs):
        with lowering.builtin_gradients():
            y = function(*xs)
            return tf.gradients(y, xs, grad_ys=_upstream(y))

    return gradients


def _upstream(y):
    values = np.random.default_rng(99).standard_normal(y.shape)
    return tf.constant(values, y.dtype)


def _value(x, dtype, seed):
    if isinstance(x, tuple):
        x = np.random.default_rng(seed).standard_normal(x)
    return tf.constant(x, dtype)


def _assert_close(ours, theirs, tolerance):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    error = np.max(np.abs(ours - theirs), initial=0.0)
    assert error <= tolerance * (np.max(np.abs(theirs), initial=0.0) + 1e-30)
