"""One call that splits a Keras model."""

import logging
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.compression import codecs
from keras_split.compression import presets
from keras_split.compression.codecs import Codec
from keras_split.compression.rules import Quantization
from keras_split.compression.shared import Share
from keras_split.defenses.chain import Chain
from keras_split.errors import OptionError
from keras_split.models import ClientModel
from keras_split.models import ServerModel
from keras_split.models.io_map import Wiring
from keras_split.partition.bottleneck import add_bottlenecks
from keras_split.partition.buckets import checked_lengths
from keras_split.partition.buckets import output_axes
from keras_split.partition.buckets import sequence_axes
from keras_split.partition.length import opened
from keras_split.partition.own_code import is_of_hub
from keras_split.partition.padding import check_padding
from keras_split.partition.partition import Partition
from keras_split.planner.plan import Plan
from keras_split.planner.plan import plan as make_plan
from keras_split.protocol.data_spec import DataSpec
from keras_split.training.optimizer_check import check_optimizer
from keras_split.training.optimizer_copy import optimizer_copy
from keras_split.utils import keras_private

_LOG = logging.getLogger("keras_split")


def compile(
    model: keras.Model,
    cut: Any,
    *,
    quantization: str | Quantization = "int8",
    codec: str | Codec | None = None,
    bottleneck: int | None = None,
    fused_batchnorm: bool | None = None,
    defenses: Sequence[Any] | Chain = (),
    data_spec: DataSpec | dict[str, Any] | None = None,
    plan: Plan | None = None,
    share: Share = (),
    lengths: Sequence[int] | None = None,
) -> tuple[ClientModel, ServerModel]:
    """Cuts a model and returns the phone's and the server's half.

    With two cuts the model becomes U-shaped: the phone keeps the first and
    the last layers, the inputs and the labels. With one cut the server runs
    everything behind it, and the labels travel to the server.

    Both halves share their layers with `model`, so training them in this
    process trains `model`. If `model` is compiled, the client takes over its
    optimizer (a fresh copy), its loss and its metrics (the same objects).

    Weights stay as they are. Who builds the same model with the same seed
    knows those of the phone's half, and a server that knows its initial head
    reads far more out of what is sent: where both build the model from a
    seed, call `client.reinitialize()` on the phone before the first step.

    Args:
        model: A functional or Sequential Keras model, built.
        cut: One or two cuts: layers, names, paths of layers in nested models,
            or lists of those; see `keras_split.Partition`. `"auto"` for the
            best of a plan; the log of `keras_split` says which, and why.
        quantization: How cut-layer tensors lose precision: a name such as
            `"int8"`, a preset (`"balanced"`, `"small"`, `"tiny"`) or a
            `Quantization`.
        codec: How their bytes are packed without loss: `"raw"`, `"zstd"`, the
            name of another registered codec, or a `Codec`, which is
            registered by its name if nothing is. By default `"zstd"` with a
            preset and `"raw"` otherwise.
        bottleneck: How many times fewer channels cross than the cut layers
            have: layers that are added at the cuts and train with the model,
            see `keras_split.add_bottlenecks`. By default 4 with `"small"`,
            16 with `"tiny"`, and none otherwise.
        fused_batchnorm: Whether batch normalization trains as one operation
            of TensorFlow instead of the dozen of Keras 3: a quarter less
            time for MobileNetV2, and other last bits. By default where
            quantization changes numbers anyway; with `"float32"` a split
            model trains to the weights of the unsplit one.
        defenses: What the phone does to tensors before it quantizes and sends
            them, in this order: objects such as
            `keras_split.defenses.GaussianNoise(0.1)`, or their names. A
            `keras_split.defenses.Chain` of them brings its own seed.
        data_spec: The names of the classes and how images are scaled, which
            lie in the client's files from then on. The server gets a hash of
            each, and refuses a client that says otherwise.
        plan: With `cut="auto"`: what `keras_split.plan` made of this model.
            By default one without profiles, which knows bytes alone.
        share: Names of inputs of the model that go to the server as they
            are, because a layer there reads them: `["padding_mask"]`. Or how
            each is packed, by name: `{"segment_ids": "bits"}`; without loss,
            and checked. No defense is applied to them. Without it inputs
            stay on the phone, and a cut that needs one is refused.
        lengths: Of sequences, for a model whose inputs have axes of None: a
            batch is padded with zeros, on the phone, to the shortest of these
            that holds it, and what crosses has that length. Nested models,
            and tasks of keras_hub, are opened up as by
            `keras_split.fix_length`; what a task was compiled with is not
            taken over.

    Returns:
        `(client, server)`: two Keras models. `client.fit` trains both, with
        the server in this process or, given a `SplitStrategy`, anywhere.

    Raises:
        CutError: If the model cannot be cut there, or padding would change
            what it computes.
        QuantizationError: If there is no such quantization.
        CodecError: If there is no such codec.
        DefenseError: If there is no such defense.
        DataError: If the data spec does not fit the model.
        OptionError: If the model is compiled with an optimizer that has
            several learning rates, or averages weights; or if there is a plan
            without `cut="auto"`; or if an input cannot be shared as `share`
            says, or is to be with `cut="auto"`; or if `lengths` are none, or
            the model has no sequences of any length.
    """
    sizes = () if lengths is None else checked_lengths(lengths)
    given = model
    if sizes:
        model = _of_lengths(model, cut, sizes)
    if isinstance(cut, str) and cut == "auto" and share:
        raise OptionError(
            "Expected cut layers beside share, for a plan looks for cuts that "
            f"need no input. Received: cut='auto', share={share!r}. Name the "
            "layers, or leave share out."
        )
    if isinstance(cut, str) and cut == "auto":
        cut = _planned(model, plan, quantization)
    elif plan is not None:
        raise OptionError(
            f"Expected cut='auto' beside a plan. Received: cut={cut!r}. Leave "
            "the plan out, or have it choose."
        )
    chain = Chain.get(defenses)
    coding = presets.get(quantization, codec, bottleneck)
    packer = codecs.adopt(coding.codec)
    narrow = model
    if coding.bottleneck > 1:
        narrow, cut = add_bottlenecks(
            model, cut, coding.bottleneck, share, sizes
        )
    partition = Partition(narrow, cut, share, sizes)
    if fused_batchnorm is None:
        fused_batchnorm = not coding.quantization.is_identity
    contract = partition.contract(
        coding.quantization, packer, fused_batchnorm=fused_batchnorm
    )
    head, tail = partition.head, partition.tail
    raw = partition.raw_inputs
    wiring = Wiring(
        inputs=[tensor.name for tensor in raw],
        head_inputs=[raw.index(t) for t in head.inputs],
        tail_inputs=[raw.index(t) for t in partition.raw_skips],
        skips=[head.outputs.index(t) for t in partition.skips],
        outputs=partition.output_structure,
        output_names=partition.output_names,
        structure=partition.input_structure,
        unread={
            tensor.name: keras_private.made_by(tensor.spec).get_config()
            for tensor in raw
            if tensor not in head.inputs + partition.raw_skips
        },
        shared=[head.inputs.index(t) for t in partition.shared],
        sequences=sequence_axes(raw) if sizes else [],
        sequence_outputs=output_axes(partition, sizes) if sizes else [],
    )
    client = ClientModel(
        head.model,
        tail.model if tail else None,
        contract,
        wiring,
        defenses=chain,
        data_spec=data_spec,
        dtype=model.dtype_policy,  # by which Keras scales the loss
    )
    server = ServerModel(
        partition.body.model, contract, data_digest=client.data_spec.digest
    )
    client._server_link.server = server
    if given.compiled and not (sizes and is_of_hub(given)):
        hand_on(given, client)
    return client, server


