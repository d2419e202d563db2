"""A training in LiteRT against the same training in Keras."""

import functools
import itertools

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client import snapshots
from keras_split.errors import ExportError
from tests import nets
from tests.litert.phone import Phone

CUTS = {
    "plain": ["a_relu", "b_drop"],
    "tied": ["a", "b"],
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
INT8 = keras_split.Quantization("int8", granularity="example")


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


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    """The file of a net, for each quantization and optimizer one.

    Exporting takes most of a test's time, and nets that are built alike make
    the same file: what a test trains with it is a pair of its own.
    """

    @functools.cache
    def export(name, quantization, optimizer):
        path = tmp_path_factory.mktemp("files") / "client.tflite"
        client, _ = exact_halves(name, quantization, optimizer())
        client.export(path, batch_size=SIZE)
        return path

    return export


def exact_halves(*args):
    """Halves with Keras' own arithmetic."""
    return halves(*args, fused_batchnorm=False)


def sgd():
    return keras.optimizers.SGD(RATE, momentum=0.9)


def batches(name):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype("float32")

    for n in ROWS:
        kinds = rng.integers(0, 3, n).astype("int32")
        weights = rng.uniform(0.5, 2, n).astype("float32")
        if name in ("dense", "tied"):
            yield [draw(n, 4)], [kinds], weights
        elif name == "unet":
            masks = rng.integers(0, 2, (n, 8, 8, 1)).astype("float32")
            yield [draw(n, 8, 8, 1)], [masks], None
        elif name == "two_by_two":
            inputs = [draw(n, 8, 8, 1), draw(n, 3)]
            yield inputs, [kinds, draw(n, 1)], weights
        else:
            yield [draw(n, 8, 8, 2)], [kinds], weights


def train_keras(client, name, steps):
    losses = []
    for inputs, labels, weights in itertools.islice(batches(name), steps):
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


def compare(
    file_of, name, quantization, optimizer, tolerance, later=1e-4, steps=5
):
    """Trains both ways from the same weights, with Keras' arithmetic.

    Losses agree to 1e-4 before a step is taken, and to `later` afterwards.
    """
    client, _ = exact_halves(name, quantization, optimizer())
    before = values(client)
    expected = train_keras(client, name, steps)
    after = values(client)
    other, _ = exact_halves(name, quantization, optimizer())
    other.connect()
    phone = Phone(file_of(name, quantization, optimizer), other.strategy)
    found = [
        float(phone.step(*batch, rate=RATE)["loss"])
        for batch in itertools.islice(batches(name), steps)
    ]
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=later)
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


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in CUTS
            if name != "plain"
        ),
    ],
)
def test_five_steps_are_those_of_keras(name, file_of):
    compare(file_of, name, "float32", sgd, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype, granularity, steps",
    [
        ("int8", "example", 5),
        # Bits of each rule in LiteRT are compared in test_quantize.py.
        pytest.param(*("int8", "channel", 5), marks=pytest.mark.long),
        pytest.param(*("int4", "tensor", 5), marks=pytest.mark.long),
        # It trains on a phone in compression/test_outside.py, too.
        pytest.param(*("float8_e4m3", "example", 5), marks=pytest.mark.long),
        # Its codes lie so close that some value is always at a border, and
        # from the third step on a ReLU makes much of it: in Keras alone 1e-7
        # more or less in the weights moves the last losses by 0.02.
        ("float16", "example", 2),
    ],
)
def test_quantization_happens_in_the_file(dtype, granularity, steps, file_of):
    rule = keras_split.Quantization(dtype, granularity=granularity)
    near = 0.005 if steps == 2 else 0.05

    compare(file_of, "plain", rule, sgd, near, later=0.03, steps=steps)


@pytest.mark.slow  # test_optimizers.py has the rules
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(
            RATE, momentum=0.9, nesterov=True, clipnorm=1.0
        ),
        lambda: keras.optimizers.AdamW(RATE, epsilon=0.01),
    ],
    ids=["nesterov", "adamw"],
)
def test_other_optimizers(optimizer, file_of):
    compare(file_of, "transfer", "float32", optimizer, tolerance=1e-3)


@pytest.fixture
def exported(file_of):
    """A client at its server, and a phone with the client's file."""

    def start(name="plain", quantization=INT8):
        client, _ = exact_halves(name, quantization, sgd())
        client.connect()
        path = file_of(name, quantization, sgd)
        return client, Phone(path, client.strategy)

    return start


