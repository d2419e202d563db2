import re

import keras
import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.optimizer_config import CLASSES
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.training import body_optimizer
from keras_split.training.optimizer_description import describe
from keras_split.training.optimizer_description import is_told

# Has no config in Keras, and needs none: `MultiOptimizer` is refused.
_WRAPPERS = {"LossScaleOptimizer", "MultiOptimizer", "Optimizer"}


def through(optimizer, **halves):
    """What a body gets of the optimizer of a client."""
    config = OptimizerConfig.read(describe(optimizer, **halves))
    body = halves.get("body")
    return body_optimizer.build(config, body.variables if body else ())


def dense():
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(1, name="d")(inputs))


def test_every_optimizer_of_keras_is_in_the_list_with_all_its_fields():
    kinds = {
        name: kind
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type)
        and issubclass(kind, keras.optimizers.Optimizer)
        and name not in _WRAPPERS
    }

    assert set(kinds) == set(CLASSES)
    for name, kind in kinds.items():
        expected = kind(0.5).get_config()
        assert set(expected) - {"name"} == set(CLASSES[name]), name
        made = through(kind(0.5)).get_config()
        assert made | {"name": expected["name"]} == expected, name


def test_the_rate_of_this_moment_travels_in_place_of_a_schedule():
    class Plain(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.25

    optimizer = keras.optimizers.SGD(Plain(), momentum=0.5)

    made = through(optimizer)

    assert float(made.learning_rate) == 0.25
    assert made.momentum == 0.5


def test_a_loss_scale_travels_around_an_optimizer():
    inner = keras.optimizers.Adam(0.5, beta_1=0.75)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)

    made = through(optimizer)

    assert (made.initial_scale, made.inner_optimizer.beta_1) == (4.0, 0.75)


def test_names_that_do_not_decay_travel():
    optimizer = keras.optimizers.AdamW(0.5)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "bias"])

    config = OptimizerConfig.read(describe(optimizer, dense()))

    assert config.excluded_names == ("bias", "gamma")


def test_variables_that_do_not_decay_travel_by_number():
    body = dense()
    optimizer = keras.optimizers.AdamW(0.5)
    optimizer.exclude_from_weight_decay(body.variables[1:])

    made = through(optimizer, body=body)
    made.build(body.trainable_variables)

    assert [made._use_weight_decay(v) for v in body.variables] == [True, False]


def test_variables_of_the_phone_are_no_news_and_strange_ones_are_refused():
    half = dense()
    optimizer = keras.optimizers.AdamW(0.5)
    optimizer.exclude_from_weight_decay(half.variables[1:])

    assert OptimizerConfig.read(describe(optimizer, half)).excluded_names == ()
    with pytest.raises(ProtocolError, match="1 of another model") as info:
        describe(optimizer, dense())
    assert info.value.reason == "optimizer"


def test_more_variables_than_the_body_has_are_refused():
    config = OptimizerConfig("SGD", {}, (), (2,))

    with pytest.raises(ProtocolError, match="below 2. Received: 2"):
        body_optimizer.build(config, dense().variables)


def test_values_that_keras_does_not_take_together_are_refused():
    config = OptimizerConfig("SGD", {"clipnorm": 1.0, "clipvalue": 1.0})

    with pytest.raises(ProtocolError, match="go together for SGD"):
        body_optimizer.build(config)


def test_an_expression_that_could_run_for_ever_does_not_leave_in_silence():
    optimizer = keras.optimizers.AdamW(0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias.*"])

    assert not is_told(optimizer)
    with pytest.raises(ProtocolError, match=re.escape("['bias.*']")):
        OptimizerConfig.read(describe(optimizer))


@pytest.mark.parametrize(
    "make",
    [
        lambda: type("Mine", (keras.optimizers.SGD,), {})(0.5),
        lambda: type("SGD", (keras.optimizers.SGD,), {})(0.5),
        lambda: keras.optimizers.Muon(0.5, exclude_layers=["a.*"]),
        lambda: with_method(keras.optimizers.SGD(0.5)),
        lambda: scaled(type("Mine", (keras.optimizers.SGD,), {})(0.5)),
        lambda: with_method(scaled(keras.optimizers.SGD(0.5))),
    ],
)
def test_what_no_config_tells_is_not_told(make):
    assert not is_told(make())
    with pytest.raises(ProtocolError):
        OptimizerConfig.read(describe(make()))


def scaled(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer)


def with_method(optimizer):
    optimizer.update_step = lambda *_: None
    return optimizer


def test_what_does_nothing_does_no_harm():
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.note = "warm-up later"

    assert is_told(optimizer)
    assert is_told(None)
    assert OptimizerConfig.read(describe(None)).fields["learning_rate"] == 0
