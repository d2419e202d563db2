"""What a half sees in use: examples that the int8 ranges are taken from."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.defenses.chain import INFERENCE
from keras_split.errors import ExportError
from keras_split.litert.half import PhoneHalf
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.signature_io import named
from keras_split.utils.counted import counted

Observed = dict[str, list[dict[str, Any]]]


def observe(
    client: PhoneHalf, calibration: Any, batch_size: int = 1
) -> Observed:
    """The inputs of `head_infer` and `tail_infer` for some examples.

    Features come from the server, through the client's strategy, and so with
    the quantization that they will have in use. A session that was not open
    before is closed again.

    Args:
        client: The phone's half.
        calibration: Inputs of the whole model: an array, or the structure the
            model takes, or an iterable of batches such as a
            `tf.data.Dataset`, whose labels are ignored.
        batch_size: Rows of each of the returned tensors.

    Returns:
        For each signature one dictionary of tensors by name for each batch.
        The last batch is filled up with copies of its first example.

    Raises:
        ExportError: If `calibration` holds no examples.
        TransportError: If the server is not there.
    """
    boundary = SignatureIO(client)
    smashed, features = boundary.smashed, boundary.features
    count = len(smashed.specs)
    flat = flat_inputs(client, calibration)
    observed: Observed = {"head_infer": [], "tail_infer": []}
    was_connected = client.strategy.connected
    client.connect()
    try:
        for start in range(0, len(flat[0]), batch_size):
            x = [
                filled(a[start : start + batch_size], batch_size) for a in flat
            ]
            head_x = {f"x_{i}": x[i] for i in boundary.head_inputs}
            made = keras.tree.flatten(
                client.head(list(head_x.values()), training=False)
            )
            parts = smashed.send(made[:count], INFERENCE)
            parts += boundary.shared.pack(boundary.sharing(head_x))
            sent = smashed.wrap(parts)
            reply, _ = client.strategy.infer(sent)
            # In the order of the tail's own inputs.
            tail_x = named("features", features, features.unwrap(reply))
            for i, position in enumerate(boundary.skips):
                tail_x[f"skip_{i}"] = np.asarray(made[position], np.float32)
            tail_x |= {f"x_{i}": x[i] for i in boundary.tail_inputs}
            observed["head_infer"].append(head_x)
            observed["tail_infer"].append(tail_x)
    finally:
        if not was_connected:
            client.close()
    return observed


def flat_inputs(client: PhoneHalf, data: Any) -> list[np.ndarray[Any, Any]]:
    """All examples of some data, one array for each input that is read.

    Raises:
        ExportError: If there are none.
    """
    names = client.wiring.inputs
    batches: list[Any] = [data]
    if isinstance(data, Iterable) and not isinstance(
        data, (dict, list, tuple, np.ndarray, tf.Tensor)
    ):
        batches = [keras.utils.unpack_x_y_sample_weight(b)[0] for b in data]
    elif isinstance(data, (list, tuple)) and len(data) != len(names):
        batches = list(data)
    rows: list[list[np.ndarray[Any, Any]]] = []
    for batch in batches:
        found = (
            [batch.get(name) for name in names]
            if isinstance(batch, dict)
            else keras.tree.flatten(batch)
        )
        rows.append([np.asarray(array) for array in found])
    whole = [
        len(row) == len(names)
        and all(map(np.ndim, row))
        and len({len(array) for array in row}) == 1
        for row in rows
    ]
    if not rows or not all(whole) or not sum(len(row[0]) for row in rows):
        raise ExportError(
            "Expected calibration examples: arrays of the model's inputs "
            f"({', '.join(names)}), or batches of them. Received: "
            f"{type(data).__name__}, {counted(len(rows), 'batch', 'batches')}. "
            "Pass 100 or more real inputs, scaled as for training: "
            "calibration=x[:100]."
        )
    boundary = SignatureIO(client)
    arrays = []
    for i, spec in boundary.inputs.items():
        place = boundary.read[i]
        array = np.concatenate([row[place] for row in rows])
        expected = tuple(spec.shape[1:])
        if array.shape[1:] != expected:
            raise ExportError(
                f"Expected calibration examples of shape {expected} for input "
                f"{names[place]!r}. Received: {array.shape[1:]}. Scale and "
                "resize them as the training images."
            )
        arrays.append(array.astype(spec.dtype))
    return arrays


def filled(rows: np.ndarray[Any, Any], batch_size: int) -> np.ndarray[Any, Any]:
    """A batch of that many rows; copies of the first fill it up."""
    missing = batch_size - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
