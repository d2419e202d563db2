"""A model that is compiled first, and what an optimizer knows by itself."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import OptionError
from keras_split.errors import RefusedError
from tests import nets

CUT = ["a", "b"]
LOSS = "sparse_categorical_crossentropy"
DATA = nets.vectors()


class Warm(keras.optimizers.schedules.LearningRateSchedule):
    """Has no config, and knows a number."""

    def __init__(self, top):
        self.top = top

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return self.top * keras.ops.minimum(1.0, (step + 1) / 4)


class Boosted(keras.optimizers.SGD):
    """Is not registered, and knows a number that its config does not tell."""

    boost = 1.0

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.boost)


class Within(keras.Metric):
    """Has no config."""

    def __init__(self, tolerance):
        super().__init__(name="within")
        self.tolerance = tolerance
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y, predicted, sample_weight=None):
        near = keras.ops.max(predicted, -1) > self.tolerance
        self.count.assign_add(keras.ops.sum(keras.ops.cast(near, "float32")))

    def result(self):
        return self.count


def excluding_names():
    made = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    made.exclude_from_weight_decay(var_names=["bias"])
    return made


def excluding_by_an_expression():
    made = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    made.exclude_from_weight_decay(var_names=["^[abc]/b.*s"])
    return made


def boosted():
    made = Boosted(0.05, momentum=0.9)
    made.boost = 3.0
    return made


OPTIMIZERS = {
    "excluded names": excluding_names,
    "an expression": excluding_by_an_expression,
    "a schedule": lambda: keras.optimizers.SGD(Warm(0.2), momentum=0.9),
    "a subclass": boosted,
    "Lamb": lambda: keras.optimizers.Lamb(0.1),
    "Muon": lambda: keras.optimizers.Muon(0.1, exclude_layers=["b/.*"]),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(boosted()),
}


def trained(make, how):
    """Values of a model that was trained whole, or split in one way."""
    made = model = nets.built(nets.dense)
    if how == "compiled first":
        model.compile(make(), LOSS)
        before = nets.values_of(model)
        model.fit(*DATA, batch_size=8, verbose=0)  # its slots are its own
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
    if how != "whole":
        made, _ = keras_split.compile(model, CUT, quantization="float32")
    if how != "compiled first":
        made.compile(make(), LOSS)
    made.fit(*DATA, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return nets.values_of(model)


@pytest.mark.parametrize(
    "name",
    [
        "scaled",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in OPTIMIZERS
            if name != "scaled"
        ),
    ],
)
def test_what_an_optimizer_knows_reaches_all_three_parts(name):
    make = OPTIMIZERS[name]
    whole = trained(make, "whole")

    for how in ("client compiled", "compiled first"):
        found = trained(make, how)
        assert nets.largest_difference(whole, found) < 1e-6, how


@pytest.mark.slow
def test_variables_that_do_not_decay_reach_the_body():
    def train(split):
        model = nets.built(nets.dense)
        optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay([model.get_layer("b").kernel])
        made = model
        if split:
            made, _ = keras_split.compile(model, CUT, quantization="float32")
        made.compile(optimizer, LOSS)
        made.fit(*DATA, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return nets.values_of(model)

    assert nets.largest_difference(train(False), train(True)) < 1e-6


@pytest.mark.parametrize(
    ("name", "own"),
    [
        pytest.param("excluded names", None, marks=pytest.mark.slow),
        ("a subclass", None),
        pytest.param("a subclass", excluding_names, marks=pytest.mark.slow),
    ],
)
def test_over_grpc_it_travels_or_is_refused_in_words(name, own):
    whole = trained(own or OPTIMIZERS[name], "whole")
    model = nets.built(nets.dense)
    client, server = keras_split.compile(model, CUT, quantization="float32")
    if own is not None:
        server.compile(own())
    with server.serve(port=0) as running:
        strategy = SplitStrategy(f"grpc://{running.target}")
        client.compile(OPTIMIZERS[name](), LOSS, strategy=strategy)
        options = {"batch_size": 8, "epochs": 2, "shuffle": False}
        if own is None and name == "a subclass":
            with pytest.raises(RefusedError, match="Boosted'. For") as info:
                client.fit(*DATA, **options, verbose=0)
            assert info.value.reason == "optimizer"
            return
        client.fit(*DATA, **options, verbose=0)
        client.close()

    if name == "excluded names":
        found = nets.values_of(model)
        assert nets.largest_difference(whole, found) < 1e-6


def test_metrics_and_loss_of_a_compiled_model_are_the_same_objects():
    model = nets.built(nets.dense)
    metrics = [
        Within(0.5),
        keras.metrics.MeanMetricWrapper(
            lambda y, p: keras.ops.max(p, -1), name="top"
        ),
    ]
    model.compile("sgd", LOSS, metrics=metrics)
    model.fit(*DATA, verbose=0)
    expected = model.evaluate(*DATA, verbose=0, return_dict=True)

    client, _ = keras_split.compile(model, CUT, quantization="float32")
    found = client.evaluate(*DATA, verbose=0, return_dict=True)

    assert found == pytest.approx(expected)
    again = model.evaluate(*DATA, verbose=0, return_dict=True)
    assert again == pytest.approx(expected)


def test_several_learning_rates_are_refused_when_compiling():
    model = nets.built(nets.dense)
    several = keras.optimizers.MultiOptimizer(
        lambda variable: keras.optimizers.SGD(0.1)
    )
    client, server = keras_split.compile(model, CUT)

    for compile in (client.compile, server.compile):
        with pytest.raises(OptionError, match="one learning rate"):
            compile(several)
    model.compile(several, LOSS)
    with pytest.raises(OptionError, match="one learning rate"):
        keras_split.compile(model, CUT)


def test_a_rate_that_no_body_takes_is_refused_in_this_process():
    model = nets.built(nets.dense)
    client, _ = keras_split.compile(model, CUT)
    before = nets.values_of(model)
    client.compile(keras.optimizers.SGD(1e38), LOSS)

    with pytest.raises(RefusedError, match="learning_rate of SGD to be a num"):
        client.fit(*DATA, verbose=0)

    after = nets.values_of(model)
    assert np.all([np.all(before[k] == after[k]) for k in range(len(before))])
