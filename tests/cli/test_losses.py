import click
import keras
import numpy as np
import pytest
from keras import layers

from keras_split.errors import DataError
from keras_split_cli import losses

NUMBERS = np.array([0, 1, 2])


def output(*behind, start=(4,)):
    x = keras.Input(start)
    for layer in behind:
        x = layer(x)
    return x


@keras.saving.register_keras_serializable("tests")
def own(y_true, y_pred):
    return keras.ops.mean(y_pred)


class Softer(keras.losses.CategoricalCrossentropy):
    pass


@pytest.mark.parametrize(
    ("behind", "kind"),
    [
        ([layers.Dense(3, activation="softmax")], "softmax"),
        ([layers.Dense(3), layers.Softmax()], "softmax"),
        ([layers.Dense(3), layers.Activation("softmax")], "softmax"),
        ([layers.Dense(3), keras.ops.softmax], "softmax"),
        ([layers.Dense(3)], "linear"),
        ([layers.Dense(3), layers.Activation("linear")], "linear"),
        ([layers.Dense(1, activation="sigmoid")], "sigmoid"),
        (
            [
                layers.Dense(4, activation="softmax"),
                layers.Dropout(0.1),
                layers.Reshape((2, 2)),
            ],
            "softmax",
        ),
        ([keras.Sequential([layers.Dense(2, "softmax")])], "softmax"),
        ([layers.Dense(3, activation="relu")], ""),
        ([layers.Dense(3), layers.ReLU()], ""),
    ],
)
def test_it_is_seen_what_an_output_is_made_by(behind, kind):
    assert losses.activation(output(*behind)) == kind


@pytest.mark.parametrize(
    ("units", "kind", "labels", "name", "logits"),
    [
        (3, "softmax", NUMBERS, "sparse_categorical_crossentropy", False),
        (3, None, NUMBERS, "sparse_categorical_crossentropy", True),
        (3, "softmax", np.eye(3), "categorical_crossentropy", False),
        (1, "sigmoid", NUMBERS, "binary_crossentropy", False),
    ],
)
def test_a_loss_fits_its_output(units, kind, labels, name, logits):
    loss = losses.fitting(output(layers.Dense(units, kind)), labels)

    assert (loss.name, loss.from_logits) == (name, logits)


@pytest.mark.parametrize(
    ("units", "kind", "labels"),
    [
        (3, "relu", NUMBERS),
        (3, "sigmoid", NUMBERS),
        (1, None, NUMBERS),
        (3, None, np.array([0.5, 1.5])),
        (3, "softmax", np.full((2, 3), 0.3)),
    ],
)
def test_what_could_be_more_than_one_is_asked_for(units, kind, labels):
    with pytest.raises(DataError, match="Pass --loss"):
        losses.fitting(output(layers.Dense(units, kind)), labels)


def test_an_output_on_the_server_is_asked_for():
    with pytest.raises(DataError, match="on the server.*Pass --loss"):
        losses.fitting(None, NUMBERS)


@pytest.mark.parametrize("name", ["binary_crossentropy", "BinaryCrossentropy"])
def test_a_loss_by_name_takes_logits_where_there_are_some(name):
    assert losses.named(name, output(layers.Dense(1))).from_logits
    assert not losses.named(
        name, output(layers.Dense(1, "sigmoid"))
    ).from_logits
    assert losses.named("mse", output(layers.Dense(1))).name == (
        "mean_squared_error"
    )


@pytest.mark.parametrize("name", ["nonsense", "Adam", "1"])
def test_a_loss_that_is_none_is_a_wrong_call(name):
    with pytest.raises(click.BadParameter, match="Received: "):
        losses.named(name, None)


def test_accuracy_of_a_logit_asks_for_its_sign():
    (metric,) = losses.accuracy(keras.losses.BinaryCrossentropy(True))

    metric.update_state([[1.0], [0.0]], [[0.1], [-0.1]])

    assert float(metric.result()) == 1


@pytest.mark.parametrize(
    ("loss", "sparse", "binary", "known"),
    [
        ("sparse_categorical_crossentropy", True, False, True),
        (keras.losses.SparseCategoricalCrossentropy(), True, False, True),
        ("categorical_crossentropy", False, False, True),
        (keras.losses.CategoricalFocalCrossentropy(), False, False, True),
        (Softer(label_smoothing=0.1), False, False, True),
        ("binary_crossentropy", False, True, True),
        (keras.losses.BinaryFocalCrossentropy(), False, True, True),
        ("mse", False, False, True),
        (own, False, False, False),
    ],
)
def test_the_form_of_labels_follows_from_the_loss(loss, sparse, binary, known):
    form = losses.form(loss, output(layers.Dense(3)))

    assert form.shape == (3,)
    assert (form.sparse, form.binary, form.known) == (sparse, binary, known)
