"""Writes the phone's half as a LiteRT file that only infers."""

import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_split.defenses.chain import INFERENCE
from keras_split.litert import silent
from keras_split.litert.calibration import observe
from keras_split.litert.convert import convert
from keras_split.litert.description import data_spec
from keras_split.litert.description import describe
from keras_split.litert.export import check
from keras_split.litert.export import layers
from keras_split.litert.export import write
from keras_split.litert.half import PhoneHalf
from keras_split.litert.precision import CUT_SCOPE
from keras_split.litert.precision import check_precision
from keras_split.litert.precision import reduce_precision
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.signature_io import Specs
from keras_split.litert.signature_io import Tensors


def export_inference(
    client: PhoneHalf,
    path: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    precision: str = "float32",
    calibration: Any = None,
    preprocess: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Writes `client.tflite`, which infers, and `client.json` beside it.

    Weights are constants, and BatchNormalization is folded into the layer
    before it. Inputs and predictions are float32 at each precision, and so is
    the cut layer's quantization inside the file: codes are those that
    `keras_split.compression.quantize` gives to what the head computed.

    Args:
        client: The phone's half, cut twice.
        path: Where to write; ends in .tflite.
        batch_size: Rows of every tensor in the file.
        precision: `"float32"`; `"float16"` for weights of half the size;
            `"dynamic"` for int8 weights; `"int8"` for int8 activations too.
            Operations that LiteRT has only for floats stay float.
        calibration: For `"int8"`, about 100 inputs of the whole model: an
            array, the structure that the model takes, or batches such as a
            `tf.data.Dataset`, whose labels are ignored. The tail's ranges are
            taken from features that the server computes for them.
        preprocess: What the network wants done to images from 0 to 255, for
            `client.json`, instead of what the client's `data_spec` says.

    Returns:
        The content of `client.json`.

    Raises:
        ExportError: If the half cannot be exported; nothing is written.
        BackendError: If ai-edge-quantizer is needed and missing.
        TransportError: If int8 needs the server and it is not there.
    """
    target = check(client, path, batch_size)
    spec = data_spec(client, preprocess)
    check_precision(precision, calibration)
    observed = None
    if precision == "int8":
        observed = observe(client, calibration, batch_size)
    signatures = InferenceSignatures(client, batch_size)
    content = convert(tf.Module(), signatures.functions(), layers(client))
    content = reduce_precision(content, precision, observed)
    described = describe(
        client,
        content,
        mode="infer",
        batch_size=batch_size,
        precision=precision,
        data_spec=spec,
    )
    return write(target, content, described)


class InferenceSignatures:
    """Head and tail of a client as functions of named tensors, constant.

    Args:
        client: The phone's half.
        batch_size: Rows of every tensor.
    """

    def __init__(self, client: PhoneHalf, batch_size: int) -> None:
        assert client.tail is not None
        self._head, self._tail = client.head, client.tail
        self._size = batch_size
        self._boundary = SignatureIO(client)
        # Constants are folded, and do not stay in the file as variables.
        self._values = [(v, tf.constant(v.numpy())) for v in client.variables]

    def functions(self) -> dict[str, tuple[Callable[..., Tensors], Specs]]:
        """Each signature: its function and the specs of its inputs."""
        boundary, size = self._boundary, self._size
        return {
            "head_infer": (self.head_infer, boundary.head_specs(size)),
            "tail_infer": (self.tail_infer, boundary.tail_specs(size)),
        }

    def head_infer(self, **given: tf.Tensor) -> Tensors:
        """Smashed data of a batch, and what stays for the tail."""
        inputs = [given[f"x_{n}"] for n in self._boundary.head_inputs]
        made = self._call(self._head, inputs)
        self._boundary.check_skips(made)
        with tf.name_scope(CUT_SCOPE):
            return self._boundary.leaving(made, given, INFERENCE)

    def tail_infer(self, **given: tf.Tensor) -> Tensors:
        """The model's outputs."""
        with tf.name_scope(CUT_SCOPE):
            inputs = self._boundary.arriving(given)
        made = self._call(self._tail, inputs)
        return {f"prediction_{i}": output for i, output in enumerate(made)}

    def _call(
        self, segment: keras.Model, inputs: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        scope = keras.StatelessScope(self._values)
        watched = silent.watched(scope, [v for v, _ in self._values])
        with scope, watched:
            made = keras.tree.flatten(segment(inputs, training=False))
        silent.check_rows(segment, made, self._size)
        return list(made)
