"""A training in LiteRT against the same training in Keras."""

import keras
import numpy as np
import pytest

import keras_split
from tests import nets
from tests.litert.phone import Phone

CUTS = {
    "plain": ["a_relu", "b_drop"],
    "dense": ["a", "b"],
    "unet": ["down2", "mix2"],
    "residual": ["inner", "outer"],
    "transfer": ["base/relu1", "base/relu2"],
    "two_by_two": ["a", "flat"],
}
SIZE = 4
# The third batch is not full: the phone fills it up.
ROWS = (4, 4, 3, 4, 1)
RATE = 0.05


def halves(name, quantization, optimizer, **options):
    model = nets.built(getattr(nets, name))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # masks are drawn otherwise on a phone
    client, server = keras_split.compile(
        model, CUTS[name], quantization=quantization, **options
    )
    loss = "sparse_categorical_crossentropy"
    if name == "unet":
        loss = "binary_crossentropy"
    if name == "two_by_two":
        loss = {"kind": loss, "size": "mse"}
    weights = {"kind": 1.0, "size": 0.3} if name == "two_by_two" else None
    client.compile(optimizer, loss, loss_weights=weights)
    return client, server


def batches(name):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype("float32")

    for n in ROWS:
        kinds = rng.integers(0, 3, n).astype("int32")
        weights = rng.uniform(0.5, 2, n).astype("float32")
        if name == "dense":
            yield [draw(n, 4)], [kinds], weights
        elif name == "unet":
            masks = rng.integers(0, 2, (n, 8, 8, 1)).astype("float32")
            yield [draw(n, 8, 8, 1)], [masks], None
        elif name == "two_by_two":
            inputs = [draw(n, 8, 8, 1), draw(n, 3)]
            yield inputs, [kinds, draw(n, 1)], weights
        else:
            yield [draw(n, 8, 8, 2)], [kinds], weights


def train_keras(client, name):
    losses = []
    for inputs, labels, weights in batches(name):
        y, w = labels[0], weights
        if name == "two_by_two":
            y = {"kind": labels[0], "size": labels[1]}
            w = {"kind": weights, "size": weights}
        x = inputs if len(inputs) > 1 else inputs[0]
        told = client.train_on_batch(x, y, sample_weight=w)
        losses.append(float(np.ravel(told)[0]))
    return losses


def values(client):
    return {v.path: v.numpy().copy() for v in client.variables}


def compare(name, quantization, optimizer, tmp_path, tolerance):
    """Trains both ways from the same weights, with Keras' arithmetic."""
    exact = {"fused_batchnorm": False}
    client, _ = halves(name, quantization, optimizer(), **exact)
    before = values(client)
    expected = train_keras(client, name)
    after = values(client)
    other, _ = halves(name, quantization, optimizer(), **exact)
    other.export(tmp_path / "client.tflite", batch_size=SIZE)
    other.connect()
    phone = Phone(tmp_path / "client.tflite", other.strategy)
    found = [
        float(phone.step(*batch, rate=RATE)["loss"]) for batch in batches(name)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    state = phone.state()
    weights = [v for v in client.variables if v.path in before]
    assert {path for path, _ in state} == {
        v.path
        for v in weights
        if "seed" not in v.path and "metric" not in v.path
    } & {path for path, _ in state}
    moved = 0
    for (path, _), value in state.items():
        largest = np.abs(after[path] - before[path]).max()
        moved += largest > 1e-4
        # A bias in front of BatchNormalization has a gradient of 0.
        bound = max(tolerance * largest, 2e-6)
        assert np.abs(value - after[path]).max() <= bound, path
    assert moved > len(state) / 2
    return phone


SGD = {"learning_rate": RATE, "momentum": 0.9}


@pytest.mark.parametrize(
    "name",
    [
        *("plain", "unet", "two_by_two"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("dense", "residual", "transfer")
        ),
    ],
)
def test_five_steps_are_those_of_keras(name, tmp_path):
    compare(
        name,
        "float32",
        lambda: keras.optimizers.SGD(**SGD),
        tmp_path,
        tolerance=1e-4,
    )


@pytest.mark.parametrize(
    "dtype, granularity",
    [
        ("int8", "example"),
        pytest.param("int8", "channel", marks=pytest.mark.slow),
        pytest.param("int4", "tensor", marks=pytest.mark.slow),
        pytest.param("float8_e4m3", "example", marks=pytest.mark.slow),
        pytest.param("float16", "example", marks=pytest.mark.slow),
    ],
)
def test_quantization_happens_in_the_file(dtype, granularity, tmp_path):
    rule = keras_split.Quantization(dtype, granularity=granularity)

    # A value at the border between two codes may be rounded either way.
    compare(
        "plain",
        rule,
        lambda: keras.optimizers.SGD(**SGD),
        tmp_path,
        tolerance=0.05,
    )


@pytest.mark.slow  # test_optimizers.py has the rules
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(**SGD, nesterov=True, clipnorm=1.0),
        lambda: keras.optimizers.AdamW(RATE, epsilon=0.01),
    ],
    ids=["nesterov", "adamw"],
)
def test_other_optimizers(optimizer, tmp_path):
    compare("transfer", "float32", optimizer, tmp_path, tolerance=1e-3)


