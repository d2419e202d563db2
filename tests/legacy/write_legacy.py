"""Files as keras_split wrote them before its rooms were built.

Run with keras_split at commit 73079b7, from the root of that checkout:

    python -m tests.legacy.write_legacy

`tests/test_legacy.py` unpacks `files.zip`, loads what is in it and compares
with `expected.json`. People have files like these, so do not write them anew:
a newer version would only be compared with itself. In the archive are

- `u/`, a model that is cut twice, int8, Adam: both halves; a server's
  checkpoints with two sessions; a phone's `.tflite`, its state, and the
  snapshot for it in `checkpoints/snapshots`.
- `once/`, a model that is cut once: both halves; a server's checkpoints; the
  folder of a `Resume`, and the snapshot for it.
- `blocks/`, a model that is cut twice, with two outputs, of which one of each
  block of 4 crosses, packed with zstd: both halves, the client with the way to
  its server; checkpoints of a server with an optimizer of its own.
- `session.npz` in the first two: what a phone sent and was answered, frame by
  frame, from the step on that is the last in the checkpoints.
- `quantizer.keras`; `examples.npz`, to train on; `split.binpb`, the protocol.

What must come out was computed without loading wherever that is possible: by
the halves before they were saved, and by trainings that were not interrupted.
"""

import json
import os
import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import grpc
import keras
import numpy as np
from keras import layers

import keras_split
from keras_split import Credentials
from keras_split import Quantization
from keras_split import Retry
from keras_split import SplitStrategy
from keras_split.device import Client

HERE = Path(__file__).parent
BATCH = 8
ONE_STEP = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


# -- models and data -----------------------------------------------------------


def examples():
    """Images whose class is how bright they are, and something to regress."""
    rng = np.random.default_rng(0)
    y = (np.arange(BATCH) % 3).astype("int32")
    x = rng.normal(y[:, None, None, None], 0.5, (BATCH, 8, 8, 1))
    size = x.mean(axis=(1, 2, 3))[:, None]
    return {"x": x.astype("f4"), "y": y, "size": size.astype("f4")}


def u_net():
    """Statistics and a seed in the body, where a checkpoint keeps them."""
    x = image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(3, 3, name="first")(x)
    x = layers.Conv2D(4, 3, 2, name="middle")(x)
    x = layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(0.25, seed=1, name="drop")(x)
    return keras.Model(image, layers.Dense(3, name="last")(x))


def once_net():
    """Statistics in the head, a seed in the body."""
    x = image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(2, 3, 3, name="first")(x)
    x = layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(0.25, seed=1, name="drop")(x)
    return keras.Model(image, layers.Dense(3, name="last")(x))


def blocks_net():
    """Two outputs in a dict; the tail reads the head's tensor as well."""
    x = image = keras.Input((8, 8, 1), name="image")
    x = first = layers.Conv2D(4, 3, 3, name="first")(x)
    x = layers.Conv2D(8, 2, name="second")(x)
    kind = layers.GlobalAveragePooling2D(name="pool")(x)
    size = layers.GlobalAveragePooling2D(name="skip")(first)
    return keras.Model(
        image,
        {
            "kind": layers.Dense(3, name="kind")(kind),
            "size": layers.Dense(1, name="size")(size),
        },
    )


# -- what must come out --------------------------------------------------------


def floats(values):
    """Numbers as JSON has them."""
    return np.asarray(values, "f8").tolist()


def sums(model):
    """How large each weight is, in order."""
    return [float(np.abs(w).sum(dtype="f8")) for w in model.get_weights()]


def described(client, server, x):
    """What both halves are before they are saved."""
    predictions = client.predict(x, verbose=0)
    client.close()  # so that get_weights takes no snapshot
    return {
        "fingerprint": client.contract.fingerprint,
        "quantization": client.contract.quantization.get_config(),
        "codec": client.contract.codec,
        "client": sums(client),
        "server": sums(server),
        "slots": [floats(np.abs(v).sum()) for v in client.optimizer.variables],
        "predictions": keras.tree.map_structure(floats, predictions),
    }


def loaded(folder):
    """The halves that were saved there."""
    return (
        keras_split.load_model(folder / "client.keras"),
        keras_split.load_model(folder / "server.keras"),
    )


def two_more_steps(client, server, x, y):
    """Losses of two steps, in this process if a server model is given."""
    client._partner.server = server
    history = client.fit(x, y, epochs=2, **ONE_STEP).history
    client.close()
    return history["loss"]


# -- one session, message by message -------------------------------------------