def test_nothing_moves_before_head_backward(exported):
    client, phone = exported()
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


def test_inference_is_that_of_keras(exported):
    client, phone = exported("unet", "float32")
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


def test_evaluation_adds_the_penalties_of_both_ends(exported):
    client, phone = exported("plain", "float32")
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


def test_state_comes_back(exported):
    client, phone = exported()
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


def frozen_stem():
    """A client whose head begins with a frozen layer, and that layer."""
    keras.utils.set_random_seed(0)
    values = keras.Input((8,))
    stem = keras.layers.Dense(64, activation="relu", name="stem")
    x = keras.layers.Dense(4, name="a")(stem(values))
    x = keras.layers.Dense(4, name="b")(x)
    x = keras.layers.Dense(3, activation="softmax")(x)
    stem.trainable = False
    client, _ = keras_split.compile(keras.Model(values, x), ["a", "b"])
    client.compile("sgd", "sparse_categorical_crossentropy")
    return client, stem


@pytest.mark.slow
def test_frozen_weights_are_constants_and_stored_once(tmp_path):
    """Three signatures use them, and each was traced with a copy."""
    client, stem = frozen_stem()
    path = tmp_path / "client.tflite"

    about = client.export(path, batch_size=2)

    assert not any("stem" in row["variable"] for row in about["state"])
    kernel = stem.kernel.numpy().T.tobytes()
    assert path.read_bytes().count(kernel) == 1
    stem.set_weights([w + 1 for w in stem.get_weights()])
    other = client.export(path, batch_size=2)
    assert other["frozen"] != about["frozen"]


def test_statistics_of_a_frozen_head_move_as_in_keras(tmp_path):
    """A BatchNormalization without weights is not frozen by having none."""
    image = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(3, 3, trainable=False, name="a")(image)
    x = keras.layers.BatchNormalization(center=False, scale=False)(x)
    x = keras.layers.Conv2D(3, 3, name="b")(keras.layers.ReLU(name="first")(x))
    x = keras.layers.GlobalAveragePooling2D(name="second")(x)
    client, _ = keras_split.compile(
        keras.Model(image, keras.layers.Dense(2, name="out")(x)),
        ["first", "second"],
        quantization="float32",
    )
    client.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype("float32")
    y = np.ones((3, 2), "float32")
    about = client.export(tmp_path / "client.tflite", batch_size=4)
    client.connect()
    phone = Phone(tmp_path / "client.tflite", client.strategy)
    client.strategy.expects(smashed_grad=False)

    phone.step([x], [y])

    moved = phone.state()
    inputs = about["signatures"]["head_backward"]["inputs"]
    assert [row["name"] for row in inputs] == ["count", "step", "x_0"]
    client.train_on_batch(x, y)
    for variable in client.head.non_trainable_variables:
        if "moving" in variable.path:
            found = moved[variable.path, "statistic"]
            np.testing.assert_allclose(found, np.array(variable), rtol=1e-5)


def test_the_rates_of_head_and_tail_stay_in_proportion_to_the_body_s(tmp_path):
    client, _ = halves("dense", "float32", keras.optimizers.SGD(0.1))
    rates = {"head": 0.5, "body": 0.25, "tail": 2.0}
    client.compile(
        keras.optimizers.SGD(0.4), client.loss, learning_rate_multipliers=rates
    )
    x, y = nets.vectors(SIZE)
    about = client.export(tmp_path / "client.tflite", batch_size=SIZE)
    client.connect()
    tag = snapshots.take(client.strategy.session)
    phone = Phone(tmp_path / "client.tflite", client.strategy)

    phone.step([x], [y], rate=about["optimizer"]["learning_rate"])

    snapshots.restore(client.strategy.session, tag)
    client.train_on_batch(x, y)
    moved = phone.state()
    for variable in client.trainable_variables:
        found = moved[variable.path, "weight"]
        np.testing.assert_allclose(found, np.array(variable), 1e-5, 1e-6)


def test_a_body_at_a_rate_of_zero_is_refused(tmp_path):
    client, _ = halves("dense", "float32", keras.optimizers.SGD(0.1))

    with pytest.raises(ExportError, match="multiplier of the body"):
        client.export(
            tmp_path / "client.tflite", learning_rate_multipliers={"body": 0}
        )
