import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_split.compression.layers import CutQuantizer
from keras_split.compression.quantize import dequantize
from keras_split.compression.quantize import quantize
from keras_split.compression.quantize import simulate
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.compression.topk import positions_of
from keras_split.errors import QuantizationError

QUANTIZATIONS = [
    Quantization("float32"),
    Quantization("float16"),
    Quantization("bfloat16"),
    Quantization("int8"),
    Quantization("int4", "int8", granularity="channel"),
    Quantization("int2", granularity="tensor", rounding="stochastic"),
    Quantization("float32", "int8"),
    Quantization("int4", "int2", block=8),
]

every_quantization = pytest.mark.parametrize(
    "quantization", QUANTIZATIONS, ids=str
)


@pytest.fixture(autouse=True)
def float32_policy():
    yield
    keras.config.set_dtype_policy("float32")


def small_model(quantization, dtype="float32"):
    keras.config.set_dtype_policy(dtype)
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="head"),
            CutQuantizer(quantization, name="cut"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, name="body"),
        ]
    )


def images(batch=6):
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, 8, 8, 1)).astype(np.float32)


def positions(x, quantization):
    """Where values of `x` cross, if not all of them do."""
    rule = quantization.activations
    if rule.block == 1:
        return None
    return positions_of(quantize(x, rule).codes, rule, x.shape[1:])


@every_quantization
def test_the_output_is_what_the_other_party_sees(quantization):
    x = tf.constant(images())

    y = CutQuantizer(quantization)(x)

    assert y.numpy().tobytes() == (
        simulate(x, quantization.activations).numpy().tobytes()
    )


@every_quantization
def test_the_gradient_is_rounded_by_its_own_rule_and_passes_straight(
    quantization,
):
    x, upstream = tf.constant(images()), tf.constant(images() * 1e-3)

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = CutQuantizer(quantization)(x)
    grad = tape.gradient(y, x, output_gradients=upstream)

    expected = simulate(
        upstream, quantization.gradients, positions(x, quantization)
    )
    assert grad.numpy().tobytes() == expected.numpy().tobytes()


@every_quantization
def test_one_model_has_the_gradients_of_two_halves(quantization):
    model = small_model(quantization)
    head, body = model.get_layer("head"), model.get_layer("body")
    x = tf.constant(images())

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x) ** 2)
    whole = tape.gradient(loss, model.trainable_variables)

    rule, back = quantization.activations, quantization.gradients
    shape = (6, 6, 4)
    with tf.GradientTape() as phone:
        activations = head(x)
    smashed = dequantize(quantize(activations, rule), rule, shape)
    with tf.GradientTape() as server:
        server.watch(smashed)
        loss = tf.reduce_sum(body(tf.reshape(smashed, (6, -1))) ** 2)
    smashed_grad, *body_grads = server.gradient(
        loss, [smashed, *body.trainable_variables]
    )
    known = positions(activations, quantization)
    received = dequantize(
        quantize(smashed_grad, back, known), back, shape, positions=known
    )
    head_grads = phone.gradient(
        activations, head.trainable_variables, output_gradients=received
    )

    for one, two in zip(whole, [*head_grads, *body_grads], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)


def test_float32_costs_nothing():
    layer = CutQuantizer("float32")

    graph = tf.function(lambda x: layer(x)).get_concrete_function(
        tf.TensorSpec((None, 3))
    )

    types = {operation.type for operation in graph.graph.get_operations()}
    assert types <= {"Placeholder", "Identity"}


@pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        ("float32", "float32"),
        ("mixed_float16", "float16"),
        ("mixed_bfloat16", "bfloat16"),
        ("float64", "float64"),
    ],
)
def test_the_compute_dtype_is_kept(policy, dtype):
    model = small_model("int8", policy)
    model.compile("sgd", "mse")

    history = model.fit(images(), np.zeros((6, 2)), batch_size=4, verbose=0)

    assert model.get_layer("cut").output.dtype == dtype
    assert np.isfinite(history.history["loss"]).all()


def test_a_cut_in_half_precision_ignores_the_policy_of_the_layer():
    x = tf.cast(images(), tf.float16)

    assert CutQuantizer("int8", dtype="float32")(x).dtype == tf.float16


def test_the_shape_is_static_and_the_batch_unknown():
    cut = small_model("int4").get_layer("cut")

    assert cut.output.shape == (None, 6, 6, 4)
    assert cut.compute_output_shape((None, 6, 6, 4)) == (None, 6, 6, 4)


@every_quantization
def test_a_model_survives_saving_and_loading(quantization, tmp_path):
    model = small_model(quantization)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.get_layer("cut").quantization == quantization
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_a_config_makes_the_same_layer():
    layer = CutQuantizer(
        Quantization("int4", Rule("int8", "channel")), name="link"
    )

    twin = CutQuantizer.from_config(layer.get_config())

    assert twin.quantization == layer.quantization
    assert twin.name == "link"
    assert keras.saving.get_registered_name(CutQuantizer) == (
        "keras_split>CutQuantizer"
    )


def test_a_mask_passes():
    layer = CutQuantizer("int8")
    embedding = keras.layers.Embedding(5, 3, mask_zero=True)

    y = layer(embedding(np.array([[1, 2, 0]])))

    assert y._keras_mask.numpy().tolist() == [[True, True, False]]


def test_an_unknown_quantization_is_refused():
    with pytest.raises(QuantizationError, match="int8"):
        CutQuantizer("int5")


def test_integers_are_refused():
    with pytest.raises(QuantizationError, match="int32"):
        CutQuantizer("int8")(np.zeros((2, 3), np.int32))
