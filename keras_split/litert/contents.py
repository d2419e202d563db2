"""What is inside a .tflite: its operations and its signatures."""

from collections import Counter
from typing import Any

import numpy as np

from keras_split.utils import keras_private


def operations(content: bytes) -> Counter[str]:
    """How often each operation occurs in a .tflite.

    A custom operation is called `"CUSTOM:name"`.
    """
    schema = keras_private.tflite_schema()
    model = schema.Model.GetRootAsModel(content, 0)
    names = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if not name.startswith("_")
    }
    codes = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            name = f"CUSTOM:{code.CustomCode().decode()}"
        codes.append(name)
    found: Counter[str] = Counter()
    for i in range(model.SubgraphsLength()):
        graph = model.Subgraphs(i)
        for j in range(graph.OperatorsLength()):
            found[codes[graph.Operators(j).OpcodeIndex()]] += 1
    return found


def signatures(content: bytes) -> dict[str, Any]:
    """Inputs and outputs of each signature: names, shapes and dtypes."""
    schema = keras_private.tflite_schema()
    model = schema.Model.GetRootAsModel(content, 0)
    found: dict[str, Any] = {}
    for i in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(i)
        graph = model.Subgraphs(signature.SubgraphIndex())
        inputs = [signature.Inputs(j) for j in range(signature.InputsLength())]
        outputs = [
            signature.Outputs(j) for j in range(signature.OutputsLength())
        ]
        found[signature.SignatureKey().decode()] = {
            "inputs": [_tensor(graph, entry) for entry in inputs],
            "outputs": [_tensor(graph, entry) for entry in outputs],
        }
    return found


def _tensor(graph: Any, entry: Any) -> dict[str, Any]:
    schema = keras_private.tflite_schema()
    tensor = graph.Tensors(entry.TensorIndex())
    types = {
        number: name.lower()
        for name, number in vars(schema.TensorType).items()
        if not name.startswith("_")
    }
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else []
    return {
        "name": entry.Name().decode(),
        "shape": [int(n) for n in np.asarray(shape, int)],
        "dtype": types[tensor.Type()],
    }
