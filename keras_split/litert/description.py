"""What client.json says of the .tflite beside it.

It is all that a client in another language needs: names, shapes, dtypes,
quantization, codec, protocol and fingerprint, and the `Hello` to begin with.
`client.schema.json` beside this module is the JSON schema of it.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_split.litert import contents
from keras_split.litert.losses import OutputLoss
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.state import Entry
from keras_split.protocol.messages import NO_OPTIMIZER
from keras_split.protocol.messages import PROTOCOL
from keras_split.protocol.messages import Hello
from keras_split.protocol.wire.proto_json import hello_to_json
from keras_split.training import optimizer_description
from keras_split.utils.version import __version__

FORMAT = 1


def describe(
    client: Any,
    content: bytes,
    *,
    mode: str,
    batch_size: int,
    losses: list[OutputLoss] | None = None,
    optimizer: keras.Optimizer | None = None,
    state: list[Entry] | None = None,
    frozen: str = "",
    precision: str = "float32",
    preprocess: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """The content of client.json as plain values.

    Args:
        client: The phone's half that was exported.
        content: The .tflite.
        mode: `"train"` or `"infer"`.
        batch_size: Rows of every tensor.
        losses: The loss of each output, where the file trains.
        optimizer: What it trains with.
        state: The tensors of its state, in order.
        frozen: Hash of what is constant in the file.
        precision: Of the weights.
        preprocess: The network's own preparation of images from 0 to 255.
    """
    described = None if optimizer is None else _optimizer(client, optimizer)
    config = described["config"] if described else NO_OPTIMIZER
    return {
        "format": FORMAT,
        "keras_split": __version__,
        "protocol": PROTOCOL,
        "mode": mode,
        "precision": precision,
        "batch_size": batch_size,
        "contract": client.contract.get_config(),
        "hello": hello_to_json(
            Hello(client.contract, config, moment=client.moment)
        ),
        # Of the weights in the .tflite; a state has one of its own.
        "moment": client.moment.get_config() if client.moment else None,
        # They are in the .tflite, with their seed; this only says which.
        "defenses": client.defenses.describe(),
        "inputs": _inputs(client),
        "outputs": _outputs(client, losses),
        "skips": [
            {
                "shape": list(client.head.outputs[i].shape[1:]),
                "dtype": str(client.head.outputs[i].dtype),
            }
            for i in client.wiring.skips
        ],
        "optimizer": described,
        "preprocess": None if preprocess is None else affine(preprocess),
        "state": [
            {
                "name": entry.name,
                "shape": list(entry.variable.shape),
                "dtype": entry.variable.dtype.name,
                "variable": entry.source.path,
                "kind": entry.kind,
            }
            for entry in state or []
        ],
        "frozen": frozen,
        "signatures": contents.signatures(content),
        "tflite_sha256": hashlib.sha256(content).hexdigest(),
    }


def affine(preprocess: Callable[..., Any]) -> dict[str, Any] | None:
    """A preprocessing function as `x @ matrix + offset`, for other languages.

    Those of keras.applications scale, shift and swap the channels of an
    image, so three unit vectors tell all about them.

    Returns:
        `{"matrix": 3x3, "offset": [3]}`, or None if it is something else.

    Example:
    >>> affine(lambda x: x / 127.5 - 1.0)["offset"]
    [-1.0, -1.0, -1.0]
    """

    def run(rows: Any) -> Any:
        image = np.asarray(rows, "float64").reshape(1, -1, 1, 3)
        return np.asarray(preprocess(image.copy()), "float64").reshape(-1, 3)

    rows = np.concatenate([np.zeros((1, 3)), 255.0 * np.eye(3)])
    try:
        made = run(rows)
        matrix, offset = (made[1:] - made[0]) / 255.0, made[0]
        probe = np.random.default_rng(0).uniform(0, 255, (16, 3))
        close = np.allclose(run(probe), probe @ matrix + offset, atol=1e-4)
    except (TypeError, ValueError):
        close = False
    if not close:
        return None
    return {
        "matrix": np.round(matrix, 12).tolist(),
        "offset": np.round(offset, 9).tolist(),
    }


def dumps(description: dict[str, Any]) -> str:
    """The text of client.json."""
    return json.dumps(description, indent=1) + "\n"


def _inputs(client: Any) -> list[dict[str, Any]]:
    boundary = SignatureIO(client)
    rows = []
    for n, tensor in boundary.inputs.items():
        half = "head" if n in boundary.head_inputs else "tail"
        if n in boundary.head_inputs and n in boundary.tail_inputs:
            half = "both"
        rows.append(
            {
                "name": client.wiring.inputs[n],
                "shape": list(tensor.shape[1:]),
                "dtype": str(tensor.dtype),
                "half": half,
            }
        )
    return rows


def _outputs(
    client: Any, losses: list[OutputLoss] | None
) -> list[dict[str, Any]]:
    rows = []
    for i, tensor in enumerate(client.tail.outputs):
        shape = list(tensor.shape[1:])
        row: dict[str, Any] = {
            "name": output_names(client)[i],
            "shape": shape,
            "dtype": str(tensor.dtype),
        }
        if losses is not None:
            loss = losses[i]
            row |= {
                "loss": loss.name,
                "loss_weight": loss.weight,
                "label": {
                    "shape": list(loss.label_shape(shape)),
                    "dtype": loss.label_dtype,
                },
                "accuracy": loss.accuracy,
            }
        rows.append(row)
    return rows


def output_names(client: Any) -> list[str]:
    """Names of the outputs, in the order of the tail's outputs."""
    outputs = client.wiring.outputs
    if isinstance(outputs, dict):
        return sorted(outputs, key=outputs.__getitem__)
    names = client.wiring.output_names
    count = len(client.tail.outputs)
    if len(names) == count:
        return list(names)
    return [f"output_{i}" for i in range(count)]


def _optimizer(client: Any, optimizer: keras.Optimizer) -> dict[str, Any]:
    return {
        "name": type(optimizer).__name__,
        "learning_rate": float(optimizer.learning_rate),
        "config": optimizer_description.describe(optimizer, client),
    }
