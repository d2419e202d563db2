"""Files that people have, and phones that nobody updates, still work.

`legacy/write_legacy.py` wrote `legacy/files.zip` with keras_split as it was
before its rooms were built; its docstring says what is in there. What has to
come out, `expected.json` says. Of keras_split only names that programs use
are used here.
"""

import json
import zipfile
from pathlib import Path

import grpc
import keras
import numpy as np
import pytest
from google.protobuf import descriptor_pool
from google.protobuf import message_factory

import keras_split
from keras_split import device

DATA = Path(__file__).parent / "legacy"
EXPECTED = json.loads((DATA / "expected.json").read_text())
ONE_STEP = {"batch_size": 8, "shuffle": False, "verbose": 0}
TRAIN = "/keras_split.v1.SplitTraining/Train"


@pytest.fixture
def files(tmp_path):
    """A copy of all files, for servers write among theirs."""
    with zipfile.ZipFile(DATA / "files.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


@pytest.fixture
def examples(files):
    """Images, and the labels of each model."""
    with np.load(files / "examples.npz") as data:
        x, y, size = data["x"], data["y"], data["size"]
    return x, {"u": y, "once": y, "blocks": {"kind": y, "size": size}}


def halves(folder):
    """Client and server that were saved there."""
    return (
        keras_split.load_model(folder / "client.keras"),
        keras_split.load_model(folder / "server.keras"),
    )


def reach(client, running, **options):
    """Compiles a client as it was, but for a server that is running."""
    client.compile(
        client.optimizer,
        client.loss,
        loss_weights=client.get_compile_config()["loss_weights"],
        strategy=keras_split.SplitStrategy(
            f"grpc://{running.target}", retry=None, **options
        ),
    )


def sums(model):
    return [np.abs(w).sum(dtype="f8") for w in model.get_weights()]


def assert_close(actual, expected, tolerance=1e-2):
    """Where it was written no bit differs.

    On another processor a value may fall on the other side of the edge between
    two codes: noise of 1e-6 in the images moves a prediction by up to 8e-3.
    """
    if isinstance(expected, dict):
        assert set(actual) == set(expected)
        for name, value in expected.items():
            assert_close(actual[name], value, tolerance)
    else:
        np.testing.assert_allclose(
            actual, expected, rtol=tolerance, atol=tolerance
        )


# -- models --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["u", "once", "blocks"])
def test_both_halves_are_what_they_were(files, examples, name):
    expected = EXPECTED[name]
    client, server = halves(files / name)

    with server.serve(port=0) as running:
        slots = [np.abs(v).sum() for v in client.optimizer.variables]
        weights = sums(client), sums(server)
        reach(client, running)
        predictions = client.predict(examples[0], verbose=0)
        client.close()

    for half in (client, server):
        assert half.contract.fingerprint == expected["fingerprint"]
        assert half.contract.codec == expected["codec"]
        rules = half.contract.quantization.get_config()
        assert rules == expected["quantization"]
    assert_close(weights[0], expected["client"], 1e-6)
    assert_close(weights[1], expected["server"], 1e-6)
    assert_close(slots, expected["slots"], 1e-6)
    assert_close(predictions, expected["predictions"])


@pytest.mark.parametrize("name", ["u", "once"])
def test_halves_that_were_saved_train_on(files, examples, name):
    x, labels = examples
    client, server = halves(files / name)

    with server.serve(port=0) as running:
        reach(client, running)
        history = client.fit(x, labels[name], epochs=2, **ONE_STEP).history
        client.close()

    assert_close(history["loss"], EXPECTED[name]["losses"])


def test_a_client_is_compiled_as_it_was(files):
    compiled = EXPECTED["u"]["compiled"]

    client = keras.saving.load_model(files / "u" / "client.keras")

    config = client.get_compile_config()
    assert client.optimizer.name == compiled["optimizer"]
    assert float(client.optimizer.learning_rate) == compiled["learning_rate"]
    assert config["metrics"] == compiled["metrics"]
    assert client.loss.get_config() == compiled["loss"]
    assert client.snapshot_tag == compiled["snapshot_tag"]


def test_a_client_knows_the_way_to_its_server(files):
    client = keras.saving.load_model(files / "blocks" / "client.keras")

    strategy = client.strategy
    expected = EXPECTED["blocks"]["strategy"]
    files = keras_split.Credentials.from_config(expected["credentials"])
    assert strategy.get_config() == expected | {
        "credentials": files.get_config()  # with whole paths
    }
    assert strategy.address == "grpc://127.0.0.1:50051"
    assert strategy.microbatches == 2
    session = strategy.session
    assert session.retry == keras_split.Retry(give_up_s=30, longest_s=5)
    assert session.route.credentials == keras_split.Credentials(
        "ca.pem", token_file="token.txt"
    )


def test_a_quantizer_in_another_model_rounds_as_it_did(files):
    expected = EXPECTED["quantizer"]

    model = keras.saving.load_model(files / "quantizer.keras")
    predictions = model.predict(np.array(expected["values"], "f4"), verbose=0)

    rules = model.get_layer("cut").quantization.get_config()
    assert rules == expected["quantization"]
    assert_close(predictions, expected["predictions"], 1e-5)


def test_a_model_cut_today_fits_one_cut_then(files):
    model = keras.saving.load_model(files / "quantizer.keras")

    partition = keras_split.Partition(model, ["a", "cut"])

    assert partition.fingerprint == EXPECTED["quantizer"]["fingerprint"]


# -- servers -------------------------------------------------------------------


def test_an_optimizer_of_the_servers_own_is_in_its_checkpoint(files, examples):
    x, labels = examples
    client, server = halves(files / "blocks")
    server.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    checkpoints = files / "blocks" / "checkpoints"

    with server.serve(port=0, checkpoints=checkpoints) as running:
        reach(client, running, microbatches=2)
        history = client.fit(x, labels["blocks"], epochs=2, **ONE_STEP).history
        client.close()

    assert_close(history["loss"], EXPECTED["blocks"]["losses"])


def test_a_training_is_resumed(files, examples):
    x, labels = examples
    expected = EXPECTED["once"]["resume"]
    client, server = halves(files / "once")
    checkpoints = files / "once" / "checkpoints"
    resume = keras_split.Resume(files / "once" / "run")

    with server.serve(port=0, checkpoints=checkpoints) as running:
        reach(client, running)
        history = client.fit(
            x, labels["once"], epochs=3, callbacks=[resume], **ONE_STEP
        ).history
        predictions = client.predict(x, verbose=0)
        client.close()

    assert resume.epoch == expected["epoch"]
    assert_close(history["loss"], expected["losses"])
    assert_close(predictions, expected["predictions"])


def test_a_phone_goes_on_from_its_state(files, examples):
    x, labels = examples
    expected = EXPECTED["u"]["phone"]
    server = keras_split.load_model(files / "u" / "server.keras")
    checkpoints = files / "u" / "checkpoints"

    with server.serve(port=0, checkpoints=checkpoints) as running:
        with device.Client(
            files / "u" / "client.tflite",
            f"grpc://{running.target}",
            num_threads=1,
        ) as phone:
            phone.load_state(files / "u" / "state.npz")
            step = phone.step
            losses = [
                phone.train_on_batch(x, labels["u"])["loss"] for _ in range(2)
            ]
            predictions = phone.predict(x)

    assert step == expected["step"]
    assert_close(losses, expected["losses"])
    assert_close(predictions, expected["predictions"])


# -- phones of then ------------------------------------------------------------


@pytest.fixture
def read(files):
    """Reads a frame as the protocol of then says."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile((files / "split.binpb").read_bytes())
    found = pool.FindMessageTypeByName("keras_split.v1.Frame")
    frame = message_factory.GetMessageClass(found)
    return lambda raw: frame.FromString(raw).envelope


def numbers(envelope):
    """What a reply says, and how far rounding may take it elsewhere.

    All tensors of both models are int8, with a scale for each example, or
    float32.
    """
    message = getattr(envelope, envelope.WhichOneof("message"))
    yield getattr(message, "loss", 0.0), 1e-2
    rest = envelope.payload
    for tensor in [*getattr(message, "predictions", ()), *message.tensors]:
        codes = np.frombuffer(rest[: tensor.codes_bytes], tensor.dtype)
        rest = rest[tensor.codes_bytes :]
        scales = np.frombuffer(rest[: 8 * tensor.scale_rows], "f4")
        rest = rest[8 * tensor.scale_rows :]
        if not tensor.scale_rows:
            yield codes, 1e-2
            continue
        step, zero = scales.reshape(-1, 2).T[..., None]
        yield (codes.reshape(len(step), -1) - zero) * step, 2 * step.max()
    assert not rest


@pytest.mark.parametrize("name", ["u", "once"])
def test_a_phone_of_then_comes_back_to_its_session(files, read, name):
    """It did not hear of the last step, asks again, and takes two more.

    That of `u` sends microbatches.
    """
    expected = EXPECTED[name]["session"]
    server = keras_split.load_model(files / name / "server.keras")
    checkpoints = files / name / "checkpoints"
    with np.load(files / name / "session.npz") as tape:
        asked, answered = (
            [tape[f"{who}_{i}"].tobytes() for i in range(len(tape) // 2)]
            for who in ("asked", "answered")
        )

    with (
        server.serve(port=0, checkpoints=checkpoints) as running,
        grpc.insecure_channel(running.target) as channel,
    ):
        replies = channel.stream_stream(TRAIN)(iter(asked))
        welcome, *replies = [read(raw) for raw in replies]

    assert welcome.welcome.session == expected["name"]
    assert welcome.welcome.next_step == expected["next_step"]
    for reply, then in zip(replies, map(read, answered[1:]), strict=True):
        kind = then.WhichOneof("message")
        assert reply.WhichOneof("message") == kind, reply
        message, before = getattr(reply, kind), getattr(then, kind)
        assert message.step == before.step
        if before.step < expected["next_step"]:
            assert reply.payload == then.payload
        for (now, _), (was, tolerance) in zip(
            numbers(reply), numbers(then), strict=True
        ):
            assert_close(now, was, tolerance)
