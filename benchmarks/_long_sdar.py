"""SDAR for as long as one likes, beside the figures of its paper.

    python benchmarks/_long_sdar.py --data cifar10 --level 4 --steps 10000
    python benchmarks/_long_sdar.py --data clothes --level 7 --steps 1000

Zhu et al. (arXiv 2310.10483) cut a ResNet-20 for CIFAR-10 in a U shape, and
report at level 4 a mean squared error of 0.0086 and 98.7 % of the labels, at
level 7 0.0242 and 97.3 % (the abstract of version 6 says over 98 %). What
differs here: the critic, no labels in the discriminators, hundreds to
thousands of steps instead of tens of thousands, and perhaps the place of the
cut, for we read level n as the convolution and n - 1 blocks. `clothes` are
images of Fashion-MNIST, resized to 32x32 and three equal channels: the same
shape and not the same task, as no CIFAR comes with keras_split.
"""

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

import keras_split
from keras_split import audit
from keras_split import datasets

PUBLISHED = {4: (0.0086, 0.987), 7: (0.0242, 0.973)}


def resnet(level: int) -> keras.Model:
    """ResNet-20 for 32x32 images; `cut` is behind block `level - 1`."""
    norm = {"momentum": 0.9}
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization(**norm)(x))
    for block in range(9):
        width, stride = 16 << block // 3, 2 if block in (3, 6) else 1
        kernel = {"padding": "same", "use_bias": False}
        y = layers.Conv2D(width, 3, stride, **kernel)(x)
        y = layers.ReLU()(layers.BatchNormalization(**norm)(y))
        y = layers.Conv2D(width, 3, **kernel)(y)
        y = layers.BatchNormalization(**norm)(y)
        if stride > 1:
            x = layers.Conv2D(width, 1, stride, **kernel)(x)
        name = "cut" if block == level - 2 else None
        x = layers.ReLU(name=name)(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(image, layers.Dense(10)(x))


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images of values from 0 to 1, and labels."""
    if name == "cifar10":
        (x, y), _ = keras.datasets.cifar10.load_data()
        return (x / 255).astype("float32"), y.reshape(-1).astype("int32")
    (x, y), _ = datasets.fashion_mnist.load_full()
    large = keras.ops.image.resize(x[..., None] / 255.0, (32, 32))
    return np.repeat(np.asarray(large, "float32"), 3, -1), y.astype("int32")


def main() -> None:
    """Trains, attacks, and prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", choices=("cifar10", "clothes"), default="clothes"
    )
    parser.add_argument("--level", type=int, default=4, choices=range(2, 10))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--images", type=int, default=25000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    x, y = load(options.data)
    order = np.random.default_rng(options.seed).permutation(len(x))
    private, public = (
        audit.Examples(x[rows], y[rows])
        for rows in (order[: options.images], order[-options.images :])
    )
    client, server = keras_split.compile(
        resnet(options.level), cut=["cut", "features"]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    client.compile(keras.optimizers.Adam(1e-3), loss)
    scene = audit.scene_of(client, server, public, 10, options.seed)
    attack = audit.SDAR(steps_per_step=1, batch_size=options.batch)
    watched = audit.watch(
        *(client, server, private, [attack], scene),
        epochs=1,
        batch_size=options.batch,
        steps=options.steps,
    )
    attack.end(audit.leak(attack, client, watched), seconds=float("inf"))

    truth, guess = watched.last.truth, attack.guess(watched.last.seen)
    bounds = audit.bounds_of(public.x)
    rows = audit.baselines(public, truth) | {"SDAR": guess.inputs}
    found = {
        name: vars(audit.likeness(truth.x, made, bounds))
        for name, made in rows.items()
    }
    labels = float(np.mean(guess.labels == truth.y))
    published = PUBLISHED.get(options.level)
    print(
        json.dumps(
            vars(options)
            | found
            | {"labels": labels, "published": published}
            | {"spent": vars(attack.spent())}
        )
    )


if __name__ == "__main__":
    main()
