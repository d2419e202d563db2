"""Each private name that we lean on is there, and does what we think.

Where one of these fails after an update of Keras, TensorFlow or tfmot, the
function of `keras_split/utils/keras_private.py` that it names needs another
way; nothing else reads private names.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split.litert import tf_keras_bridge
from keras_split.utils import keras_private

PACKAGE = Path(keras_split.__file__).parent
FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "keras_private.py" and "_pb2" not in path.name
]
PRIVATE = re.compile(
    r"keras\.src|tensorflow\.(?:lite\.)?python"
    r"|(?<!\bself)(?<!\bcls)(?<=[\w)\]])\._[a-z]\w*"
)
OURS = re.compile(
    r"\bself(\._[a-z]\w*)\b(?:: [^=\n]+)? ="
    r"|def (_[a-z]\w*)\(\s*self"
)


def model():
    x = keras.Input((4,), name="x")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    y = keras.layers.Dense(2, name="last")(inner(x))
    return keras.Model({"x": x}, {"y": y})


@pytest.fixture(scope="module")
def ours():
    """Private names of this package's own classes."""
    text = "\n".join(path.read_text("utf-8") for path in FILES)
    found = {own or f".{method}" for own, method in OURS.findall(text)}
    return found | {"._replace"}  # of a named tuple, and public


def gone(name, library="Keras"):
    return f"{library} {name} is gone; see keras_private.py"


def test_flatten_layers_finds_the_layers_of_nested_models():
    assert hasattr(keras.Model, "_flatten_layers"), gone("_flatten_layers")

    names = [layer.name for layer in keras_private.flatten_layers(model())]

    assert "last" in names and sum("dense" in name for name in names) == 1


def test_functional_tells_graphs_from_models_with_code():
    class Own(keras.Sequential):
        def call(self, x):
            return x

    layers = [keras.Input((1,)), keras.layers.Dense(1)]
    graph = keras_private.functional(keras.Sequential(layers))

    assert graph is not None, gone("Sequential._functional")
    assert keras_private.functional(model()) is not None, gone("Functional")
    assert keras_private.functional(Own([keras.Input((1,))])) is None
    assert keras_private.functional(keras.layers.Dense(1)) is None


def test_nodes_come_in_the_order_in_which_they_run():
    whole = model()
    assert hasattr(whole, "_nodes_by_depth"), gone("_nodes_by_depth")

    nodes = keras_private.nodes_in_order(whole)

    assert [n.operation.name for n in nodes if not n.is_input][-1] == "last"


def test_a_symbolic_tensor_knows_what_made_it():
    whole = model()

    assert keras_private.made_by(whole.outputs[0]).name == "last"


def test_a_spatial_dropout_has_one_mask_for_all_places():
    layer = keras.layers.SpatialDropout2D(0.5)
    assert hasattr(layer, "_get_noise_shape"), gone("_get_noise_shape")

    shape = keras_private.noise_shape(layer, tf.zeros((2, 4, 5, 3)))

    assert [int(n) for n in shape] == [2, 1, 1, 3]


def test_weight_decay_is_known_variable_by_variable():
    optimizer = keras.optimizers.AdamW()
    assert hasattr(optimizer, "_use_weight_decay"), gone("_use_weight_decay")
    kernel, bias = keras.Variable([1.0]), keras.Variable([1.0])
    optimizer.exclude_from_weight_decay([bias])
    optimizer.build([kernel, bias])

    assert keras_private.decays(optimizer, kernel)
    assert not keras_private.decays(optimizer, bias)


def test_initializers_of_a_layer_are_found_again():
    layer = keras.layers.Dense(3, kernel_initializer="he_normal")
    layer.build((None, 4))

    found = keras_private.initializers(layer)

    assert [v.name for v, _ in found] == ["kernel", "bias"]
    kinds = [type(maker).__name__ for _, maker in found]
    assert kinds == ["HeNormal", "Zeros"], gone("Variable._initializer")


def test_layers_made_again_wait_for_no_values():
    from keras.src.backend.common import global_state

    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    keras_private.initializers(layer)

    assert global_state.get_global_attribute("uninitialized_variables") == []


def test_draws_without_a_seed_come_from_the_generator_set():
    keras.utils.set_random_seed(3)
    first = keras.random.normal((4,)).numpy()
    draws = []
    for _ in range(2):
        generator = keras.random.SeedGenerator(5)
        with keras_private.default_generator(generator):
            draws.append(keras.random.normal((4,)).numpy())
    second = keras.random.normal((4,)).numpy()

    keras.utils.set_random_seed(3)
    assert np.array_equal(*draws), gone("global_seed_generator")
    assert not np.array_equal(draws[0], first)
    assert np.array_equal(keras.random.normal((4,)).numpy(), first)
    assert np.array_equal(keras.random.normal((4,)).numpy(), second)


