"""Quantization-aware training: weights that int8 hurts less.

The phone's half learns to repeat its own float outputs while weights and
activations are rounded as int8 rounds them (Jacob et al., "Quantization and
Training of Neural Networks", arXiv 1712.05877), with the fake quantization of
tensorflow-model-optimization. No labels are needed, and the server's half
stays as it is, because what reaches it stays what it was.
"""

import logging
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert import tf_keras_bridge
from keras_split.litert.calibration import observe
from keras_split.litert.export import check
from keras_split.litert.fake_quantized import Batch
from keras_split.litert.fake_quantized import FakeQuantized
from keras_split.litert.fake_quantized import Fit
from keras_split.litert.half import PhoneHalf
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.tf_keras_bridge import Twin
from keras_split.litert.tf_keras_bridge import build_twin
from keras_split.litert.tf_keras_bridge import flat

_LOG = logging.getLogger("keras_split")
# The twin computes the same formula; TensorFlow may sum in another order.
_PARITY = 1e-3


def quantize_aware(
    client: PhoneHalf,
    data: Any,
    *,
    epochs: int = 1,
    learning_rate: float = 3e-5,
    batch_size: int = 16,
) -> dict[str, Fit]:
    """Trains head and tail for int8, in place.

    `client.export(mode="infer", precision="int8")` then loses less. Features
    for the tail come from the server, in inference mode.

    Args:
        client: The phone's half, cut twice and trained.
        data: Inputs of the whole model, some hundreds, as for `calibration`.
        epochs: How often to go through them.
        learning_rate: Adam's, at the start; it falls to 0.
        batch_size: Examples of one step.

    Returns:
        A `Fit` for `"head"` and for `"tail"`; a half without any layer that
        can be quantized is left out.

    Raises:
        ExportError: If the half cannot be exported at all, or not be trained
            this way. Nothing has changed then.
        BackendError: If tensorflow-model-optimization is missing.
        TransportError: If the server is not there.
    """
    check(client, "client.tflite", batch_size)
    tail = client.tail
    assert tail is not None
    tfmot, tf_keras = tf_keras_bridge.load()
    head_x, tail_x = _examples(client, data, batch_size)
    fits: dict[str, Fit] = {}
    moved: list[tuple[Any, list[np.ndarray[Any, Any]]]] = []
    refused: list[str] = []
    for name, half, inputs in (
        ("head", client.head, head_x),
        ("tail", tail, tail_x),
    ):
        batches = [
            (x, [np.asarray(y) for y in flat(half(x, training=False))])
            for x in inputs
        ]
        twin = build_twin(half, tf_keras)
        _check_parity(name, twin, batches[0])
        training = FakeQuantized(tfmot, tf_keras, twin)
        refused += training.float_layers
        if not training.quantized:
            continue
        fit, weights = training.run(batches, epochs, learning_rate)
        fits[name] = fit
        moved += weights
    if not fits:
        raise ExportError(
            "Expected a layer that tensorflow-model-optimization can "
            f"quantize. Received: {', '.join(refused) or 'none'}. Leave out "
            "quantize_aware, and export with precision='int8' directly."
        )
    if refused:
        _LOG.warning(
            "Trained without rounding, because tensorflow-model-optimization "
            "does not know them: %s. Cut so that the server has them, if the "
            "error of the int8 file is too large.",
            ", ".join(refused),
        )
    for layer, values in moved:
        layer.set_weights(values)
    return fits


def _examples(
    client: PhoneHalf, data: Any, batch_size: int
) -> tuple[list[list[Any]], list[list[Any]]]:
    """Batches of inputs of head and of tail, as the models take them."""
    assert client.tail is not None
    features = SignatureIO(client).features
    observed = observe(client, data, batch_size)
    parts = len(features.part_dtypes)
    head = [
        [tf.constant(array) for array in batch.values()]
        for batch in observed["head_infer"]
    ]
    tail = []
    for batch in observed["tail_infer"]:
        arrays = [tf.constant(array) for array in batch.values()]
        tail.append([*features.dequantize(arrays[:parts]), *arrays[parts:]])
    return head, tail


def _check_parity(name: str, twin: Twin, batch: Batch) -> None:
    difference = twin.difference(*batch)
    if not difference < _PARITY:
        raise ExportError(
            f"Expected the {name} to compute the same in tf_keras, to a "
            f"relative {_PARITY}. Received: a difference of {difference:.2g}. "
            "Leave out quantize_aware for this model, and report it."
        )
