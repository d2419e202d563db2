"""Scenes in which it is known what an attack can find out."""

import keras
import numpy as np
from keras import layers

import keras_split
from keras_split import audit

BATCH = 32


def blobs(count, seed, channels=1, side=8):
    """Images of one bright spot each, of values 0 to 1, by its quadrant."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(1, side - 2, (count, 2, 1, 1))
    y, x = np.mgrid[:side, :side]
    far = (y - middle[:, 0]) ** 2 + (x - middle[:, 1]) ** 2
    images = np.repeat(np.exp(-far / 4)[..., None], channels, -1)
    labels = (middle[:, 0] > side / 2) + 2 * (middle[:, 1] > side / 2)
    return audit.Examples(
        images.astype("float32"), labels.reshape(-1).astype("int32")
    )


def scene(head, public, quantization="float32", defenses=()):
    """A client, and what its server knows.

    Args:
        head: A layer, behind which the model is cut.
        public: Examples.
        quantization: Of the cut.
        defenses: Of the phone.
    """
    keras.utils.set_random_seed(0)
    head.name = "a"
    model = keras.Sequential(
        [
            keras.Input(public.x.shape[1:]),
            head,
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="b"),
            layers.Dense(4, activation="softmax"),
        ]
    )
    client, server = keras_split.compile(
        model,
        cut=["a", "b"],
        quantization=quantization,
        defenses=list(defenses),
    )
    return client, audit.scene_of(client, server, public, classes=4)


def sees(client, private, steps=2):
    """What a server sees of some steps of a phone that does not learn."""
    seen = []
    for step in range(steps):
        x = private.x[BATCH * step :][:BATCH]
        smashed = np.asarray(client.head([x], training=True))
        features = np.zeros((len(x), 8), "float32")
        seen.append(audit.Seen(step, [smashed], [features], [], [], 0.1))
    return seen


def tried(attack, client, scene, seen, seconds=60.0):
    """An attack that heard of these steps, at its end."""
    attack.begin(scene)
    for step in seen:
        attack.saw(step)
    told = audit.Leaked(client.head, client.head)
    attack.end(told, seconds)
    return attack
