"""A loss that makes a head tell less."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split.defenses import NoPeek
from keras_split.defenses.distance_correlation import distance_correlation
from keras_split.errors import DefenseError
from tests import nets

SPARSE = "sparse_categorical_crossentropy"


def pair(count=12):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 5)).astype("float32")
    z = np.tanh(x[:, :3] + rng.normal(size=(count, 3))).astype("float32")
    return x, z


def of_the_definition(x, z):
    """Székely's, with a loop for each distance."""

    def centered(v):
        v = v.astype("float64")
        d = np.array([[np.linalg.norm(a - b) for a in v] for b in v])
        return d - d.mean(0) - d.mean(1)[:, None] + d.mean()

    a, b = centered(x), centered(z)
    return (a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())


def found(x, z, count=None):
    count = len(x) if count is None else count
    return float(distance_correlation(tf.constant(x), tf.constant(z), count))


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_it_is_the_distance_correlation_whatever_the_scale(size):
    x, z = pair()

    expected = of_the_definition(x, z)

    assert 0.3 < expected < 0.9
    assert found(size * x, z / size) == pytest.approx(expected, abs=1e-5)
    assert found(x + 100, z) == pytest.approx(expected, abs=1e-3)


def test_it_is_one_for_a_copy_that_is_turned_and_none_for_a_constant():
    x, _ = pair()
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))

    assert found(x, (3 * x @ turned).astype("float32")) == pytest.approx(1.0)
    assert found(x, np.ones((12, 2), "float32")) == 0
    assert found(x[:1], x[:1]) == 0


def test_what_fills_a_batch_up_does_not_count():
    x, z = pair(9)
    filled = [np.concatenate([t, t[:1].repeat(3, 0)]) for t in (x, z)]

    assert found(*filled, 9) == pytest.approx(of_the_definition(x, z), abs=1e-6)


def test_its_gradient_is_that_of_the_definition_with_doubles_too():
    x, z = pair(6)
    x[1], z[1] = x[0], z[0]  # at a distance of 0
    z = tf.constant(z)

    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = distance_correlation(tf.constant(x), z, 6)
    gradient = tape.gradient(loss, z).numpy()

    assert np.isfinite(gradient).all()
    for i, j in [(2, 0), (3, 1), (5, 2)]:
        step = np.zeros((6, 3))
        step[i, j] = 1e-5
        up, down = (of_the_definition(x, z.numpy() + s) for s in (step, -step))
        assert gradient[i, j] == pytest.approx((up - down) / 2e-5, abs=1e-4)


def halves(weight, cut=("a", "b"), rate=0.1, freeze=False, **options):
    model = nets.built(nets.dense)
    model.get_layer("a").trainable = not freeze
    client, _ = keras_split.compile(
        model,
        list(cut),
        quantization="float32",
        defenses=[NoPeek(weight)],
    )
    client.compile(keras.optimizers.SGD(rate), SPARSE, **options)
    return client


@pytest.mark.parametrize("cut", [("a", "b"), ("a",)])
def test_the_logged_loss_has_it_and_that_of_evaluate_has_not(cut):
    x, y = nets.vectors(26)
    plain, with_it = halves(0.0, cut, rate=0.0), halves(2.0, cut, rate=0.0)

    one, two = (c.train_on_batch(x, y) for c in (plain, with_it))

    told = of_the_definition(x, np.array(with_it.head([x])))
    assert two - one == pytest.approx(2.0 * told, abs=1e-5)
    assert plain.evaluate(x, y, verbose=0) == with_it.evaluate(x, y, verbose=0)


def test_a_head_learns_to_tell_less():
    x, y = nets.vectors(26)
    client = halves(5.0, rate=0.5)
    before = of_the_definition(x, np.array(client.head([x])))

    client.fit(x, y, batch_size=26, epochs=20, verbose=0)

    after = of_the_definition(x, np.array(client.head([x])))
    assert after < 0.8 * before


def test_parts_of_a_batch_are_refused():
    client = halves(1.0, strategy=keras_split.SplitStrategy(microbatches=2))

    with pytest.raises(DefenseError, match="batches that travel whole"):
        client.train_on_batch(*nets.vectors(26))


def test_a_head_that_cannot_learn_is_refused():
    client = halves(1.0, freeze=True)

    with pytest.raises(DefenseError, match="head with weights to train"):
        client.train_on_batch(*nets.vectors(26))


@pytest.mark.parametrize("weight", [-1, "much", None])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(DefenseError, match="Expected a weight from 0"):
        NoPeek(weight)
