"""Losses against those of Keras: values, gradients, accuracy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.errors import ExportError
from keras_split.litert.convert import convert
from keras_split.litert.losses import OutputLoss

LOSSES = keras.losses
RNG = np.random.default_rng(0)
COUNT, SIZE = 3, 5
CASES = {
    "sparse": (LOSSES.SparseCategoricalCrossentropy(), "softmax", "class"),
    "sparse logits": (
        LOSSES.SparseCategoricalCrossentropy(from_logits=True),
        None,
        "class",
    ),
    "sparse sum": (
        LOSSES.SparseCategoricalCrossentropy(reduction="sum"),
        "softmax",
        "class",
    ),
    "categorical": (LOSSES.CategoricalCrossentropy(), "softmax", "one hot"),
    "smoothed": (
        LOSSES.CategoricalCrossentropy(label_smoothing=0.1),
        "softmax",
        "one hot",
    ),
    "categorical logits": (
        LOSSES.CategoricalCrossentropy(from_logits=True),
        None,
        "one hot",
    ),
    "binary": (LOSSES.BinaryCrossentropy(), "sigmoid", "yes or no"),
    "binary smoothed": (
        LOSSES.BinaryCrossentropy(label_smoothing=0.2),
        "sigmoid",
        "yes or no",
    ),
    "binary logits": (
        LOSSES.BinaryCrossentropy(from_logits=True),
        None,
        "yes or no",
    ),
    "squared": (LOSSES.MeanSquaredError(), None, "number"),
    "weighted mean": (
        LOSSES.MeanSquaredError(reduction="mean_with_sample_weight"),
        None,
        "number",
    ),
    "absolute": (LOSSES.MeanAbsoluteError(), None, "number"),
    "huber": (LOSSES.Huber(), None, "number"),
}


def label(kind, shape):
    if kind == "class":
        return RNG.integers(0, shape[-1], shape[:-1]).astype("int32")
    if kind == "one hot":
        numbers = RNG.integers(0, shape[-1], shape[:-1])
        return np.eye(shape[-1], dtype="float32")[numbers]
    if kind == "yes or no":
        return RNG.integers(0, 2, shape).astype("float32")
    return RNG.normal(size=shape).astype("float32")


def predict(scores, activation):
    return keras.activations.get(activation)(scores)


@pytest.mark.parametrize("plain", [False, True], ids=["logits", "no logits"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_keras(name, plain):
    loss, activation, kind = CASES[name]
    scores = RNG.normal(size=(SIZE, 4)).astype("float32")
    labels = label(kind, scores.shape)
    weights = RNG.uniform(0.5, 2, SIZE).astype("float32")

    def run(rows, value):
        def output(x):
            made = predict(x, activation)
            return tf.identity(made) if plain else made

        x = tf.constant(scores[:rows])
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = value(output(x), rows)
        return result.numpy(), tape.gradient(result, x).numpy()

    expected, gradient = run(
        COUNT, lambda p, n: loss(labels[:n], p, sample_weight=weights[:n])
    )
    real = np.float32([1] * COUNT + [0] * (SIZE - COUNT))
    found, ours = run(
        SIZE,
        lambda p, _: OutputLoss("y", loss).value(
            tf.constant(labels), p, weights * real, tf.constant(COUNT)
        ),
    )

    np.testing.assert_allclose(found, expected, rtol=2e-6)
    np.testing.assert_allclose(ours[:COUNT], gradient, rtol=1e-5, atol=1e-7)
    assert not ours[COUNT:].any()


@pytest.fixture(scope="module")
def litert():
    """The losses of a batch of one, from one file."""

    def specs(kind):
        shape = (1,) if kind == "class" else (1, 4)
        dtype = tf.int32 if kind == "class" else tf.float32
        return {
            "y": tf.TensorSpec(shape, dtype),
            "p": tf.TensorSpec((1, 4), tf.float32),
        }

    def signature(loss):
        def run(y, p):
            ours, one = OutputLoss("y", loss), tf.ones((1,))
            return {"loss": ours.value(y, p, one, tf.constant(1))}

        return run

    names = {f"f{i}": name for i, name in enumerate(CASES)}
    functions = {
        key: (signature(CASES[name][0]), specs(CASES[name][2]))
        for key, name in names.items()
    }
    file = Interpreter(model_content=convert(tf.Module(), functions, {}))
    return {names[key]: file.get_signature_runner(key) for key in names}


@pytest.mark.parametrize("name", CASES)
def test_a_nan_shows_in_the_phones_loss(name, litert):
    y = label(CASES[name][2], (1, 4))

    def loss(*p):
        return litert[name](y=y, p=np.float32([p]))["loss"]

    assert np.isfinite(loss(0.1, 0.2, 0.3, 0.4))
    assert not np.isfinite(loss(0.1, 0.2, 0.3, np.nan))
    assert not np.isfinite(loss(np.nan, np.nan, np.nan, np.nan))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
@pytest.mark.parametrize(
    "name, metric",
    [
        ("sparse", keras.metrics.SparseCategoricalAccuracy),
        ("categorical", keras.metrics.CategoricalAccuracy),
        ("binary", keras.metrics.BinaryAccuracy),
    ],
)
def test_right_answers_are_counted_as_keras_does(name, metric, shape):
    loss, activation, kind = CASES[name]
    scores = RNG.normal(size=(SIZE, *shape)).astype("float32")
    predictions = predict(scores, activation)
    labels = label(kind, scores.shape)
    real = np.float32([1] * COUNT + [0] * (SIZE - COUNT))
    expected = metric()
    expected.update_state(labels[:COUNT], predictions[:COUNT])

    found = OutputLoss("y", loss).correct(
        tf.constant(labels), predictions, tf.constant(real)
    )

    assert float(found) / COUNT == pytest.approx(float(expected.result()))


@pytest.mark.parametrize(
    "name", ["sparse_categorical_crossentropy", "mse", "binary_crossentropy"]
)
def test_losses_may_be_named(name):
    long = {"mse": "mean_squared_error"}.get(name, name)

    assert OutputLoss("y", name).name == long


class Doubled(LOSSES.BinaryCrossentropy):
    """A loss of one's own, made from one that we know."""

    def call(self, y_true, y_pred):
        return 2.0 * super().call(y_true, y_pred)


