"""What crosses to a body and from it, and the body in inference mode."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import keras
import tensorflow as tf

from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract
from keras_split.training.step_graph import CutCodecs

if TYPE_CHECKING:
    from keras_split.training.server_step import ServerHalf


def cut_codecs(body: keras.Model, contract: Contract) -> CutCodecs:
    """The four kinds of cut-layer tensors of a body.

    Args:
        body: The body as a functional model.
        contract: Says what crosses; of one length of sequences.
    """
    rules = contract.quantization
    arrives = [t.dtype for t in body.inputs[: len(contract.smashed)]]
    leaves = [t.dtype for t in body.outputs]
    return CutCodecs(
        CutCodec(contract.smashed, rules.activations, arrives, contract.shared),
        CutCodec(contract.features, rules.activations, leaves),
        CutCodec(contract.features, rules.gradients, leaves),
        CutCodec(contract.smashed, rules.gradients, arrives),
    )


def codecs_of(half: "ServerHalf", smashed: Sequence[CutTensor]) -> CutCodecs:
    """What crosses in a step of a body with such smashed data."""
    length = half.contract.length_of(smashed)
    return half.of_length[length] if length else half.cut_codecs


def infer_function(body: keras.Model, codecs: CutCodecs) -> Any:
    """The compiled body in inference mode; takes parts of smashed data."""
    return tf.function(
        lambda *parts: infer(body, codecs, parts),
        input_signature=codecs.smashed.part_specs,
        autograph=False,
    )


def infer(
    body: keras.Model, cut_codecs: CutCodecs, parts: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Penalty, and parts of the features, in inference mode.

    Args:
        body: The body.
        cut_codecs: What crosses.
        parts: Of the smashed data.
    """
    given = cut_codecs.smashed.dequantize(parts)
    given += cut_codecs.smashed.shared.unpack(parts)
    features = keras.tree.flatten(body(given, training=False))
    losses = [tf.cast(x, tf.float32) for x in body.losses]
    return [tf.add_n(losses or [0.0]), *cut_codecs.features.quantize(features)]
