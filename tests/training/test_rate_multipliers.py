"""Head, body and tail with learning rates of their own."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import OptionError
from keras_split.training.rate_multipliers import RateMultipliers
from tests import nets

LOSS = "sparse_categorical_crossentropy"
X, Y = nets.vectors(16)
APART = {"head": 0.5, "body": 2.0, "tail": 0.0}


def parts(client, server):
    models = {"head": client.head, "body": server.body, "tail": client.tail}
    return {k: [np.array(v) for v in m.variables] for k, m in models.items()}


def halves():
    return keras_split.compile(
        nets.built(nets.dense), ["a", "b"], quantization="float32"
    )


def trained(optimizer, multipliers):
    """What each part becomes in two steps, and the client."""
    client, server = halves()
    client.compile(optimizer, LOSS, learning_rate_multipliers=multipliers)
    client.train_on_batch(X, Y)
    client.train_on_batch(X, Y)
    return parts(client, server), client


def moves(before, after, part):
    pairs = zip(before[part], after[part], strict=True)
    return np.concatenate([(b - a).ravel() for a, b in pairs])


@pytest.mark.parametrize("microbatches", [1, 2])
def test_each_part_takes_its_multiple_of_a_step_of_sgd(microbatches):
    """One step from the same weights moves each part by its multiple."""
    client, server = halves()
    before = parts(client, server)
    ends = []
    for multipliers in (None, APART):
        for part, values in before.items():
            owner = server.body if part == "body" else getattr(client, part)
            for variable, value in zip(owner.variables, values, strict=True):
                variable.assign(value)
        client.compile(
            keras.optimizers.SGD(0.1),
            LOSS,
            strategy=SplitStrategy(microbatches=microbatches),
            learning_rate_multipliers=multipliers,
        )
        client.train_on_batch(X, Y)
        ends.append(parts(client, server))

    for part, factor in APART.items():
        expected = factor * moves(before, ends[0], part)
        found = moves(before, ends[1], part)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
            id="adamw",
        ),
        pytest.param(
            lambda rate: keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(rate, 1, 0.5),
                momentum=0.9,
            ),
            id="schedule",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda rate: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.Adam(rate)
            ),
            id="scaled",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_part_does_what_it_would_at_that_rate(make):
    """All at twice the rate is the same as twice the rate for all."""
    every = dict.fromkeys(("head", "body", "tail"), 2.0)

    one, _ = trained(make(0.01), every)
    other, _ = trained(make(0.02), None)

    for part in one:
        for a, b in zip(one[part], other[part], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_they_are_in_the_file(tmp_path):
    _, client = trained(keras.optimizers.SGD(0.1), APART)

    client.save(tmp_path / "client.keras")
    loaded = keras_split.load_model(tmp_path / "client.keras")

    assert loaded.learning_rate_multipliers == RateMultipliers(0.5, 2.0, 0.0)


def test_a_client_without_them_says_nothing_of_them():
    _, client = trained(keras.optimizers.SGD(0.1), {"head": 1})

    assert "learning_rate_multipliers" not in client.get_compile_config()


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"neck": 1.0}, "'neck'"),
        ({"head": -1.0}, "head=-1.0"),
        ({"body": float("nan")}, "body=nan"),
        ({"tail": "fast"}, "tail='fast'"),
    ],
)
def test_what_is_no_multiplier_is_refused(given, word):
    with pytest.raises(OptionError, match=word):
        RateMultipliers.get(given)


def test_what_the_halves_cannot_have_is_refused():
    client, _ = keras_split.compile(nets.built(nets.dense), "a")

    with pytest.raises(OptionError, match="cut once"):
        client.compile("sgd", LOSS, learning_rate_multipliers={"tail": 0.1})


def test_a_weight_of_both_halves_has_one_rate():
    values = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    x = keras.layers.Activation("tanh", name="a")(shared(values))
    x = keras.layers.Dense(4, name="b")(x)
    model = keras.Model(values, keras.layers.Dense(3)(shared(x)))
    client, _ = keras_split.compile(model, ["a", "b"])

    with pytest.raises(OptionError, match="shared"):
        client.compile("sgd", LOSS, learning_rate_multipliers={"head": 0.1})
