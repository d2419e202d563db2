"""What `keras-split train` trains with."""

import keras
import numpy as np
import pytest

import keras_split
from keras_split_cli.batches import Batches
from tests.cli import commands

LOSSES = keras.losses


def compiled():
    return {
        "optimizer": keras.optimizers.SGD(0.05, momentum=0.9),
        "loss": LOSSES.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy", keras.metrics.SparseCategoricalAccuracy("a")],
    }


@pytest.fixture
def data(tmp_path):
    return commands.archive(tmp_path / "data.npz", (12, 12, 8))


def write(folder, *arguments):
    """Writes a client, and serves its body until the test ends."""
    client, server = commands.halves(*arguments)
    client.save(folder / "client.keras")
    return server.serve(port=0)


def train(folder, running, *options):
    return commands.run(
        *("train", folder / "client.keras", "--server", running.target),
        *("--data", folder / "data.npz", "--validation-split", 0),
        *("--epochs", 1, "--batch-size", 8, *options),
    )


@pytest.mark.slow
def test_a_client_goes_on_with_the_slots_of_its_optimizer(data, tmp_path):
    client, server = commands.halves(None, 3, compiled())
    arrays = np.load(data)
    client.fit(Batches(arrays["x"], arrays["y"], 8, 0), verbose=0)
    client.save(tmp_path / "client.keras")
    before = [v.numpy() for v in client.trainable_variables]
    speeds = [
        variable.numpy()
        for variable in client.optimizer.variables
        if variable.path.endswith("momentum")
    ]
    steps = int(client.optimizer.iterations)

    with server.serve(port=0) as running:
        result = train(
            *(tmp_path, running, "--learning-rate", 1e-30),
            *("--save", tmp_path / "trained.keras"),
        )

    assert result.returncode == 0, result.stderr
    assert "SGD at a learning rate of 1e-30" in result.stderr
    assert "not as in the file: learning rate\n" in result.stderr
    assert ", a 0." in result.stdout or ", a 1." in result.stdout
    trained = keras_split.load_model(tmp_path / "trained.keras")
    loss = trained.get_compile_config()["loss"]
    assert loss["config"]["from_logits"] is True
    assert int(trained.optimizer.iterations) == 2 * steps
    way = sum(0.9**step for step in range(1, steps + 1))
    after = [v.numpy() for v in trained.trainable_variables]
    for old, speed, new in zip(before, speeds, after, strict=True):
        assert np.abs(speed).max() > 0
        np.testing.assert_allclose(new, old + way * speed, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "classes", "loss", "counts", "said"),
    [
        (None, 3, None, (8, 8, 8), "SparseCategoricalCrossentropy"),
        ("sigmoid", 1, None, (8, 8), "BinaryCrossentropy"),
        (
            "softmax",
            3,
            LOSSES.CategoricalCrossentropy(label_smoothing=0.1),
            (8, 8, 8),
            "CategoricalCrossentropy",
        ),
        ("sigmoid", 1, ["binary_focal_crossentropy"], (8, 8), "binary_focal"),
    ],
)
def test_labels_come_in_the_form_that_the_loss_wants(
    tmp_path, activation, classes, loss, counts, said
):
    commands.archive(tmp_path / "data.npz", counts)
    given = None if loss is None else {"optimizer": "sgd", "loss": loss}

    with write(tmp_path, activation, classes, given) as running:
        result = train(tmp_path, running)

    assert result.returncode == 0, result.stderr
    kept = "SGD at a learning rate of 0.01" if given else "Adam at a"
    assert kept in result.stderr and said in result.stderr
    assert "Epoch 1/1: " in result.stdout


def test_another_optimizer_and_loss_are_taken_and_said(data, tmp_path):
    with write(tmp_path, None, 3, compiled()) as running:
        result = train(
            *(tmp_path, running, "--optimizer", "adam", "--learning-rate", 0.5),
            *("--loss", "categorical_crossentropy"),
            *("--metrics", "top_k_categorical_accuracy"),
            *("--save", tmp_path / "trained.keras"),
        )

    assert result.returncode == 0, result.stderr
    assert (
        "Adam at a learning rate of 0.5, CategoricalCrossentropy; not as in "
        "the file: optimizer, learning rate, loss, metrics"
    ) in result.stderr
    assert "top_k_categorical_accuracy" in result.stdout
    trained = keras_split.load_model(tmp_path / "trained.keras")
    loss = trained.get_compile_config()["loss"]
    assert loss["config"]["from_logits"] is True


@pytest.mark.parametrize(
    ("arguments", "options", "words", "code"),
    [
        ((None, 1, None), (), "Pass --loss", 1),
        ((None, 3, None), ("--loss", "nonsense"), "'nonsense'", 2),
        ((None, 3, None), ("--metrics", "nonsense"), "'nonsense'", 2),
        ((None, 3, None), ("--optimizer", "nonsense"), "'nonsense'", 2),
        (
            (None, 3, {"optimizer": "scheduled", "loss": "mse"}),
            ("--learning-rate", 0.1),
            "follows a schedule",
            2,
        ),
    ],
)
def test_what_cannot_be_known_is_refused(
    data, tmp_path, arguments, options, words, code
):
    if (arguments[2] or {}).get("optimizer") == "scheduled":
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
        arguments[2]["optimizer"] = keras.optimizers.SGD(rate)
    client, _ = commands.halves(*arguments)
    client.save(tmp_path / "client.keras")

    result = commands.run(
        *("train", tmp_path / "client.keras", "--server", "127.0.0.1:9"),
        *("--data", data, *options),
    )

    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_several_outputs_are_refused_in_words(data, tmp_path):
    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(2, 3, name="first")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = [keras.layers.Dense(3, name=name)(x) for name in ("a", "b")]
    client, _ = keras_split.compile(
        keras.Model(image, outputs), ["first", "pool"]
    )
    client.save(tmp_path / "client.keras")

    result = commands.run(
        *("train", tmp_path / "client.keras", "--server", "127.0.0.1:9"),
        *("--data", data),
    )

    assert result.returncode == 1
    assert "one output" in result.stderr and "a, b" in result.stderr


@pytest.mark.slow
def test_parts_learn_at_rates_of_their_own_and_go_on_so(data, tmp_path):
    with write(tmp_path, None, 3, compiled()) as running:
        first = train(
            *(tmp_path, running, "--learning-rate", "head=0.001,tail=0.1"),
            *("--save", tmp_path / "client.keras"),
        )
        again = train(
            *(tmp_path, running, "--save", tmp_path / "trained.keras")
        )

    assert first.returncode == again.returncode == 0, first.stderr
    for result in (first, again):
        assert "SGD at a learning rate of 0.05 (head 0.001, tail 0.1)" in (
            result.stderr
        )
    trained = keras_split.load_model(tmp_path / "trained.keras")
    multiples = trained.learning_rate_multipliers
    assert multiples.head == pytest.approx(0.02)
    assert multiples.tail == pytest.approx(2)
