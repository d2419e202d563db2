"""A split model beside a whole one: they must train alike."""

import keras
import numpy as np

import keras_split
from tests import nets

LOSS = "sparse_categorical_crossentropy"


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


class Pair:
    """A whole model, and a client and a server made of its equal."""

    def __init__(self, build=nets.dense, cut=("a", "b"), prepare=None):
        self.whole, self.model = nets.built(build), nets.built(build)
        if prepare is not None:
            prepare(self.whole)
            prepare(self.model)
        self.client, self.server = keras_split.compile(
            self.model, list(cut), quantization="float32"
        )

    def compile(self, optimizer=sgd, loss=LOSS, **options):
        for model in (self.whole, self.client):
            model.compile(optimizer(), loss, **options)
        return self

    def fit(self, make=nets.vectors, **options):
        """Fits both on what `make()` returns; returns both histories."""
        options = {"epochs": 2, "shuffle": False, "verbose": 0} | options
        logs = []
        for model in (self.whole, self.client):
            data = make()
            data = data if isinstance(data, tuple) else (data,)
            logs.append(model.fit(*data, **options).history)
        return logs

    def difference(self):
        """The largest difference between their variables."""
        whole, model = nets.values_of(self.whole), nets.values_of(self.model)
        assert nets.largest_difference(whole, model) < np.inf
        return nets.largest_difference(whole, model)


def assert_same_logs(actual, expected, rtol=1e-5):
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol, 1e-6)


def assert_fits_alike(pair, make=nets.vectors, **options):
    before = nets.values_of(pair.whole)

    expected, actual = pair.fit(make, **options)

    assert nets.largest_difference(before, nets.values_of(pair.whole)) > 1e-3
    assert pair.difference() <= 1e-6
    assert_same_logs(actual, expected)