def exported(tmp_path, name="plain", quantization="int8", size=SIZE):
    optimizer = keras.optimizers.SGD(**SGD)
    client, server = halves(name, quantization, optimizer)
    client.export(tmp_path / "client.tflite", batch_size=size)
    client.connect()
    return client, Phone(tmp_path / "client.tflite", client.strategy)


def test_nothing_moves_before_head_backward(tmp_path):
    client, phone = exported(tmp_path)
    inputs, labels, weights = next(batches("plain"))
    before = phone.call("get_state")
    given = {
        "x_0": inputs[0],
        "y_0": labels[0],
        "sample_weight_0": weights,
        "count": np.int32(SIZE),
        "step": np.int32(0),
        "learning_rate": np.float32(1),
    }

    one = phone.call("head_forward", **given)
    again = phone.call("head_forward", **given)
    smashed = phone._tensors("smashed", one, SIZE, "activations")
    features, _ = client.strategy.forward(smashed)
    given |= phone._parts("features", features)
    told = [phone.call("tail_step", **given) for _ in range(2)]

    after = phone.call("get_state")
    for key in one:
        np.testing.assert_array_equal(one[key], again[key])
    for key in told[0]:
        np.testing.assert_array_equal(told[0][key], told[1][key])
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


def test_dropout_is_the_same_forward_and_backward(tmp_path):
    keras.utils.set_random_seed(0)
    values = keras.Input((40,))
    x = keras.layers.Dropout(0.5, name="drop")(values)
    x = keras.layers.Dense(5, use_bias=False, name="a")(x)
    x = keras.layers.Dense(5, name="b")(x)
    x = keras.layers.Dense(3, activation="softmax", name="c")(x)
    client, _ = keras_split.compile(
        keras.Model(values, x), ["a", "b"], quantization="float32"
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    client.export(tmp_path / "client.tflite", batch_size=1)
    phone = Phone(tmp_path / "client.tflite")
    given = {
        "x_0": np.ones((1, 40), "float32"),
        "count": np.int32(1),
        "step": np.int32(5),
        "learning_rate": np.float32(1),
        "smashed_grad_0_codes": np.ones((1, 5), "float32"),
    }
    (kernel,) = (v for (p, _), v in phone.state().items() if p == "a/kernel")
    smashed = phone.call("head_forward", **given)["smashed_0_codes"]

    # The server's reply commits the tail as well, which needs its step.
    label = {"y_0": np.zeros(1, "int32"), "features_0_codes": smashed}
    weight = {"sample_weight_0": np.ones(1, "float32")}
    phone.call("tail_step", **given, **label, **weight)
    phone.call("head_backward", **given)

    (moved,) = (v for (p, _), v in phone.state().items() if p == "a/kernel")
    dropped = -(moved - kernel)[:, 0]  # the gradient: the dropped-out input
    assert set(np.unique(dropped.round(5))) == {0.0, 2.0}
    np.testing.assert_allclose(dropped @ kernel, smashed[0], rtol=1e-4)


def test_inference_is_that_of_keras(tmp_path):
    client, phone = exported(tmp_path, "unet", "float32")
    x = nets.images(SIZE, 1)[0]
    y = (x > 0).astype("float32")

    made = phone.call("head_infer", x_0=x)
    smashed = phone._tensors("smashed", made, SIZE, "activations")
    features, penalty = client.strategy.infer(smashed)
    given = phone._parts("features", features) | {"skip_0": made["skip_0"]}
    found = phone.call("tail_infer", **given)["prediction_0"]
    told = phone.call(
        "tail_evaluate",
        **given,
        y_0=y,
        sample_weight_0=np.ones(SIZE, "float32"),
        count=np.int32(SIZE),
    )

    expected = client.predict(x, batch_size=SIZE, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    loss = client.evaluate(x, y, batch_size=SIZE, verbose=0)
    assert float(told["loss"]) + penalty == pytest.approx(loss, rel=1e-5)


def test_evaluation_adds_the_penalties_of_both_ends(tmp_path):
    client, phone = exported(tmp_path, "plain", "float32")
    inputs, labels, _ = next(batches("plain"))

    made = phone.call("head_infer", x_0=inputs[0])
    smashed = phone._tensors("smashed", made, SIZE, "activations")
    features, penalty = client.strategy.infer(smashed)
    told = phone.call(
        "tail_evaluate",
        **phone._parts("features", features),
        y_0=labels[0],
        sample_weight_0=np.ones(SIZE, "float32"),
        count=np.int32(SIZE),
    )

    loss = client.evaluate(inputs[0], labels[0], verbose=0)
    assert float(told["loss"]) + penalty == pytest.approx(loss, rel=1e-5)


def test_state_comes_back(tmp_path):
    client, phone = exported(tmp_path)
    inputs, labels, weights = next(batches("plain"))
    before = phone.call("get_state")
    phone.step(inputs, labels, weights)
    assert any(
        (phone.call("get_state")[name] != value).any()
        for name, value in before.items()
    )

    phone.call("set_state", **before)

    for name, value in phone.call("get_state").items():
        np.testing.assert_array_equal(value, before[name])


def test_frozen_layers_are_constants(tmp_path):
    model = nets.built(nets.residual)
    model.get_layer("stem").trainable = False
    client, _ = keras_split.compile(model, CUTS["residual"])
    client.compile("sgd", "sparse_categorical_crossentropy")

    about = client.export(tmp_path / "client.tflite", batch_size=2)

    assert not any("stem" in row["variable"] for row in about["state"])
    model.get_layer("stem").set_weights(
        [w + 1 for w in model.get_layer("stem").get_weights()]
    )
    other = client.export(tmp_path / "client.tflite", batch_size=2)
    assert other["frozen"] != about["frozen"]


def test_frozen_weights_are_stored_once(tmp_path):
    """Three signatures use them, and each was traced with a copy."""
    keras.utils.set_random_seed(0)
    values = keras.Input((8,))
    stem = keras.layers.Dense(64, activation="relu", name="stem")
    x = keras.layers.Dense(4, name="a")(stem(values))
    x = keras.layers.Dense(4, name="b")(x)
    x = keras.layers.Dense(3, activation="softmax")(x)
    stem.trainable = False
    client, _ = keras_split.compile(keras.Model(values, x), ["a", "b"])
    client.compile("sgd", "sparse_categorical_crossentropy")

    client.export(tmp_path / "client.tflite", batch_size=2)

    content = (tmp_path / "client.tflite").read_bytes()
    assert content.count(stem.kernel.numpy().T.tobytes()) == 1
