import keras
import pytest
from keras import layers

from keras_split.errors import CutError
from keras_split.partition.partition import Partition
from tests import nets


class Plain(keras.Model):
    """A class that only builds, describes and saves."""

    def __init__(self, width=3, **kwargs):
        x = values = keras.Input((4,))
        x = layers.Dense(width, name="a")(x)
        x = layers.Dense(width, name="b")(x)
        super().__init__(values, layers.Dense(1)(x), **kwargs)

    def get_config(self):
        return {"width": 3}

    def summary(self, *args, **kwargs):
        """Says nothing."""


def overrides(name, kind=Plain):
    """A class of which a method of Keras is another one."""
    return type("Mine", (kind,), {name: lambda self, *args, **kwargs: None})


def with_metrics_of_its_own():
    return type("Mine", (Plain,), {"metrics": property(lambda self: [])})()


def refusal(model):
    with pytest.raises(CutError) as caught:
        Partition(model, ["a", "b"])
    return str(caught.value)


def test_a_class_that_only_builds_and_describes_is_cut():
    Partition(Plain(), ["a", "b"])


def test_a_model_that_was_trained_is_cut():
    model = nets.dense()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = nets.vectors(4)
    model.fit(x, y, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)

    Partition(model, ["a", "b"])


@pytest.mark.parametrize(
    "method",
    [
        "train_step",
        "test_step",
        "predict_step",
        "compute_loss",
        "compute_metrics",
        "call",
        "__call__",
        "compile",
        "fit",
        "evaluate",
        "predict",
        "train_on_batch",
        "make_train_function",
        "stateless_compute_loss",
        "get_metrics_result",
        "reset_metrics",
    ],
)
def test_a_method_of_ones_own_is_refused_by_name(method):
    kind = overrides(method)

    # A class that cannot be called cannot be used to build a graph.
    text = refusal(kind())

    assert "of the class Mine" in text
    assert f"Mine.{method} would be dropped" in text
    assert "keras.Model(model.input, model.output)" in text


def test_all_methods_are_named():
    kind = overrides("test_step", overrides("compute_loss"))

    assert "Mine.test_step and Mine.compute_loss would" in refusal(kind())


def test_a_property_is_code_as_well():
    assert "Mine.metrics" in refusal(with_metrics_of_its_own())


def test_a_sequential_model_with_code_of_its_own_is_refused():
    stack = [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2)]

    model = overrides("train_step", keras.Sequential)(stack)

    assert "Mine.train_step would be dropped" in refusal(model)


def test_a_function_set_on_the_model_itself_is_refused():
    model = Plain(name="plain")
    model.compute_loss = lambda *args, **kwargs: 0.0

    assert "plain.compute_loss would be dropped" in refusal(model)


def test_the_layers_alone_are_cut_as_the_message_says():
    model = overrides("compute_loss")()

    Partition(keras.Model(model.input, model.output), ["a", "b"])


class Doubled(keras.Model):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x)


def nested(kind):
    x = values = keras.Input((4,))
    inner = kind(x, layers.Dense(4, name="in")(x), name="inner")
    x = layers.Dense(3, name="b")(inner(values))
    return keras.Model(values, layers.Dense(1, name="c")(x))


def test_a_nested_model_with_a_call_of_its_own_is_not_cut_inside():
    model = nested(Doubled)

    with pytest.raises(CutError) as caught:
        Partition(model, ["inner/in", "b"])
    with pytest.raises(CutError, match="class Doubled has a call"):
        Partition(model, [model.get_layer("inner").get_layer("in"), "b"])

    text = str(caught.value)
    assert "Received: 'inner/in'; 'inner' cannot be cut inside" in text
    assert "class Doubled has a call of its own" in text


def test_a_nested_model_with_a_call_of_its_own_is_cut_behind():
    model = nested(Doubled)
    inputs = nets.random_inputs(model)

    (made,) = nets.run(Partition(model, ["inner", "b"]), inputs)

    assert nets.largest_difference([made], [model(*inputs).numpy()]) < 1e-6


def test_how_a_nested_model_would_train_does_not_matter():
    Partition(nested(overrides("train_step", keras.Model)), ["inner/in", "b"])
