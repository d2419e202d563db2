import keras
import pytest
from keras import layers

from keras_split.errors import CutError
from keras_split.partition.graph import Graph
from tests import nets


def names(graph):
    return [call.path for call in graph.calls]


def found(model, layer):
    return [tensor.name for tensor in Graph(model).find(layer)]


def test_calls_come_in_an_order_in_which_they_can_run():
    graph = Graph(nets.unet())

    made = set(graph.inputs)
    for call in graph.calls:
        assert made.issuperset(call.inputs)
        made.update(call.outputs)
    assert made.issuperset(graph.outputs)


def test_nested_models_are_opened_up():
    graph = Graph(nets.transfer())

    assert names(graph) == [
        "scale",
        "base/conv1",
        "base/bn1",
        "base/relu1",
        "base/conv2",
        "base/relu2",
        "pool",
        "hidden",
        "out",
    ]


def test_models_nest_to_any_depth():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="d")])
    inner.name = "inner"
    x = values = keras.Input((4,))
    outer = keras.Model(values, inner(x), name="outer")
    model = keras.Sequential([keras.Input((4,)), outer, layers.ReLU(name="r")])

    graph = Graph(model)

    assert names(graph) == ["outer/inner/d", "r"]


def test_a_tensor_has_the_shape_of_one_example():
    graph = Graph(nets.dense())

    assert graph.outputs[0].shape == (3,)
    assert graph.inputs[0].shape == (4,)


def test_inputs_of_a_nested_model_are_told_apart_by_name():
    one, two = keras.Input((2,), name="one"), keras.Input((2,), name="two")
    nested = keras.Model([one, two], layers.Subtract(name="minus")([one, two]))
    x, y = keras.Input((2,), name="x"), keras.Input((2,), name="y")
    model = keras.Model([x, y], nested({"two": x, "one": y}))

    (minus,) = Graph(model).calls

    assert [tensor.name for tensor in minus.inputs] == ["y", "x"]


@pytest.mark.parametrize("layer", ["b", "Dense#2"])
def test_a_layer_is_found_by_name_and_by_class(layer):
    assert found(nets.dense(), layer) == ["b"]


def test_a_layer_is_found_by_itself():
    model = nets.dense()

    assert found(model, model.get_layer("b")) == ["b"]


def test_a_layer_in_a_nested_model_is_found_by_path_and_by_itself():
    model = nets.transfer()

    assert found(model, "base/relu1") == ["base/relu1"]
    conv2 = model.get_layer("base").get_layer("conv2")
    assert found(model, conv2) == ["base/conv2"]


def test_a_nested_model_stands_for_its_last_layer():
    assert found(nets.transfer(), "base") == ["base/relu2"]


def test_layers_of_a_class_are_counted_through_nested_models():
    assert found(nets.transfer(), "ReLU#2") == ["base/relu2"]
    assert found(nets.transfer(), "ReLU#3") == []
    assert found(nets.transfer(), "ReLU#0") == []


def test_an_operation_is_found_by_its_class():
    x = values = keras.Input((4,))
    x = keras.ops.tanh(x)
    x = keras.ops.reshape(x, (-1, 2, 2))
    model = keras.Model(values, x)

    (tensor,) = Graph(model).find("Reshape#1")

    assert tensor.shape == (2, 2)


def test_every_output_of_a_layer_is_found():
    x = keras.Input((5, 2))
    outputs = layers.LSTM(3, return_state=True, name="lstm")(x)
    model = keras.Model(x, outputs)

    assert found(model, "lstm") == ["lstm", "lstm:1", "lstm:2"]


def test_an_input_is_found_by_name_and_by_layer():
    model = nets.dense()

    assert found(model, "values") == ["values"]
    assert found(model, model.layers[0]) == ["values"]


def shared():
    x = values = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    x = twice(layers.ReLU(name="between")(twice(x)))
    return keras.Model(values, x)


def test_calls_of_a_shared_layer_are_numbered():
    assert names(Graph(shared())) == ["twice#1", "between", "twice#2"]
    assert found(shared(), "twice#2") == ["twice#2"]


@pytest.mark.parametrize("by_name", [True, False])
def test_a_layer_called_twice_must_be_named_by_its_call(by_name):
    model = shared()
    layer = "twice" if by_name else model.get_layer("twice")

    with pytest.raises(CutError, match="called 2 times") as caught:
        Graph(model).find(layer)

    assert "'twice#1', 'twice#2'" in str(caught.value)


def test_a_layer_of_a_model_called_twice_must_be_named_by_its_call():
    base = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="d")], name="base"
    )
    x = values = keras.Input((4,))
    model = keras.Model(values, base(layers.ReLU(name="r")(base(x))))

    with pytest.raises(CutError, match="'base#1/d', 'base#2/d'"):
        Graph(model).find("base/d")

    assert found(model, "base#2/d") == ["base#2/d"]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class Doubled(keras.Sequential):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x)


@pytest.mark.parametrize(
    "model",
    [
        Subclassed(),
        keras.Sequential([layers.Dense(3)]),
        Doubled([keras.Input((4,)), layers.Dense(3)]),
        layers.Dense(3),
    ],
    ids=["subclassed", "not built", "call overridden", "no model"],
)
def test_a_model_without_a_graph_is_refused(model):
    with pytest.raises(CutError, match="functional or Sequential") as caught:
        Graph(model)

    assert f"Received: {type(model).__name__}" in str(caught.value)
    assert "keras.Input" in str(caught.value)


def test_a_nested_model_with_code_of_its_own_stays_closed():
    x = values = keras.Input((4,))
    x = Doubled([keras.Input((4,)), layers.Dense(3)], name="doubled")(x)
    model = keras.Model(values, x)

    assert names(Graph(model)) == ["doubled"]
