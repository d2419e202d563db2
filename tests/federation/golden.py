"""A phone of a merged cohort, and what unsplit training makes of its steps.

    python -m tests.federation.golden ADDRESS,... NUMBER FILE

is one phone as a process: it trains a model with each server, and writes
which examples of its own were in which step, and its weights.
"""

import sys

import keras
import numpy as np
from keras import layers

import keras_split
from tests import nets

LOSS = "sparse_categorical_crossentropy"
SIZES = [8, 12, 20, 25, 30, 35, 45, 55]
BATCH = 24
EPOCHS = 2
STEPS = 20  # 230 examples are nine batches of 24, and one of 14


def normalized():
    """Batch normalization in the body alone."""
    x = values = keras.Input((4,), name="values")
    x = layers.Dense(5, activation="tanh", name="a")(x)
    # A bias in front of it would have gradients that are noise alone.
    x = layers.Dense(6, use_bias=False, name="b")(x)
    x = layers.BatchNormalization(name="b_bn")(x)
    x = layers.ReLU(name="b_relu")(x)
    x = layers.Dense(3, activation="softmax", name="c")(x)
    return keras.Model(values, x)


NETS = [(nets.dense, ("a", "b")), (normalized, ("a", "b_relu"))]


def halves(build, cut):
    return keras_split.compile(
        nets.built(build), list(cut), quantization="float32"
    )


def shards(sizes):
    """Disjoint examples for each phone, sorted by class, so no two alike."""
    x, y = nets.vectors(sum(sizes))
    order = np.argsort(y, kind="stable")
    ends = np.cumsum(sizes)[:-1]
    parts = np.split(x[order], ends), np.split(y[order], ends)
    return [*zip(*parts, strict=True)]


class Counts(keras_split.SessionTap):
    """How many examples were in each step."""

    def __init__(self):
        self.of = {}

    def sent(self, message):
        merged = getattr(message, "merged", None)
        if merged is not None:
            self.of[merged.step] = merged.count


def phone(address, build, cut, eagerly=False):
    """A client, and what counts its examples."""
    client, _ = halves(build, cut)
    counts = Counts()
    client.compile(
        keras.optimizers.Adam(0.01),
        LOSS,
        run_eagerly=eagerly,
        strategy=keras_split.SplitStrategy(address, taps=[counts]),
    )
    return client, counts


def train(client, shard, epochs=EPOCHS):
    """Trains one phone; returns its half."""
    client.fit(
        *(*shard, 8, epochs, 0),
        callbacks=[keras_split.FederatedAveraging(1, examples=len(shard[1]))],
        shuffle=False,
    )
    client.close()
    return [client.head.get_weights(), client.tail.get_weights()]


def pooled(counts, shards, epochs=EPOCHS):
    """The batch of each step, from the counts of all phones."""
    steps = 1 + max(step for of in counts for step in of)
    rows = [
        np.tile(np.arange(len(y)), epochs) if len(y) else np.arange(0)
        for _, y in shards
    ]
    taken = [0] * len(shards)
    batches = []
    for step in range(steps):
        xs, ys = [], []
        for phone, (x, y) in enumerate(shards):
            count = counts[phone].get(step, 0)
            chosen = rows[phone][taken[phone] : taken[phone] + count]
            taken[phone] += count
            xs.append(x[chosen])
            ys.append(y[chosen])
        batches.append((np.concatenate(xs), np.concatenate(ys)))
    assert taken == [len(found) for found in rows]
    return batches


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def unsplit(build, batches):
    """Head, body and tail of a whole model after `fit` on these batches."""
    model = nets.built(build)
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    model.fit(Batches(batches), shuffle=False, verbose=0)
    return model


def main(addresses, number, path):
    shard = shards(SIZES)[int(number)]
    content = {}
    for n, address in enumerate(addresses.split(",")):
        client, counts = phone(address, *NETS[n])
        head, tail = train(client, shard)
        content[f"{n}_steps"] = np.array([*counts.of], np.int64)
        content[f"{n}_counts"] = np.array([*counts.of.values()], np.int64)
        for part, values in (("head", head), ("tail", tail)):
            for i, value in enumerate(values):
                content[f"{n}_{part}_{i}"] = value
    np.savez(path, **content)


if __name__ == "__main__":
    main(*sys.argv[1:])
