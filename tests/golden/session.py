"""A session of a phone with a server, as a fake server can play it.

`docs/assets/session/` holds the phone's two files and `session.json`: what the
phone is asked to do, and each request with its reply. Authors of clients test
with them; our tests replay them against the server and against the device
client. A difference means that one of the two is no longer understood. After
a change that is meant, write them anew and read the diff:

    python -m tests.golden.session
"""

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from google.protobuf import json_format

import keras_split
from keras_split import device
from keras_split.client.retry import Retry
from keras_split.compression import codecs
from keras_split.errors import TransportError
from keras_split.protocol import timeline
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire import unary
from keras_split.server.callbacks import Caller
from keras_split.server.sessions import Sessions
from keras_split.transports import Transport

FOLDER = Path(__file__).parents[2] / "docs" / "assets" / "session"
TFLITE = FOLDER / "client.tflite"
JSON = FOLDER / "client.json"
SESSION = FOLDER / "session.json"

NAME = "0123456789abcdef0123456789abcdef"  # the session's; else at random
RUN = "fedcba9876543210fedcba9876543210"  # likewise
ROWS = 4
RAW = codecs.get("raw")
RETRY = Retry(give_up_s=5, first_s=0.01)
ABOUT = (
    "A phone with client.tflite and client.json does what 'plan' says; "
    "'exchanges' is every message of it, as proto JSON of Envelope. A reply "
    "that is 'lost' was made, but the connection broke: connect anew."
)


def halves():
    """`(client, server)` with weights that depend on no version of Keras."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    values = keras.Input((5,), name="values")
    x = layers.Dense(ROWS, activation="tanh", name="first")(values)
    x = layers.Dense(6, name="middle")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu", name="second")(x)
    x = layers.Dense(3, activation="softmax", name="out")(x)
    model = keras.Model(values, x)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            weights = layer.get_weights()
            layer.set_weights([rng.normal(0, 0.7, w.shape) for w in weights])
    return keras_split.compile(model, ["first", "second"], quantization="int8")


def plan():
    """What the phone is asked to do, one after the other."""
    rng = np.random.default_rng(1)

    def some(do, rows, **others):
        x = np.round(rng.normal(size=(rows, 5)), 3)
        y = np.arange(rows) % 3
        return {"do": do, "x": x.tolist(), "y": y.tolist(), **others}

    return [
        some("train", ROWS),
        some("train", 3),  # a partial batch, whose last reply is lost
        some("evaluate", 2),
        some("train", ROWS, sample_weight=[1e9] * ROWS),  # refused: norm
        some("train", ROWS),
        {"do": "close"},
    ]


def do(phone, task):
    """Has a device client do one task; returns what it logs."""
    if task["do"] == "close":
        phone.close()
        return {}
    x, y = np.array(task["x"], "float32"), np.array(task["y"], "int32")
    if task["do"] == "evaluate":
        return phone.evaluate([(x, y)])
    weights = task.get("sample_weight")
    weights = None if weights is None else np.array(weights, "float32")
    return phone.train_on_batch(x, y, weights)


class Conversation(Transport):
    """Carries messages as `Exchange` does; one of them is cut off.

    Args:
        answer: From the bytes of a request to the reply's, and whether it
            arrives.
    """

    def __init__(self, answer):
        self._answer = answer

    def carry(self, message):
        raw, arrives = self._answer(unary.encode(message, RAW))
        if not arrives:
            raise TransportError("Expected a reply. Received: nothing.")
        return unary.decode(raw, RAW)

    def close(self):
        pass


def phone(answer, path=TFLITE):
    """A device client whose server is a function."""
    return device.Client(
        path,
        transport=lambda route, contract: Conversation(answer),
        num_threads=1,
        retry=RETRY,
    )


def to_json(raw):
    """An envelope as proto JSON, with the names of `split.proto`."""
    return json_format.MessageToDict(
        pb.Envelope.FromString(raw), preserving_proto_field_name=True
    )


def from_json(value):
    """The inverse of `to_json`."""
    return json_format.ParseDict(value, pb.Envelope())


def differences(actual: pb.Envelope, stored: pb.Envelope) -> Iterator[str]:
    """In what two envelopes differ by more than a computer's rounding.

    Codes may be one apart, and so may zero points; scales 0.01 %. The text of
    a refusal is for people, and the limit of a message the server's own.
    """
    plain = []
    for envelope in (actual, stored):
        copied = pb.Envelope.FromString(envelope.SerializeToString())
        copied.ClearField("payload")
        if copied.WhichOneof("message") == "refusal":
            copied.refusal.text = ""
        if copied.WhichOneof("message") == "welcome":
            copied.welcome.max_message_bytes = 0  # the server's owner sets it
        plain.append(json_format.MessageToDict(copied))
    if plain[0] != plain[1]:
        yield f"{plain[0]} is not {plain[1]}"
        return
    kind = stored.WhichOneof("message")
    at = 0
    for tensor in getattr(getattr(stored, kind), "tensors", ()):
        codes, scales = tensor.codes_bytes, 8 * tensor.scale_rows
        pairs = []
        for payload in (actual.payload, stored.payload):
            pairs.append(
                (
                    np.frombuffer(payload[at : at + codes], "u1").astype(int),
                    np.frombuffer(payload[at + codes :][:scales], "<f4"),
                )
            )
        at += codes + scales
        (one, two), (other_one, other_two) = pairs
        near = np.allclose(two[::2], other_two[::2], rtol=1e-4)
        near = near and np.allclose(two[1::2], other_two[1::2], atol=1)
        if not near or np.abs(one - other_one).max() > 1:
            yield f"the numbers of {tensor.name!r} in a {kind}"


def record():
    """Writes the three files anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    client, server = halves()
    client.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    client.export(TFLITE, batch_size=ROWS)
    Sessions.name = staticmethod(lambda: NAME)
    timeline.new_run = lambda: RUN
    exchanges = []

    def answer(raw):
        reply = serving.answer(raw, Caller())
        sent = to_json(raw)
        first = not any(item["request"] == sent for item in exchanges)
        lost = first and int(sent.get("backward", {}).get("step", 0)) == 1
        item = {"request": sent, "reply": to_json(reply)}
        exchanges.append(item | ({"lost": True} if lost else {}))
        return reply, not lost

    serving = server.endpoint()
    subject = phone(answer)
    tasks = []
    for task in plan():
        logs = do(subject, task)
        logs = {k: None if np.isnan(v) else v for k, v in logs.items()}
        tasks.append(task | ({"logs": logs} if logs else {}))
    recorded = {"about": ABOUT, "plan": tasks, "exchanges": exchanges}
    SESSION.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    record()
