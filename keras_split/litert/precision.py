"""Float files made small: float16 and int8 weights, int8 arithmetic.

This is ai-edge-quantizer and not TensorFlow's converter, because the
converter quantizes whole files, the cut layer's own quantization included,
whose codes must stay those of `compression.quantize` bit for bit: its float16
changes scales and, with stochastic rounding, a fifth of the codes, and
LiteRT 2.3 cannot prepare what its int8 makes of them. The quantizer's recipes
leave operations out, at no cost: for the six presets' heads at 96x96 with
float32 on the wire and 64 images of Fashion-MNIST for calibration, both give
int8 files of the same operations, the same error to four digits (0.0100 to
0.0431 of the outputs' spread) and the same size to 0.4 kB (7.8 to 44.8 kB).
"""

import contextlib
import io
import warnings
from collections import Counter
from typing import Any

import numpy as np

from keras_split.errors import BackendError
from keras_split.errors import ExportError
from keras_split.litert.calibration import Observed
from keras_split.utils import keras_private
from keras_split.utils.extras import install

PRECISIONS = ("float32", "float16", "dynamic", "int8")
# Operations under this name scope compute the cut layer's codes.
CUT_SCOPE = "keras_split_cut"
_CUT = f"(^|[/;]){CUT_SCOPE}/"


def check_precision(precision: str, calibration: Any) -> None:
    """Refuses a precision that there is not, or that lacks examples.

    Raises:
        ExportError: If so.
    """
    if precision not in PRECISIONS:
        raise ExportError(
            f"Expected a precision: {', '.join(PRECISIONS)}. Received: "
            f"{precision!r}. Take 'int8' for the smallest file."
        )
    if precision == "int8" and calibration is None:
        raise ExportError(
            "Expected calibration examples, because int8 needs the range of "
            "each tensor. Received: calibration=None. Pass about 100 inputs "
            "(calibration=x[:100]), or take precision='dynamic'."
        )


def reduce_precision(
    content: bytes, precision: str, observed: Observed | None = None
) -> bytes:
    """A .tflite with the same signatures and smaller weights.

    Inputs and outputs keep their dtypes, and so do all operations that stand
    under `CUT_SCOPE` or between it and the file's packed inputs and outputs.

    Args:
        content: A float32 .tflite.
        precision: `"float16"` keeps weights as float16; `"dynamic"` keeps
            them as int8 and rounds activations as they come; `"int8"` also
            has int8 activations, with ranges from `observed`. `"float32"`
            changes nothing.
        observed: Examples of each signature's inputs, for `"int8"`.

    Raises:
        BackendError: If ai-edge-quantizer is missing.
    """
    if precision == "float32":
        return content
    marked = _mark_cut(content)
    with warnings.catch_warnings():
        # It warns of keeping all tensors, which is how it sees their ranges.
        warnings.filterwarnings("ignore", ".*preserve_all_tensors")
        small = _quantize(marked, precision, observed)
    if _cut_operations(marked) - _cut_operations(small):
        raise ExportError(
            "Expected the cut layer's own quantization to stay as it is at "
            f"precision={precision!r}. Received: a file where it was changed "
            "as well. Export with precision='float32', and report this model."
        )
    return small


def _quantize(
    content: bytes, precision: str, observed: Observed | None
) -> bytes:
    """Applies ai-edge-quantizer's recipe, but for the cut."""
    try:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer import quantizer
    except ImportError as error:
        raise BackendError(
            f"Expected ai-edge-quantizer, for precision={precision!r}. "
            f"Received: {error}. Run: {install('int8')}"
        ) from error
    kinds, algorithms = qtyping.TFLOperationName, quantizer.AlgorithmName
    whole = (".*", kinds.ALL_SUPPORTED)
    # Later rules win.
    floats = [(_CUT, kinds.ALL_SUPPORTED)]
    ranges = None
    maker = quantizer.Quantizer(bytearray(content))
    if precision == "float16":
        maker.add_weight_only_config(
            *whole, num_bits=16, algorithm_key=algorithms.FLOAT_CASTING
        )
    elif precision == "dynamic":
        maker.add_dynamic_config(*whole, num_bits=8)
    else:
        maker.add_static_config(
            *whole, activation_num_bits=8, weight_num_bits=8
        )
        floats += [(".*", kinds.INPUT), (".*", kinds.OUTPUT)]
        ranges = _ranges(content, observed or {})
    for scope, kind in floats:
        maker.update_quantization_recipe(
            scope, kind, algorithm_key=algorithms.NO_QUANTIZE
        )
    made = maker.quantize(
        ranges, enable_progress_bar=False, enable_progress_report=False
    )
    return bytes(made.quantized_model)


def _read(content: bytes) -> Any:
    """A .tflite as LiteRT's own classes."""
    schema = keras_private.tflite_schema()
    return schema.ModelT.InitFromPackedBuf(bytearray(content), 0)


def _ranges(content: bytes, observed: Observed) -> dict[str, Any]:
    """The smallest and largest value of each tensor.

    ai-edge-quantizer's default is a slow moving average, which forgets the
    extremes of a short calibration; the converter takes the extremes too.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    interpreter = calibrator.CalibrationInterpreter(
        content,
        calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
        qsv_utils.min_max_update,
    )
    for signature, batches in observed.items():
        run = interpreter.get_signature_runner(signature)
        for batch in batches:
            # Its progress bar would be drawn anew for each batch, and float16
            # codes, which it looks at too, do not reach its bounds.
            silent = contextlib.redirect_stderr(io.StringIO())
            with silent, np.errstate(over="ignore"):
                run(**batch)
    found: dict[str, Any] = interpreter.get_calibration_results()
    return found


def _mark_cut(content: bytes) -> bytes:
    """Gives every tensor a name of its own, and those of the cut its scope.

    The converter names a signature's outputs anew, and two signatures may
    share names, by which ranges are kept. In a head the cut is all that
    computes from a marked operation, in a tail all that one computes from.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(content)
    for definition in model.signatureDefs:
        signature = definition.signatureKey.decode()
        graph = model.subgraphs[definition.subgraphIndex]
        names = [_name(tensor) for tensor in graph.tensors]
        marked = {
            i
            for operator in graph.operators
            if any(CUT_SCOPE in names[i] for i in operator.outputs)
            for i in operator.outputs
        }
        head = signature.startswith("head")
        for operator in graph.operators if head else graph.operators[::-1]:
            reads = set(operator.inputs) - {-1}
            if head and reads & marked:
                marked |= set(operator.outputs)
            elif not head and set(operator.outputs) & marked:
                made = {i for o in graph.operators for i in o.outputs}
                marked |= reads & made
        for i, tensor in enumerate(graph.tensors):
            scope = f"/{CUT_SCOPE}" if i in marked else ""
            plain = names[i].replace(f"{CUT_SCOPE}/", "")
            tensor.name = f"{signature}{scope}/{i}/{plain}".encode()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _cut_operations(content: bytes) -> Counter[Any]:
    """Operation, outputs' names and dtypes of all that the cut computes."""
    model = _read(content)
    return Counter(
        (
            _operation(model, operator),
            *(
                (_name(t), t.type)
                for t in (graph.tensors[i] for i in operator.outputs)
            ),
        )
        for graph in model.subgraphs
        for operator in graph.operators
        if any(CUT_SCOPE in _name(graph.tensors[i]) for i in operator.outputs)
    )


def _name(tensor: Any) -> str:
    return (tensor.name or b"").decode()


def _operation(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    # The first 127 operations stand in a field of one byte.
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))
