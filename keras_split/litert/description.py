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

from keras_split.errors import DataError
from keras_split.errors import ExportError
from keras_split.litert import contents
from keras_split.litert.losses import OutputLoss
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.state import Entry
from keras_split.protocol.data_spec import DataSpec
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
    body_rate: float | None = None,
    state: list[Entry] | None = None,
    frozen: str = "",
    precision: str = "float32",
    data_spec: DataSpec | None = None,
) -> dict[str, Any]:
    """The content of client.json as plain values.

    Args:
        client: The phone's half that was exported.
        content: The .tflite.
        mode: `"train"` or `"infer"`.
        batch_size: Rows of every tensor.
        losses: The loss of each output, where the file trains.
        optimizer: What it trains with.
        body_rate: The learning rate to start with, which travels; by default
            the optimizer's.
        state: The tensors of its state, in order.
        frozen: Hash of what is constant in the file.
        precision: Of the weights.
        data_spec: Of its data; by default the client's own.
    """
    spec = data_spec or client.data_spec
    described = None
    if optimizer is not None:
        described = _optimizer(client, optimizer, body_rate)
    config = described["config"] if described else NO_OPTIMIZER
    frozen_head = mode == "train" and not client.head.trainable_variables
    return {
        "format": FORMAT,
        "keras_split": __version__,
        "protocol": PROTOCOL,
        "mode": mode,
        "precision": precision,
        "batch_size": batch_size,
        "contract": client.contract.get_config(),
        "hello": hello_to_json(
            Hello(
                client.contract, config, moment=client.moment, data=spec.digest
            )
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
        "preprocess": _preprocess(spec),
        "class_names": list(spec.class_names),
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
        **({"frozen_head": True} if frozen_head else {}),
        "signatures": contents.signatures(content),
        "tflite_sha256": hashlib.sha256(content).hexdigest(),
    }


def data_spec(client: Any, preprocess: Callable[..., Any] | None) -> DataSpec:
    """What client.json says of the data.

    Args:
        client: Says it, but for what follows.
        preprocess: What is done to images instead.

    Raises:
        ExportError: If that is nothing that client.json could hold.
    """
    spec: DataSpec = client.data_spec
    if preprocess is None:
        return spec
    channels = client.head.inputs[0].shape[-1] or 3
    try:
        return DataSpec.of(preprocess, spec.class_names, channels)
    except DataError as error:
        raise ExportError(str(error)) from error


def _preprocess(spec: DataSpec) -> dict[str, Any] | None:
    config = spec.get_config()
    names = ("matrix", "offset")
    return {name: config[name] for name in names} if spec.matrix else None


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
                "name": client.wiring.inputs[boundary.read[n]],
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
                **({"from_logits": True} if loss.from_logits else {}),
            }
        rows.append(row)
    return rows


def output_names(client: Any) -> list[str]:
    """Names of the outputs, in the order of the tail's outputs."""
    if isinstance(client.wiring.outputs, dict):
        return list(client.wiring.names)
    count = len(client.tail.outputs)
    if len(client.wiring.output_names) == count:
        names: list[str] = []
        for name in client.wiring.output_names:
            # One layer may have made several.
            names.append(f"{name}_{len(names)}" if name in names else name)
        return names
    return [f"output_{i}" for i in range(count)]


def _optimizer(
    client: Any, optimizer: keras.Optimizer, rate: float | None
) -> dict[str, Any]:
    return {
        "name": type(optimizer).__name__,
        "learning_rate": float(optimizer.learning_rate)
        if rate is None
        else rate,
        "config": optimizer_description.describe(optimizer, client),
    }