class Tape(grpc.GenericRpcHandler):
    """Stands between a client and its server and keeps what they say.

    Args:
        target: Of the server.

    Attributes:
        address: Where the client finds it.
        streams: Of each stream the frames that were asked and answered.
    """

    def __init__(self, target):
        self._channel = grpc.insecure_channel(target)
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.address = f"grpc://127.0.0.1:{port}"
        self.streams = []

    def service(self, details):
        """gRPC's way to find a method: all of them are relayed."""

        def relay(requests, context):
            asked, answered = [], []
            self.streams.append((asked, answered))
            call = self._channel.stream_stream(details.method)
            yield from kept(call(kept(requests, asked)), answered)

        def kept(frames, on):
            try:
                for raw in frames:
                    on.append(raw)
                    yield raw
            except grpc.RpcError:
                pass  # the client hung up

        return grpc.stream_stream_rpc_method_handler(relay)

    def stop(self):
        """Closes both ends."""
        self._server.stop(0)
        self._channel.close()


def record(client, x, y, server, folder, **options):
    """Trains over a connection that breaks off, and keeps the end of it.

    After steps 0 to 2 the client comes back to its session; step 3 is the
    last in the checkpoint that is copied to `folder`. What is kept lets a
    phone come back once more that did not hear of that step, and go on: the
    hello, the messages that end step 3, those of steps 4 and 5, and the
    answer to each. Only step 5 shows what the optimizer made of step 4.
    """
    pb = protocol()
    tape = Tape(server.target)
    strategy = reach(client, tape.address, **options)
    client.fit(x, y, epochs=3, **ONE_STEP)
    strategy._hang_up()
    client.fit(x, y, epochs=1, **ONE_STEP)
    copy_checkpoint(strategy, server, folder)
    client.fit(x, y, epochs=2, **ONE_STEP)

    kept = {}
    for asked, answered in zip(*tape.streams[-1], strict=True):
        envelope = pb.Frame.FromString(asked).envelope
        kind = envelope.WhichOneof("message")
        step = getattr(getattr(envelope, kind), "step", None)
        ends = kind in ("backward", "labeled_step")
        if kind == "hello" or step in (4, 5) or (step == 3 and ends):
            number = len(kept) // 2
            kept[f"asked_{number}"] = np.frombuffer(asked, np.uint8)
            kept[f"answered_{number}"] = np.frombuffer(answered, np.uint8)
    np.savez(folder / "session.npz", **kept)
    name = strategy._session
    client.close()
    tape.stop()
    return {"name": name, "next_step": 4}


def protocol():
    """The stubs, where they were at that commit.

    pytest imports this script where they may be somewhere else.
    """
    from keras_split.wire import split_pb2

    return split_pb2


def reach(client, address, **options):
    """Compiles a client as it was, but with a server somewhere else."""
    strategy = SplitStrategy(address, **options)
    client.compile(
        client.optimizer,
        client.loss,
        loss_weights=client._compile_config.config["loss_weights"],
        strategy=strategy,
    )
    return strategy


def copy_checkpoint(strategy, server, folder):
    """Has a server write its state, and copies what it has written."""
    from keras_split.messages import Checkpoint
    from keras_split.messages import Done

    strategy._send(Done, Checkpoint(strategy._session))
    state = server._host._checkpointer._checkpoints.folder
    shutil.copytree(state, folder / "checkpoints")


# -- the three folders ---------------------------------------------------------


def write_u(folder, state, x, y):
    """A U shape, on a phone as well; its server has two sessions."""
    keras.utils.set_random_seed(0)
    client, server = keras_split.compile(u_net(), ["first", "drop"])
    client.compile(keras.optimizers.Adam(0.02), LOGITS, metrics=["accuracy"])
    client.fit(x, y, epochs=3, **ONE_STEP)
    expected = described(client, server, x)
    client.connect()  # so that the file holds the tag of a snapshot
    client.save(folder / "client.keras")
    expected["compiled"] = {
        "optimizer": client.optimizer.name,
        "learning_rate": float(client.optimizer.learning_rate),
        "loss": client.loss.get_config(),
        "metrics": ["accuracy"],
        "snapshot_tag": client.snapshot_tag,
    }
    client.close()
    server.save(folder / "server.keras")
    client.export(folder / "client.tflite", batch_size=BATCH)

    client, server = loaded(folder)
    expected["losses"] = two_more_steps(client, server, x, y)

    client, server = loaded(folder)
    with server.serve(port=0, checkpoints=state) as running:
        phone = Client(folder / "client.tflite", f"grpc://{running.target}")
        expected["phone"] = train_phone(phone, folder / "state.npz", x, y)
        expected["session"] = record(
            client, x, y, running, folder, microbatches=2
        )
        phone.close()
    return expected


def train_phone(phone, path, x, y):
    """Three steps, a state, and what two more and a prediction give."""
    for _ in range(3):
        phone.train_on_batch(x, y)
    phone.save_state(path)
    losses = [phone.train_on_batch(x, y)["loss"] for _ in range(2)]
    predictions = floats(phone.predict(x))
    return {"step": 3, "losses": losses, "predictions": predictions}