def test_a_fit_goes_on_with_another_epoch():
    class Skip(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            keras_private.set_initial_epoch(self.model, 2)

    whole = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    whole.compile("sgd", "mse")

    data = np.zeros((1, 1))
    history = whole.fit(data, data, epochs=3, verbose=0, callbacks=[Skip()])

    assert history.epoch == [2], gone("_initial_epoch")


def test_the_steps_of_an_optimizer_are_counted_one_by_one():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    assert hasattr(optimizer, "_iterations"), gone("_iterations")
    variable = keras.Variable([1.0])
    optimizer.build([variable])

    for _ in range(3):
        optimizer.apply([keras.ops.ones(1)])

    assert int(optimizer.iterations) == 0
    assert int(keras_private.steps_taken(optimizer)) == 3
    around = keras.optimizers.LossScaleOptimizer(optimizer)
    assert keras_private.steps_taken(around) is keras_private.steps_taken(
        optimizer
    )


def test_an_optimizer_tells_which_variables_it_was_built_for():
    optimizer = keras.optimizers.SGD(0.1)
    name = "_trainable_variables_indices"
    assert hasattr(optimizer, name), gone(name)
    one, other = keras.Variable([1.0]), keras.Variable([1.0])
    before = keras_private.unknown_to(optimizer, [one, other])

    optimizer.build([one])

    found = keras_private.unknown_to(optimizer, [one, other])
    assert before == [] and len(found) == 1 and found[0] is other


def test_outputs_struct_has_the_outputs_as_they_were_given():
    whole = model()
    assert hasattr(whole, "_outputs_struct"), gone("_outputs_struct")

    assert list(keras_private.outputs_struct(whole)) == ["y"]


def test_a_compile_config_has_functions_as_they_were_given():
    def loss(y, z):
        return y - z

    whole = model()
    before = keras_private.compile_config(whole)
    whole.compile("sgd", loss)

    assert hasattr(whole, "_compile_config"), gone("_compile_config")
    assert before == {}
    assert keras_private.compile_config(whole)["loss"] is loss
    assert keras_private.loss_given(whole) is loss, gone("_user_loss")


def test_metrics_that_are_made_outside_a_graph_have_it_traced_once():
    whole = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    whole.compile(loss="mse", metrics=["mae"])
    assert hasattr(whole, "_compile_metrics"), gone("_compile_metrics")
    traces = []

    @tf.function
    def measure(y):
        traces.append(y)
        keras_private.build_metrics(whole, y, y)
        return whole.compute_metrics(None, y, y + 2.0)

    measure(tf.ones((3, 1)))

    assert float(whole.get_metrics_result()["mae"]) == 2.0
    assert len(traces) == 1, gone("CompileMetrics.build outside a graph")


def test_a_mask_is_found_on_a_tensor():
    x = keras.layers.Masking()(np.zeros((1, 2, 3), np.float32))

    assert keras_private.mask_of(x) is not None, gone("_keras_mask")
    assert keras_private.mask_of(tf.zeros(1)) is None


def test_logits_are_found_on_probabilities():
    y = keras.layers.Activation("softmax")(tf.zeros((1, 3)))

    assert keras_private.logits_of(y) is not None, gone("_keras_logits")
    assert keras_private.logits_of(tf.zeros(1)) is None


def test_a_layer_calls_what_overrides_it_and_then_itself_again():
    layer = keras.layers.Dense(3)
    layer.build((None, 3))
    x = tf.ones((1, 3))
    before = layer(x)

    with keras_private.overridden([(layer, "call", lambda inputs: inputs * 7)]):
        within = layer(x)

    assert (within.numpy() == 7).all(), gone("lookup of `call` on a layer")
    np.testing.assert_array_equal(layer(x), before)
    assert "call" not in vars(layer)


def test_overrides_end_with_an_error_too():
    layer = keras.layers.Identity()

    with (
        pytest.raises(KeyError),
        keras_private.overridden([(layer, "call", lambda inputs: inputs)]),
    ):
        raise KeyError

    assert "call" not in vars(layer)


def test_an_operation_waits_for_one_that_was_made_later():
    with tf.Graph().as_default():
        first, later = tf.constant(1), tf.constant(2)
        assert hasattr(first.op, "_add_control_inputs"), gone(
            "_add_control_inputs", "TensorFlow"
        )

        keras_private.wait_for(first.op, [later.op])

        assert first.op.control_inputs == [later.op]


def test_a_layer_is_called_in_a_scope_of_another_name():
    assert hasattr(keras.Layer, "_open_name_scope"), gone("_open_name_scope")
    relu = keras.layers.ReLU(name="a layer")

    with tf.Graph().as_default():
        keras_private.set_scope(relu, "named")
        made = relu(tf.zeros((1, 3)))

    assert made.op.name.startswith("named"), gone("_open_name_scope")
    assert relu.name == "a layer"


def test_the_schema_of_a_tflite_is_there():
    schema = keras_private.tflite_schema()

    assert schema.BuiltinOperator.CONV_2D == 3, gone("schema", "TensorFlow")
    assert hasattr(schema.ModelT, "InitFromPackedBuf")


def test_kernels_of_tfmot_are_found_and_set():
    tfmot, tf_keras = tf_keras_bridge.load()  # which leaves no trace

    whole = tfmot.quantization.keras.quantize_model(
        tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    )
    layer = whole.layers[-1]
    ((variable, quantizer, _),) = keras_private.kernel_quantizers(layer)

    keras_private.set_kernel_quantizers(layer, [(variable, quantizer, {})])

    assert "kernel" in variable.name, gone("_weight_vars", "tfmot")
    assert keras_private.kernel_quantizers(layer)[0][2] == {}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in FILES],
)
def test_no_other_file_reads_private_names_of_others(path, ours):
    code = re.sub(r'"""(?:.|\n)*?"""|#.*', "", path.read_text("utf-8"))

    assert not set(PRIVATE.findall(code)) - ours
