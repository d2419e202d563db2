"""Each inversion attack where it is known what can be found out."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split import audit
from keras_split.datasets import fashion_mnist
from tests.audit import answers

PUBLIC = answers.blobs(256, 0)
PRIVATE = answers.blobs(64, 1)


def attacks():
    return [
        audit.KnownHead(steps=150),
        audit.InitialHead(steps=150),
        audit.Simulator(steps_per_step=1, steps_at_end=150),
        audit.SDAR(steps_per_step=1, steps_at_end=150),
        audit.UnSplit(rounds=10),
    ]


def scores(attack, guess):
    return audit.likeness(PRIVATE.x, guess.inputs, (0.0, 1.0))


@pytest.fixture(scope="module")
def identity():
    client, scene = answers.scene(layers.Rescaling(2.0, -1.0), PUBLIC)
    return client, scene, answers.sees(client, PRIVATE)


@pytest.fixture(scope="module")
def constant():
    client, scene = answers.scene(layers.Rescaling(0.0, 0.5), PUBLIC)
    return client, scene, answers.sees(client, PRIVATE)


@pytest.mark.parametrize("attack", attacks(), ids=lambda a: a.name)
def test_a_head_that_hides_nothing_gives_the_inputs_back(attack, identity):
    client, scene, seen = identity

    found = scores(attack, answers.tried(attack, *identity).guess(seen))

    assert found.psnr > 24 and found.ssim > 0.96 and found.match == 1
    spent = attack.spent()
    assert spent.steps >= 150 and spent.seconds > 0


@pytest.mark.parametrize("attack", attacks(), ids=lambda a: a.name)
def test_nobody_beats_the_mean_image_where_all_looks_alike(attack, constant):
    client, scene, seen = constant
    mean = audit.baselines(PUBLIC, PRIVATE)["mean image"]
    best = audit.likeness(PRIVATE.x, mean, (0.0, 1.0))

    found = scores(attack, answers.tried(attack, *constant).guess(seen))

    assert found.mse > 0.98 * best.mse
    assert found.match <= 1 / found.among


def fashion():
    """Images of a phone and public ones, of the 6,000 that come with us."""
    (x, y), _ = fashion_mnist.load_subset()
    x = (x[..., None] / 255).astype("float32")
    return [audit.Examples(x[i::2], y[i::2].astype("int32")) for i in (0, 1)]


def small_cnn():
    norm = {"momentum": 0.9}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPool2D(name="shallow"),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(**norm),
            layers.ReLU(),
            layers.MaxPool2D(),
            layers.Conv2D(64, 3, padding="same", use_bias=False),
            layers.BatchNormalization(**norm),
            layers.ReLU(),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu", name="wide"),
            layers.Dense(10),
        ]
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_clothes_are_seen_without_the_head_and_clearly_with_it():
    private, public = fashion()
    keras.utils.set_random_seed(0)
    client, server = keras_split.compile(small_cnn(), cut=["shallow", "wide"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    client.compile(keras.optimizers.Adam(1e-3), loss)
    scene = audit.scene_of(client, server, public, classes=10)
    tried = [audit.KnownHead(steps=1000), audit.SDAR()]

    watched = audit.watch(
        *(client, server, private, tried, scene), epochs=4, batch_size=64
    )

    truth = watched.last.truth
    found = audit.baselines(public, truth)
    for attack in tried:
        attack.end(audit.leak(attack, client, watched), seconds=400)
        guess = attack.guess(watched.last.seen)
        found[attack.name] = guess.inputs
        print(attack.name, attack.spent())
    ssim = {}
    for name, inputs in found.items():
        scores = audit.likeness(truth.x, inputs, audit.bounds_of(public.x))
        print(name, scores)
        ssim[name] = scores.ssim
    assert ssim["known head"] > 0.9
    assert ssim["SDAR"] > 0.55
    assert ssim["class mean"] < 0.37 and ssim["mean image"] < 0.15
    labels = attack.guess(watched.last.seen).labels
    assert np.mean(labels == truth.y) > 0.5
