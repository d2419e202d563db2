"""Figures agree with Keras' own `evaluate` and `predict`."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import DataError
from keras_split.evaluation import LOGITS
from keras_split.evaluation import PROBABILITY
from keras_split.evaluation import SCORE
from keras_split.models.scoring import KerasScorer
from keras_split.models.scoring import activation
from keras_split.protocol.data_spec import DataSpec

CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy
layers = keras.layers


def images(count=22):
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = rng.integers(0, 80, (count, 8, 8, 3)) + 80 * y[:, None, None, None]
    return x.astype(np.uint8), y


def net(last="softmax", units=3, rate=0.0):
    """A body with a penalty, so that the loss is more than that of outputs."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, name="first"),
            layers.Conv2D(4, 3, kernel_regularizer="l2", name="second"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(units, activation=last, name="last"),
        ]
    )


def compiled(model, loss, metrics=("accuracy",)):
    model.compile("adam", loss, metrics=list(metrics))
    return model


@pytest.fixture(scope="module")
def client():
    """A client of logits, whose server is in this process."""
    client, _ = keras_split.compile(net(None), ["first", "pool"])
    return compiled(
        client,
        CROSSENTROPY(from_logits=True),
        ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)],
    )


def test_loss_and_metrics_are_those_of_evaluate_and_nothing_is_missed(client):
    x, y = images()
    expected = client.evaluate(
        x.astype("float32"), y, batch_size=8, verbose=0, return_dict=True
    )
    outputs = client.predict(x.astype("float32"), verbose=0)
    done = []

    scorer = KerasScorer(client, SplitStrategy())
    logs, tally = scorer.evaluate(x, y, 8, done.append)

    assert logs == pytest.approx(expected, abs=1e-6)
    assert "sparse_top_k_categorical_accuracy" in logs
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (y, outputs.argmax(1)), 1)
    np.testing.assert_array_equal(tally.confusion, counts)
    assert tally.metrics()["accuracy"] == pytest.approx(expected["accuracy"])
    # The penalty of the body is part of the one, not of the other.
    assert 0 < tally.metrics()["crossentropy"] < expected["loss"]
    assert done == [8, 16, 22]
    assert (scorer.meaning, scorer.classes) == (LOGITS, 3)
    assert scorer.shape == (8, 8, 3)
    np.testing.assert_allclose(scorer.predict(x), outputs, atol=1e-6)


def test_a_model_that_is_cut_once_has_its_outputs_from_the_server():
    client, _ = keras_split.compile(net(), "first")
    compiled(client, CROSSENTROPY())
    x, y = images()
    expected = client.evaluate(
        x.astype("float32"), y, verbose=0, return_dict=True
    )

    scorer = KerasScorer(client, SplitStrategy())
    logs, tally = scorer.evaluate(x, y, 32)

    assert logs == pytest.approx(expected, abs=1e-6)
    assert scorer.classes == 3
    assert tally.metrics()["accuracy"] == pytest.approx(logs["accuracy"])
    with pytest.raises(DataError, match="from 0 to 2"):
        scorer.evaluate(x, y + 1, 32)


def test_its_server_is_told_of_no_optimizer(client):
    scorer = KerasScorer(client, SplitStrategy())

    scorer.predict(images(2)[0])

    steps = client._server_link.server.half.optimizers._steps.values()
    (used,) = [step.optimizer for step in steps if step.users]
    assert len(used.variables) == 2  # a step count and a learning rate
    scorer.close()
    assert not client.strategy.connected


def test_keras_methods_are_as_before_afterwards(client):
    KerasScorer(client, SplitStrategy()).evaluate(*images(), 8)

    assert "compute_metrics" not in vars(client)
    x, y = images()
    assert len(client.evaluate(x.astype("float32"), y, verbose=0)) == 3


def test_images_are_scaled_as_the_model_says():
    model = net()
    matrix = tuple(map(tuple, (np.eye(3) * 2).tolist()))
    spec = DataSpec(matrix=matrix, offset=(1.0, 2.0, 3.0))
    x, _ = images(4)

    made = KerasScorer(model, data_spec=spec).predict(x)

    wanted = model.predict(x * 2.0 + np.array([1.0, 2.0, 3.0]), verbose=0)
    np.testing.assert_allclose(made, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "loss", ["categorical_crossentropy", "mean_squared_error"]
)
def test_a_loss_of_rows_is_given_rows(loss):
    model = compiled(net(), loss)
    x, y = images()
    expected = model.evaluate(
        x.astype("float32"), np.eye(3)[y], verbose=0, return_dict=True
    )

    logs, tally = KerasScorer(model).evaluate(x, y, 32)

    assert logs == pytest.approx(expected, abs=1e-6)
    assert tally.images == 22


def test_one_sigmoid_tells_two_classes_apart():
    model = compiled(net("sigmoid", 1), "binary_crossentropy")
    x, y = images()
    expected = model.evaluate(
        x.astype("float32"), y % 2, verbose=0, return_dict=True
    )

    logs, tally = KerasScorer(model).evaluate(x, y % 2, 32)

    assert logs == pytest.approx(expected, abs=1e-6)
    assert tally.metrics()["accuracy"] == pytest.approx(logs["accuracy"])


def test_a_model_that_was_not_compiled_has_no_loss():
    logs, tally = KerasScorer(net()).evaluate(*images(), 8)

    assert logs == {}
    assert set(tally.metrics()) == {"accuracy", "crossentropy"}


def test_a_regression_has_its_loss_alone():
    model = compiled(net(None, 1), "mean_squared_error", ["mae"])
    x, y = images()

    scorer = KerasScorer(model)
    logs, tally = scorer.evaluate(x, y / 2, 8)

    assert (scorer.classes, tally) == (None, None)
    assert set(logs) == {"loss", "mae"}


def test_outputs_that_are_no_numbers_are_an_error_of_ours():
    model = compiled(net(), CROSSENTROPY())
    model.get_layer("last").bias.assign([np.nan] * 3)

    with pytest.raises(DataError, match="NaN or infinity for 8 of 8"):
        KerasScorer(model).evaluate(*images(), 8)


def test_labels_that_have_no_output_are_refused_before_anything_is_done():
    x, y = images()

    with pytest.raises(DataError, match="from 0 to 2.*Received: 5"):
        KerasScorer(net()).evaluate(x, y + 3, 8)


def own_loss(y_true, y_pred):
    return keras.ops.mean(y_pred, -1)


def test_what_cannot_be_evaluated_is_refused_in_words():
    image = keras.Input((8, 8, 3))
    flat = layers.Flatten()(image)
    two = keras.Model(image, [layers.Dense(2)(flat), layers.Dense(3)(flat)])

    with pytest.raises(DataError, match="one output. Received: 2"):
        KerasScorer(two)
    with pytest.raises(DataError, match="takes one image"):
        KerasScorer(keras.Sequential([keras.Input((4,)), layers.Dense(2)]))
    with pytest.raises(DataError, match="Received: own_loss"):
        KerasScorer(compiled(net(), own_loss))


def test_what_made_an_output_is_found_behind_layers_that_leave_it():
    inner = net("softmax")
    image = keras.Input((8, 8, 3))
    outputs = layers.Identity()(inner(image))
    apart = layers.Activation("sigmoid")(net(None)(image))

    assert activation(outputs) == "softmax"
    assert activation(apart) == "sigmoid"
    assert activation(net(None).outputs[0]) == "linear"
    assert KerasScorer(net("softmax")).meaning == PROBABILITY
    assert KerasScorer(net(None)).meaning == SCORE