def _of_lengths(
    model: keras.Model, cut: Any, lengths: tuple[int, ...]
) -> keras.Model:
    """The layers of a model whose sequences may have several lengths."""
    if isinstance(cut, str) and cut == "auto":
        raise OptionError(
            "Expected cut layers beside lengths, for a plan is made for one. "
            "Received: cut='auto'. Name the layers: those of a plan for "
            "keras_split.fix_length(model, length), for example."
        )
    model = opened(model)
    if not any(None in tensor.shape[1:] for tensor in model.inputs):
        raise OptionError(
            "Expected a model with inputs of unknown length, an axis of None, "
            f"for lengths={list(lengths)}. Received: inputs of shape "
            f"{', '.join(str(t.shape[1:]) for t in model.inputs)}. Leave "
            "lengths out, or build the model with keras.Input((None,))."
        )
    check_padding(model, *lengths[:2])
    return model


def _planned(
    model: keras.Model, plan: Plan | None, quantization: str | Quantization
) -> list[Any]:
    """The cut that a plan recommends, and a line in the log why."""
    if plan is None:
        plan = make_plan(model, quantization=quantization)
    if not isinstance(plan, Plan):
        raise OptionError(
            "Expected a plan of keras_split.plan. Received: "
            f"{type(plan).__name__}. Call keras_split.plan(model, ...)."
        )
    _LOG.info("cut=%r. %s", plan.cut, plan.reason)
    return plan.cut


def hand_on(model: keras.Model, client: ClientModel) -> None:
    """Compiles the client as the model was.

    Loss and metrics are the same objects, for not all have a config that
    tells all of them; an optimizer knows one set of variables alone.
    """
    given = keras_private.compile_config(model)
    given.pop("jit_compile", None)
    if model.optimizer is not None:
        check_optimizer(model.optimizer)
        given["optimizer"] = optimizer_copy(model.optimizer)
    for metric in keras.tree.flatten(
        [given.get("metrics"), given.get("weighted_metrics")]
    ):
        # Keras does so for those that it has seen, which is after a batch.
        if isinstance(metric, keras.Metric):
            metric.reset_state()
    client.compile(**given)
