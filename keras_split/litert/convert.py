"""Signatures to the bytes of a .tflite, with LiteRT's own operations only."""

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert import lowering
from keras_split.litert.contents import operations
from keras_split.litert.lowering.depthwise import MOST_CHANNELS
from keras_split.litert.special_values import repaired
from keras_split.training.scopes import scope_name
from keras_split.utils.quiet import quietly

Functions = dict[str, tuple[Callable[..., Any], dict[str, tf.TensorSpec]]]

_RANDOM = (
    "Random layers other than Dropout and SpatialDropout do not convert; "
    "remove them from head and tail, or cut so that the server has them."
)
_ADVICE = {
    "Random": _RANDOM,
    "TensorList": "Recurrent layers convert with unroll=True.",
    "While": "Recurrent layers convert with unroll=True.",
}
_ELSE = (
    "Convolutions, pooling, dense layers, attention, normalization and the "
    "usual activations convert: replace the layer by such, or cut so that "
    "the server has it."
)


def convert(
    module: tf.Module, functions: Functions, layers: Mapping[str, str]
) -> bytes:
    """Converts functions to signatures of one model.

    Args:
        module: Owns the variables that they share.
        functions: For each signature its function and its inputs.
        layers: Class names of the layers behind them by name, for messages.

    Raises:
        ExportError: If LiteRT has no operation for something in them; the
            message names the layers.
    """
    traced = {
        name: _trace(name, function, specs)
        for name, (function, specs) in functions.items()
    }
    _check_captures(module, traced)
    _check_depthwise(traced, layers)
    _check_unpacked(traced, layers)
    with tempfile.TemporaryDirectory() as folder, _silent():
        tf.saved_model.save(
            module,
            folder,
            signatures=traced,
            options=tf.saved_model.SaveOptions(
                experimental_custom_gradients=False
            ),
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(traced)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        try:
            content: bytes = converter.convert()
        except Exception as error:  # the converter's own class is private
            # Not `from error`, which is pages of MLIR.
            raise _refusal(str(error), traced, layers) from None
    custom = [name for name in operations(content) if "CUSTOM" in name]
    if custom:
        raise ExportError(
            f"Expected LiteRT's own operations. Received: {custom}. {_ELSE}"
        )
    return repaired(content)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps back what the converter tells of itself.

    That are warnings about gradients that nobody will ask for, and what its
    C++ writes: where it is, and pages of MLIR when it gives up.
    """

    def matters(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    log = logging.getLogger("absl")
    log.addFilter(matters)
    try:
        with quietly():
            yield
    finally:
        log.removeFilter(matters)


def _check_captures(module: tf.Module, traced: Mapping[str, Any]) -> None:
    """Refuses variables that belong to nobody here, such as seeds."""
    known = {id(variable.handle) for variable in module.variables}
    for function in traced.values():
        for tensor in function.captured_inputs:
            if tensor.dtype == tf.resource and id(tensor) not in known:
                found = re.search(r'name="([^"]*?)/?\d*"', repr(tensor))
                raise ExportError(
                    "Expected layers that use their weights alone. Received: "
                    f"one that uses {found.group(1) if found else 'a state'!r}"
                    f". {_RANDOM}"
                )


def _check_depthwise(
    traced: Mapping[str, Any], layers: Mapping[str, str]
) -> None:
    """Refuses a convolution that would never come back on a phone."""
    for function in traced.values():
        for op in function.graph.get_operations():
            if op.type != "DepthwiseConv2dNative":
                continue
            channels = op.outputs[0].shape[3]
            kernel = tf.get_static_value(op.inputs[1])
            if channels > MOST_CHANNELS and kernel is None:
                raise ExportError(
                    "Expected depthwise convolutions of at most "
                    f"{MOST_CHANNELS:,} channels, the most that LiteRT can "
                    f"train. Received: {channels:,} in "
                    f"{_layer(op.name, layers)}. Freeze that layer "
                    "(trainable = False), or cut so that the server has it."
                )


def _check_unpacked(
    traced: Mapping[str, Any], layers: Mapping[str, str]
) -> None:
    """Refuses what the converter would make a reshape of, and is none.

    TensorFlow 2.21: it takes all that is unpacked and concatenated for one,
    whatever the axes are, and says nothing.
    """
    for function in traced.values():
        for op in function.graph.get_operations():
            if op.type != "ConcatV2":
                continue
            *parts, axis = op.inputs
            source = parts[0].op
            if source.type != "Unpack":
                continue
            if [t.name for t in parts] != [t.name for t in source.outputs]:
                continue
            unpacked = source.get_attr("axis") % len(source.inputs[0].shape)
            along = tf.get_static_value(axis)
            if along is None or along % len(parts[0].shape) != unpacked:
                raise ExportError(
                    "Expected what is unstacked to be concatenated along the "
                    "same axis, for LiteRT's converter computes anything else "
                    f"wrongly. Received: axes {unpacked} and {along} in "
                    f"{_layer(op.name, layers)}. Split it instead, or "
                    "transpose and reshape it; or cut so that the server has "
                    "that layer."
                )


def _trace(
    name: str, function: Callable[..., Any], specs: dict[str, tf.TensorSpec]
) -> Any:
    def call(**given: tf.Tensor) -> Any:
        with lowering.builtin_gradients():
            return function(**given)

    call.__name__ = name
    named = {
        key: tf.TensorSpec(spec.shape, spec.dtype, name=key)
        for key, spec in specs.items()
    }
    return tf.function(call, autograph=False).get_concrete_function(**named)


def _refusal(
    report: str, traced: Mapping[str, Any], layers: Mapping[str, str]
) -> ExportError:
    """Names the layers behind what the converter could not convert."""
    graphs = [function.graph for function in traced.values()]
    found = [(o.type, o.name) for g in graphs for o in g.get_operations()]
    kinds = {kind for kind, _ in found}
    missing = kinds & set(
        re.findall(r"Flex(\w+)", report)
        + re.findall(r"\btf\.(\w+)' op is neither", report)
        + re.findall(r"\btf\.(\w+)\(", report)
    )
    if not missing:  # loops fail without a word about their kind
        missing = kinds & {"While", "StatelessWhile", "TensorListReserve"}
    if not missing:
        # In a function of its own, as Keras' grouped Conv1D; the report names
        # where that is called.
        missing = set(re.findall(r"\btf\.(\w+)' op is neither", report))
        sites = re.findall(r'"([^"@]+)@', report)
        sites = [s for s in sites if _layer(s, layers) != repr(s)]
        found = [(kind, site) for kind in missing for site in sites]
    if not found:
        lines = report.strip().splitlines() or ["nothing"]
        return ExportError(
            "Expected a half that LiteRT's converter takes. Received: "
            f"{lines[-1][:200]}. {_ELSE}"
        )
    places = {
        kind: sorted({_layer(n, layers) for k, n in found if k == kind})
        for kind in sorted(missing)
    }
    listed = "; ".join(f"{k} of {', '.join(v)}" for k, v in places.items())
    advice = [_ADVICE[a] for a in _ADVICE if any(a in m for m in missing)]
    return ExportError(
        "Expected operations that LiteRT has built in. Received: "
        f"{listed}. {advice[0] if advice else _ELSE}"
    )


def _layer(name: str, layers: Mapping[str, str]) -> str:
    """The layer in an operation's name, such as `head_1/conv1_1/Conv2D`."""
    owners = {scope_name(layer): layer for layer in layers}
    owners |= {layer: layer for layer in layers}
    for scope in reversed(name.split("/")[:-1]):
        # TensorFlow makes scopes unique with a number, gradients get a word.
        for known in (scope, re.sub(r"(_\d+)?(_grad)?$", "", scope)):
            if known in owners:
                layer = owners[known]
                return f"{layer!r} ({layers[layer]})"
    return repr(name)
