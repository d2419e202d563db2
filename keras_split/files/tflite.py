"""What is in a .tflite: signatures and operations, read and never run."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from keras_split.files.description import beside
from keras_split.files.facts import Facts


def of_tflite(path: Path) -> Facts:
    """Facts of a .tflite, and of the .json that belongs to it.

    Raises:
        ValueError: If it is none, or broken.
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError("it does not begin as a .tflite does")
    return {
        "kind": "a LiteRT model",
        **beside(path, "tflite_sha256"),
        **_parsed(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _parsed(content: bytes) -> Facts:
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        return {"signatures": "not read: ai-edge-litert is not installed"}
    try:
        model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
        names = {
            number: name
            for name, number in vars(schema.BuiltinOperator).items()
            if not name.startswith("_")
        }
        types = {
            number: name.lower()
            for name, number in vars(schema.TensorType).items()
            if not name.startswith("_")
        }
        codes = [
            names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            for code in model.operatorCodes or []
        ]
        found = Counter(
            codes[operator.opcodeIndex]
            for graph in model.subgraphs
            for operator in graph.operators or []
        )

        def ends(graph: Any, maps: Any) -> list[Facts]:
            tensors = [graph.tensors[m.tensorIndex] for m in maps]
            return [
                {
                    "name": m.name.decode(),
                    "shape": [
                        int(n) for n in (() if t.shape is None else t.shape)
                    ],
                    "dtype": types[t.type],
                }
                for m, t in zip(maps, tensors, strict=True)
            ]

        signatures = {
            one.signatureKey.decode(): {
                "inputs": ends(model.subgraphs[one.subgraphIndex], one.inputs),
                "outputs": ends(
                    model.subgraphs[one.subgraphIndex], one.outputs
                ),
            }
            for one in model.signatureDefs or []
        }
    except Exception as error:
        # A broken file shows in any way that numbers from it are used.
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return {
        "signatures": signatures,
        "operations": dict(sorted(found.items())),
    }