def write_once(folder, state, x, y):
    """Labels on the server; a training that is to be resumed."""
    keras.utils.set_random_seed(0)
    client, server = keras_split.compile(once_net(), ["norm"])
    client.compile(keras.optimizers.Adam(0.02), LOGITS)
    client.fit(x, y, epochs=3, **ONE_STEP)
    expected = described(client, server, x)
    client.save(folder / "client.keras")
    server.save(folder / "server.keras")

    client, server = loaded(folder)
    expected["losses"] = two_more_steps(client, server, x, y)

    client, server = loaded(folder)
    again, _ = loaded(folder)
    with server.serve(port=0, checkpoints=state) as running:
        reach(client, f"grpc://{running.target}")
        expected["resume"] = train_with_resume(client, folder / "run", x, y)
        client.close()
        expected["session"] = record(again, x, y, running, folder)
    return expected


def train_with_resume(client, path, x, y):
    """Two epochs that are kept, and what comes out of a third."""
    resume = keras_split.Resume(path)
    client.fit(x, y, epochs=2, callbacks=[resume], **ONE_STEP)
    # Without the callback, which would move on.
    history = client.fit(x, y, initial_epoch=2, epochs=3, **ONE_STEP).history
    predictions = floats(client.predict(x, verbose=0))
    return {"epoch": 2, "losses": history["loss"], "predictions": predictions}


def write_blocks(folder, state, x, y):
    """What few choose; the server has one optimizer for all its clients."""
    keras.utils.set_random_seed(0)
    client, server = keras_split.compile(
        blocks_net(),
        ["first", "second"],
        quantization=Quantization("int8", "float16", block=4),
        codec="zstd",
    )
    client.compile(
        keras.optimizers.SGD(0.1),
        {"kind": LOGITS, "size": "mse"},
        loss_weights={"kind": 1.0, "size": 0.5},
    )
    client.fit(x, y, epochs=3, **ONE_STEP)
    expected = described(client, server, x)
    strategy = reach(
        client,
        "grpc://127.0.0.1:50051",
        microbatches=2,
        credentials=Credentials("ca.pem", token_file="token.txt"),
        retry=Retry(give_up_s=30, longest_s=5),
    )
    expected["strategy"] = strategy.get_config()
    client.save(folder / "client.keras")
    server.save(folder / "server.keras")

    client, server = loaded(folder)
    again, _ = loaded(folder)
    server.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    with server.serve(port=0, checkpoints=state) as running:
        address = f"grpc://{running.target}"
        strategy = reach(client, address, microbatches=2)
        client.fit(x, y, epochs=3, **ONE_STEP)
        copy_checkpoint(strategy, running, folder)
        client.close()
        reach(again, address, microbatches=2)
        expected["losses"] = two_more_steps(again, None, x, y)
    return expected


def write_quantizer(path):
    """A model that nobody has cut, with the rounding of a cut inside."""
    keras.utils.set_random_seed(0)
    x = values = keras.Input((4,), name="values")
    x = layers.Dense(3, name="a")(x)
    rules = Quantization("int4", "float16", granularity="tensor")
    x = keras_split.CutQuantizer(rules, name="cut")(x)
    model = keras.Model(values, layers.Dense(2, name="b")(x))
    model.save(path)
    given = np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4)
    return {
        "values": floats(given),
        "predictions": floats(model.predict(given, verbose=0)),
        "quantization": model.get_layer("cut").quantization.get_config(),
        "fingerprint": keras_split.Partition(model, ["a", "cut"]).fingerprint,
    }


def pack(folder, path):
    """Puts files into one that is the same wherever it is written."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                about = zipfile.ZipInfo(file.relative_to(folder).as_posix())
                about.external_attr = 0o644 << 16
                about.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(about, file.read_bytes())


def main():
    """Writes all of it."""
    data = examples()
    x, y = data["x"], data["y"]
    labels = {"kind": y, "size": data["size"]}
    with tempfile.TemporaryDirectory() as made:
        files, states = Path(made, "files"), Path(made, "states")
        for name in ("u", "once", "blocks"):
            (files / name).mkdir(parents=True)
        np.savez(files / "examples.npz", **data)
        # What a phone of then knew of the protocol.
        (files / "split.binpb").write_bytes(protocol().DESCRIPTOR.serialized_pb)
        expected = {
            "u": write_u(files / "u", states / "u", x, y),
            "once": write_once(files / "once", states / "once", x, y),
            "blocks": write_blocks(
                files / "blocks", states / "blocks", x, labels
            ),
            "quantizer": write_quantizer(files / "quantizer.keras"),
        }
        pack(files, HERE / "files.zip")
    text = json.dumps(expected, indent=1)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
