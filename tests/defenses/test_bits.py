"""Each defense does the same in TensorFlow and in LiteRT, to the last bit."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.defenses import Chain
from keras_split.defenses import Clip
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import GaussianNoise
from keras_split.defenses import GradientNoise
from keras_split.defenses import LaplaceMechanism
from keras_split.defenses import MaxNorm
from keras_split.defenses import Sign
from keras_split.defenses.chain import Moment
from keras_split.defenses.defense import known
from keras_split.litert.convert import convert

BOTH = ("smashed", "features_grad")
SHAPE = (4, 7, 5, 3)
CASES = {
    "gaussian_noise": GaussianNoise(0.1, BOTH),
    "clip": Clip(3.0, BOTH),
    "clip by magnitudes": Clip(3.0, BOTH, order=1),
    "gradient_noise": GradientNoise(1.3),
    "gaussian_mechanism": GaussianMechanism(1.0, 0.5, BOTH),
    "laplace_mechanism": LaplaceMechanism(3.0, 0.1, BOTH),
    "max_norm": MaxNorm(),
    "sign": Sign(),
}


def made(x, count, step):
    """What each defense makes of a batch of which `count` are real."""
    return {
        f"{name} {where}".replace(" ", "_"): Chain([defense], seed=7).apply(
            x, where, 0, Moment(step, count=count)
        )
        for name, defense in CASES.items()
        for where in defense.where
    }


in_a_graph = tf.function(made, autograph=False)


@pytest.fixture(scope="module")
def runner():
    """All of it as one signature."""
    specs = {
        "x": tf.TensorSpec(SHAPE, tf.float32),
        "count": tf.TensorSpec((), tf.int32),
        "step": tf.TensorSpec((), tf.int32),
    }
    content = convert(tf.Module(), {"defend": (made, specs)}, {})
    interpreter = Interpreter(model_content=content)
    yield interpreter.get_signature_runner("defend")


SIZES = (1e-12, 1e-3, 1.0, 1e6)


@pytest.mark.parametrize("count", [4, pytest.param(3, marks=pytest.mark.slow)])
def test_litert_and_tensorflow_agree(runner, count):
    rng = np.random.default_rng(count)
    for step, size in enumerate(16 * SIZES):
        x = (rng.normal(size=SHAPE) * size).astype("float32")
        x *= rng.random(SHAPE) < rng.random((4, 1, 1, 1))
        given = {"count": np.int32(count), "step": np.int32(step), "x": x}

        found = runner(**given)
        # Graphs are rewritten: a quotient by a constant becomes a product.
        function = made if step < len(SIZES) else in_a_graph
        expected = function(**{k: tf.constant(v) for k, v in given.items()})

        for name, value in expected.items():
            assert found[name].tobytes() == value.numpy().tobytes(), (
                f"{name}, {size}"
            )


def test_no_defense_is_left_out():
    ours = {
        name
        for name, cls in known().items()
        if cls.__module__.startswith("keras_split.")
        # Labels are no floats, and a loss has no bits of its own:
        # tests/litert/test_defenses.py has these.
        and name not in ("randomized_response", "nopeek")
    }

    assert ours - {"identity"} <= set(CASES)
