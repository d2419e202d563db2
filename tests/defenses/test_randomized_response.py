"""Labels that are drawn once for an example."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split.defenses import Accountant
from keras_split.defenses import Chain
from keras_split.defenses import GaussianMechanism
from keras_split.defenses import PrivacyBudget
from keras_split.defenses import RandomizedResponse
from keras_split.defenses.randomized_response import odds
from keras_split.errors import DefenseError
from tests import nets

SPARSE = "sparse_categorical_crossentropy"


def draw(y, x, loss=SPARSE, classes=5, epsilon=1.0, seed=7):
    chain = Chain([RandomizedResponse(epsilon)], seed=seed)
    return chain.answers(
        tf.constant(y), loss, (classes,), [tf.constant(x)]
    ).numpy()


def inputs(count):
    return np.random.default_rng(0).normal(size=(count, 3)).astype("float32")


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 8.0, 20.0])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000, 4096])
def test_no_quotient_of_probabilities_exceeds_epsilon(epsilon, classes):
    keep, bits = odds(epsilon, classes)

    others = np.bincount(
        np.arange(2**bits, dtype="int64") * (classes - 1) >> bits
        if bits <= 22
        else [0],
        minlength=classes - 1,
    )
    least, most = 2**bits // (classes - 1), -(-(2**bits) // (classes - 1))
    if bits <= 22:
        assert (others.min(), others.max()) == (least, most)
    rest = 2**32 - keep
    stays = keep / rest * 2**bits / least
    assert 0 < stays <= math.exp(epsilon)
    assert rest * most / 2**bits / keep <= math.exp(epsilon)
    assert most / least <= math.exp(epsilon)
    # As near to it as 32 bits and the others' rounding let it be.
    if 0.05 < epsilon < 20:
        assert stays >= 0.98 * math.exp(epsilon)


def test_labels_stay_and_become_others_as_often_as_it_says():
    x = inputs(20_000)
    y = np.full(20_000, 2)

    counts = np.bincount(draw(y, x, epsilon=1.5), minlength=5) / 20_000

    stays = math.exp(1.5) / (math.exp(1.5) + 4)
    expected = np.where(np.arange(5) == 2, stays, (1 - stays) / 4)
    np.testing.assert_allclose(counts, expected, atol=0.012)


def test_the_draw_is_an_examples_whatever_its_batch():
    x = inputs(64)
    y = np.arange(64) % 5

    found = draw(y, x)

    np.testing.assert_array_equal(draw(y[::-1], x[::-1]), found[::-1])
    np.testing.assert_array_equal(draw(y[5:9], x[5:9]), found[5:9])
    assert (found != y).any()
    assert (draw(y, x, seed=8) != found).any()
    assert (draw(y, x + 1) != found).any()


@pytest.mark.parametrize(
    ("loss", "classes", "labels"),
    [
        (SPARSE, 5, lambda y: y[:, None].astype("int64")),
        ("categorical_crossentropy", 5, lambda y: np.eye(5)[y]),
        (keras.losses.CategoricalCrossentropy(), 5, lambda y: np.eye(5)[y]),
        (keras.losses.sparse_categorical_crossentropy, 5, lambda y: y),
        ("binary_crossentropy", 1, lambda y: (y % 2)[:, None].astype("f4")),
        (keras.losses.BinaryCrossentropy(), 1, lambda y: y % 2),
    ],
)
def test_labels_of_each_kind_keep_their_form(loss, classes, labels):
    y = labels(np.arange(200) % 5)

    made = draw(y, inputs(200), loss, classes)

    assert (made.shape, made.dtype) == (y.shape, y.dtype)
    assert set(np.unique(made)) == set(np.unique(y))
    assert 0.1 < np.mean(made != y) < 0.9


def test_a_number_that_is_no_class_stays_for_the_loss_to_tell():
    made = draw(np.array([-1, 7] * 20), inputs(40))

    np.testing.assert_array_equal(made, [-1, 7] * 20)


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        ("mse", (5,)),
        (None, (5,)),
        (SPARSE, (4, 4, 5)),
        ("binary_crossentropy", (3,)),
        (SPARSE, (1,)),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=0), (5,)),
    ],
)
def test_what_is_not_one_class_for_an_example_is_refused(loss, shape):
    chain = Chain([RandomizedResponse(1.0)], seed=7)

    with pytest.raises(DefenseError, match="Expected (a cross|one label)"):
        chain.answers(tf.zeros((2, 1)), loss, shape, [tf.zeros((2, 3))])


def test_too_many_classes_are_refused():
    with pytest.raises(DefenseError, match="2 to 4096 classes"):
        draw(np.array([1]), inputs(1), classes=5000)


@pytest.mark.parametrize("epsilon", [0, 21, "much", None])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    with pytest.raises(DefenseError, match="Expected an? epsilon from 0.01"):
        RandomizedResponse(epsilon)


class Sent(keras_split.SplitStrategy):
    """Keeps the gradients that were sent, and labels of a model cut once."""

    def __init__(self):
        super().__init__()
        self.grads, self.labels = [], []

    def backward(self, features_grad, learning_rate):
        self.grads.append(features_grad[0].codes)
        return super().backward(features_grad, learning_rate)

    def labeled_step(self, smashed, labels, *rest):
        self.labels.append(labels[0].codes)
        return super().labeled_step(smashed, labels, *rest)


def halves(cut=("a", "b"), defenses=(), **options):
    keras.utils.set_random_seed(0)
    client, server = keras_split.compile(
        nets.dense(), list(cut), quantization="float32", defenses=defenses
    )
    client.compile(
        keras.optimizers.SGD(0.1),
        SPARSE,
        metrics=["accuracy"],
        strategy=Sent(),
        **options,
    )
    return client, server


def test_a_training_is_that_of_drawn_labels_and_metrics_are_of_true_ones():
    x, y = nets.vectors(26)
    chain = Chain([RandomizedResponse(0.5)], seed=7)
    other = chain.answers(tf.constant(y), SPARSE, (3,), [tf.constant(x)])
    client, _ = halves(defenses=chain)
    plain, _ = halves()

    drawn = client.fit(x, y, batch_size=13, epochs=2, shuffle=False, verbose=0)
    expected = plain.fit(
        *(x, other.numpy()),
        **dict(batch_size=13, epochs=2, shuffle=False, verbose=0),
    )

    for one, two in zip(client.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(client.strategy.grads, plain.strategy.grads)
    assert drawn.history["loss"] == expected.history["loss"]
    assert drawn.history["accuracy"] != expected.history["accuracy"]
    one, two = (half.evaluate(x, y, verbose=0) for half in (client, plain))
    assert one == two


def test_a_server_that_computes_the_loss_gets_drawn_labels():
    x, y = nets.vectors(26)
    chain = Chain([RandomizedResponse(0.5)], seed=7)
    other = chain.answers(tf.constant(y), SPARSE, (3,), [tf.constant(x)])
    client, _ = halves(["a"], chain)

    client.train_on_batch(x, y)

    np.testing.assert_array_equal(client.strategy.labels[0], other)
    assert Accountant(client, "labels").epsilon(epochs=9) == 0.5


def test_weights_which_may_tell_a_label_are_refused():
    x, y = nets.vectors(26)
    client, _ = halves(defenses=[RandomizedResponse(0.5)])

    with pytest.raises(DefenseError, match="without weights"):
        client.fit(x, y, class_weight={0: 2.0, 1: 1.0, 2: 1.0}, verbose=0)


def test_epsilon_is_that_of_the_whole_training_unless_inputs_change():
    client, _ = halves(
        defenses=[GaussianMechanism(1.0, 8.0), RandomizedResponse(0.5)]
    )
    inputs_alone = Accountant(client, "inputs")
    both = Accountant(client)
    labels = Accountant(client, "labels")
    anew = Accountant(client, "labels", augmented=True)

    assert labels.epsilon(100, inferences=3) == 0.5
    assert labels.everything(100, examples=50) == 0.5
    assert labels.epsilon(0) == 0
    assert anew.epsilon(100) == anew.everything(100, examples=50) == 50
    assert both.epsilon(3) == inputs_alone.epsilon(3) + 0.5
    with pytest.raises(DefenseError, match="trained with alone"):
        both.epsilon(3, inferences=1)


def test_a_way_round_the_server_counts_for_both_and_not_for_labels():
    client, _ = keras_split.compile(
        nets.two_by_two(),
        ["a", "b"],
        defenses=[GaussianMechanism(1.0, 8.0), RandomizedResponse(0.5)],
    )

    with pytest.raises(DefenseError, match="goes round the server"):
        Accountant(client)
    assert Accountant(client, "labels").epsilon(1) == 0.5


def test_a_budget_logs_it():
    x, y = nets.vectors(26)
    client, _ = halves(defenses=[RandomizedResponse(0.5)])
    budget = PrivacyBudget(limit=0.6, secret="labels")

    told = client.fit(x, y, epochs=3, callbacks=[budget], verbose=0)

    assert told.history["epsilon"] == [0.5, 0.5, 0.5]
