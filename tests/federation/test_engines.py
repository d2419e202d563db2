"""Phones that train in other processes make the numbers of one process."""

import threading
from dataclasses import replace
from fractions import Fraction

import keras
import numpy as np
import pytest
from ray import cloudpickle

from keras_split.defenses import GaussianNoise
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.federation import engines
from keras_split.federation import shards
from keras_split.federation.simulation import simulate
from keras_split.ray import RayEngine
from tests import nets
from tests.federation.test_simulation import CUT
from tests.federation.test_simulation import compiled
from tests.federation.test_simulation import uneven


class Backwards:
    """Trainers that went through Ray's pickle; whose turn is last, is first."""

    def __init__(self, trainers=2):
        self.trainers = trainers
        self.closed = 0

    def open(self, make, *, tasks, shared_bytes):
        made = cloudpickle.dumps(make)
        self.made = [cloudpickle.loads(made)() for _ in range(self.trainers)]
        assert shared_bytes > len(made)
        return self

    def each(self, shared, tasks):
        for number, task in enumerate(reversed(tasks)):
            yield self.made[number % self.trainers](shared, task)

    def close(self):
        self.closed += 1


def same(one, other):
    assert [replace(r, seconds=0) for r in one.rounds] == [
        replace(r, seconds=0) for r in other.rounds
    ]
    both = one.model.get_weights(), other.model.get_weights()
    assert all(map(np.array_equal, *both))


def dropout():
    """Adam's slots, dropout's seeds and statistics, all of a phone's own."""
    model = nets.built(nets.plain)
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


@pytest.mark.slow
def test_any_order_in_any_process_makes_the_numbers_of_one(monkeypatch):
    x, y = nets.images(40)
    data = shards.Shards(x, y, shards.dirichlet(y, 5, 0.5, seed=1))
    options = {
        "mode": "private",
        "rounds": 3,
        "participation": 3,
        "batch": 4,
        "batchnorm": "local",
        "optimizer": "adam",
        "poison": {0: -2.0},
        "quantization": "small",
        "defenses": [GaussianNoise(0.1)],
    }
    cut, engine = ["a_relu", "b_drop"], Backwards()
    # Of what one draws, the seed is a secret that each call makes anew.
    monkeypatch.setattr("secrets.randbits", lambda bits: 7)

    one = simulate(dropout(), cut, data, **options)
    many = simulate(dropout(), cut, data, engine=engine, **options)

    same(one, many)
    assert engine.closed == 1


def test_what_is_registered_and_not_used_need_not_be_pickled(monkeypatch):
    known = keras.saving.get_custom_objects()
    monkeypatch.setitem(known, "tests>Lock", threading.Lock())
    options = {"mode": "fedavg", "rounds": 1, "batch": 8}

    one = simulate(compiled("sgd"), CUT, uneven(), **options)
    many = simulate(
        compiled("sgd"), CUT, uneven(), engine=Backwards(), **options
    )

    same(one, many)


def test_the_whole_model_on_each_phone_is_averaged_alike():
    options = {"mode": "fedavg", "rounds": 2, "batch": 8}

    one = simulate(compiled("sgd"), CUT, uneven(), **options)
    many = simulate(
        compiled("sgd"), CUT, uneven(), engine=Backwards(), **options
    )

    same(one, many)


def test_the_loss_of_a_round_is_the_mean_of_all_examples():
    """As the metric adds them up, step by step."""
    data = uneven()
    seen = []

    class Seen(engines.OneProcess):
        def each(self, shared, tasks):
            for result in super().each(shared, tasks):
                seen.append(result)
                yield result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "OneProcess", Seen)
        made = simulate(compiled(), CUT, data, mode="private", rounds=1)

    total = sum(result.loss[0] for result in seen)
    assert [int(result.loss[1]) for result in seen] == sorted(
        data.examples, reverse=True
    )
    assert made.rounds[0].loss == pytest.approx(total / 60, rel=1e-12)
    assert 0.5 < made.rounds[0].loss < 2.0


@pytest.mark.parametrize("mode", ["merged", "shared", "relay", "personal"])
def test_modes_whose_steps_wait_for_each_other_are_refused(mode):
    with pytest.raises(OptionError, match="private, fedavg.*needs the one"):
        simulate(compiled(), CUT, uneven(), mode=mode, engine=Backwards())


def test_what_is_no_engine_is_refused():
    with pytest.raises(OptionError, match='"ray"'):
        simulate(compiled(), CUT, uneven(), mode="private", engine="spark")
    assert engines.get("ray") == RayEngine()


class Odd(keras.layers.Layer):
    """Its class is not registered with Keras."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, x):
        return x * float(self.value)


class Odder(Odd):
    """And its config is nothing that a file can hold."""

    def get_config(self):
        return super().get_config() | {"value": self.value}


@pytest.mark.parametrize(
    ("layer", "error", "said"),
    [
        (Odd(2.0, name="odd"), DataError, "'Odd' of the module.*not known"),
        (Odder(Fraction(2), name="odd"), OptionError, "that Keras can save"),
    ],
)
def test_a_model_that_does_not_get_there_is_refused(layer, error, said):
    x = values = keras.Input((4,))
    x = keras.layers.Dense(5, name="a")(x)
    x = keras.layers.Dense(5, name="b")(layer(x))
    model = keras.Model(values, keras.layers.Dense(3, name="c")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")

    with pytest.raises(error, match=said):
        simulate(model, CUT, uneven(), mode="private", engine=Backwards())