class Whole(LOSSES.Loss):
    """Decides by itself what a batch makes; its config cannot be told."""

    def get_config(self):
        raise NotImplementedError

    def __call__(self, y_true, y_pred, sample_weight=None):
        return tf.reduce_max(tf.abs(y_true - y_pred))


def mean_squared_error(y_true, y_pred):
    """Not the one of that name."""
    return tf.reduce_mean(tf.abs(y_true - y_pred), -1)


def test_a_loss_made_from_another_is_itself():
    y, p = tf.constant([[0.0, 1.0]]), tf.constant([[0.2, 0.3]])
    subject = OutputLoss("y", Doubled())

    value = subject.value(y, p, tf.ones(1), tf.constant(1))

    assert float(value) == pytest.approx(float(Doubled()(y, p)))
    assert not subject.accuracy


@pytest.mark.parametrize(
    "loss, word",
    [
        (mean_squared_error, "the function 'mean_squared_error'"),
        (Whole(), "a __call__ of its own"),
        (None, "client.compile"),
        ("nobody", "'nobody'"),
        (["mse", "mae"], "one for each output"),
        (lambda y, p: 0.0, "MeanSquaredError()"),
        (LOSSES.MeanSquaredError(reduction=None), "reduction=None"),
        (LOSSES.CategoricalCrossentropy(axis=1), "axis=1"),
        (
            LOSSES.SparseCategoricalCrossentropy(ignore_class=0),
            "ignore_class=0",
        ),
    ],
)
def test_others_are_refused(loss, word):
    with pytest.raises(ExportError, match="Received") as caught:
        OutputLoss("y", loss)

    assert word in str(caught.value)


class OfAll(LOSSES.Loss):
    """Takes the mean over the batch by itself."""

    def call(self, y_true, y_pred):
        return tf.reduce_mean(tf.abs(y_true - y_pred))


@pytest.mark.parametrize(
    "loss, shape",
    [
        (OfAll(), (4, 3)),
        (LOSSES.MeanSquaredError(), (4,)),
        (LOSSES.BinaryCrossentropy(), (4,)),
    ],
)
def test_one_number_for_all_of_a_batch_is_refused(loss, shape):
    y = tf.ones(shape)

    with pytest.raises(ExportError, match="a row for each example"):
        OutputLoss("y", loss).value(y, 0.5 * y, tf.ones(4), tf.constant(4))


def test_a_loss_of_other_labels_is_refused():
    y = tf.ones((4, 3))

    with pytest.raises(ExportError, match="labels and predictions of one"):
        OutputLoss("y", LOSSES.Circle()).value(y, y, tf.ones(4), tf.constant(4))


def test_a_batch_that_counts_for_nothing_has_no_loss():
    loss, y = (
        LOSSES.MeanSquaredError("mean_with_sample_weight"),
        tf.ones((4, 3)),
    )

    value = OutputLoss("y", loss).value(y, 0.5 * y, tf.zeros(4), tf.constant(4))

    assert float(value) == float(loss(y, 0.5 * y, tf.zeros((4,)))) == 0.0
