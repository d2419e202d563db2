"""Phones of a merged cohort without fit: a head and a tail for all of them.

Their halves are one at any time when each step's gradients are averaged, so
one copy stands for all; each phone has a session and examples of its own.
"""

import threading

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_split
from keras_split.client.cohort import CohortClient
from keras_split.client.retry import Retry
from keras_split.client.session import ClientSession
from keras_split.compression.cut_codec import CutCodec
from keras_split.protocol.cohort import AveragingTerms
from keras_split.training.optimizer_description import describe
from keras_split.transports import Route

WAIT_S = 60.0
RATE = 0.01
TERMS = AveragingTerms()
RETRY = Retry()


def network():
    """A head `a`, a body with batch normalization, a tail `c`."""
    keras.utils.set_random_seed(0)
    x = values = keras.Input((4,))
    x = layers.Dense(5, activation="tanh", name="a")(x)
    # Its normalization makes a bias do nothing, and Adam something of noise.
    x = layers.Dense(6, use_bias=False, kernel_regularizer="l2", name="b")(x)
    x = layers.BatchNormalization(name="b_bn")(x)
    x = layers.ReLU(name="b_relu")(x)
    x = layers.Dense(3, activation="softmax", name="c")(x)
    return keras.Model(values, x)


def compiled(quantization="float32"):
    model = network()
    return model, *keras_split.compile(
        model, ["a", "b_relu"], quantization=quantization
    )


class FakeHalf:
    size, weights, layout = 4, 3, "0" * 64  # and a slot

    def __init__(self):
        self.vector = np.zeros(self.size, np.float32)

    def get(self):
        return self.vector.copy()

    def set(self, vector):
        self.vector[:] = vector


class Halves:
    """One head and one tail, and the gradients of a step of all phones."""

    def __init__(self, client, optimizer=None):
        self.head, self.tail = client.head, client.tail
        self.weights = [
            *self.head.trainable_variables,
            *self.tail.trainable_variables,
        ]
        self.optimizer = optimizer or keras.optimizers.Adam(RATE)
        contract = client.contract
        rules = contract.quantization
        self.smashed = CutCodec(contract.smashed, rules.activations)
        self.features = CutCodec(contract.features, rules.activations)
        self.features_grad = CutCodec(contract.features, rules.gradients)
        self.smashed_grad = CutCodec(contract.smashed, rules.gradients)
        self.lock = threading.Lock()
        self.parts = {}

    def forward(self, x):
        with self.lock:
            parts = self.smashed.quantize(keras.tree.flatten(self.head([x])))
        return self.smashed.wrap([p.numpy() for p in parts])

    def loss(self, features, y):
        (features,) = self._read(self.features, features)
        with self.lock, tf.GradientTape() as tape:
            tape.watch(features)
            found = keras.losses.sparse_categorical_crossentropy(
                y, keras.tree.flatten(self.tail([features]))[0]
            )
            loss = tf.reduce_mean(found)
        of = [features, *self.tail.trainable_variables]
        grad, *tail = tape.gradient(loss, of)
        parts = self.features_grad.quantize([grad])
        return self.features_grad.wrap([p.numpy() for p in parts]), tail

    def backward(self, x, smashed_grad):
        (grad,) = self._read(self.smashed_grad, smashed_grad)
        with self.lock, tf.GradientTape() as tape:
            (smashed,) = keras.tree.flatten(self.head([x]))
        of = self.head.trainable_variables
        return tape.gradient(smashed, of, output_gradients=grad)

    def add(self, step, member, count, gradients):
        """Gradients of the mean over `count` examples of one phone."""
        with self.lock:
            of = self.parts.setdefault(step, {})
            of[member] = count, [count * grad for grad in gradients]

    def update(self):
        """All phones are at the end of a step; the same sums each time."""
        for step in sorted(self.parts):
            _, of = zip(*sorted(self.parts.pop(step).items()), strict=True)
            counts, grads = zip(*of, strict=True)
            means = [sum(g) / sum(counts) for g in zip(*grads, strict=True)]
            self.optimizer.apply(means, self.weights)

    def _read(self, codec, tensors):
        parts = [tf.convert_to_tensor(p) for p in codec.unwrap(tensors)]
        return codec.dequantize(parts)


class Phone:
    """One phone of a cohort, over a network."""

    def __init__(
        self, target, contract, x, y, halves, terms=TERMS, retry=RETRY
    ):
        self.x, self.y, self.halves = x, y, halves
        self.session = ClientSession(
            Route.to(f"grpc://{target}"), overlap=False, retry=retry
        )
        self.session.connect(contract, describe(halves.optimizer))
        self.cohort = CohortClient(self.session, terms, FakeHalf(), len(x))
        self.cohort.enroll()
        self.taken, self.epoch = 0, 0
        self.rows = {}

    @property
    def left(self):
        return len(self.x) - self.taken

    def ask(self):
        return self.cohort.share(self.left, self.epoch)

    def forward(self, share):
        rows = slice(self.taken, self.taken + share.count)
        self.taken += share.count
        self.rows[share.step] = self.x[rows], self.y[rows]
        features, _ = self.session.forward(self.halves.forward(self.x[rows]))
        return features

    def backward(self, share, features):
        x, y = self.rows[share.step]
        grads, tail = self.halves.loss(features, y)
        smashed_grad = self.session.backward(grads, RATE)
        head = self.halves.backward(x, smashed_grad)
        self.halves.add(
            share.step, self.cohort.member, share.count, [*head, *tail]
        )

    def step(self):
        """One step, whole; False if the epoch is over."""
        share = self.ask()
        if share.step < 0:
            self.taken, self.epoch = 0, self.epoch + 1
            return share
        if share.count:
            self.backward(share, self.forward(share))
        return share


BATCH = 12


def data(count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype("int32")


def together(calls, timeout_s=WAIT_S):
    """Runs calls in threads of their own, and returns what they return."""
    results = [None] * len(calls)

    def run(i):
        try:
            results[i] = calls[i]()
        except BaseException as error:
            results[i] = error

    threads = [
        threading.Thread(target=run, args=(i,), daemon=True)
        for i in range(len(calls))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
        assert not thread.is_alive(), "a phone still waits"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
