"""Operations of a .tflite that fail where TensorFlow's do not.

XNNPACK's RSQRT of 0 is NaN, where TensorFlow has infinity and Keras counts on
it: a row of zeros has no direction. Its EXP of NaN is 0, so a broken number
would come out as a good one. And the converter writes softplus as `log(1 +
exp(x))`, which is infinite from 89 on. Each is put together from others here,
whoever asked for it: the converter makes RSQRT of `1 / sqrt(x)`, too.
"""

import copy
from collections import Counter
from typing import Any

import numpy as np

from keras_split.litert.contents import operations
from keras_split.utils import keras_private

_FAILING = {"RSQRT", "EXP"}


def repaired(content: bytes) -> bytes:
    """The same model, right at special values."""
    if not _FAILING & set(operations(content)):
        return content
    import flatbuffers

    schema = keras_private.tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for graph in model.subgraphs:
        _Graph(schema, model, graph).repair()
    builder = flatbuffers.Builder(len(content) + (1 << 16))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Graph:
    """One subgraph, whose operations are written anew."""

    def __init__(self, schema: Any, model: Any, graph: Any) -> None:
        self._schema = schema
        self._model = model
        self._graph = graph
        self._made: list[Any] = []

    def repair(self) -> None:
        """Replaces the operations that fail."""
        repairs = {
            "RSQRT": self._inverse_root,
            "EXP": self._exponential,
            "LOG": self._logarithm,
        }
        codes = self._schema.BuiltinOperator
        numbers = {getattr(codes, name): name for name in repairs}
        old = self._graph.operators
        self._makers = {int(o.outputs[0]): o for o in old if len(o.outputs)}
        self._uses = Counter(int(i) for o in old for i in o.inputs)
        self._uses.update(int(i) for i in self._graph.outputs)
        # Their exponentials are written with the logarithm, behind them.
        self._softplus = {
            int(o.outputs[0]): found
            for o in old
            if self._code(o) == codes.LOG
            and (found := self._softplus_of(o)) is not None
        }
        spent = {
            id(o) for _, *others in self._softplus.values() for o in others
        }
        for operator in old:
            if id(operator) in spent:
                continue
            name = numbers.get(self._code(operator))
            x = int(operator.inputs[0]) if len(operator.inputs) else -1
            if name is None or not self._is_float(x):
                self._made.append(operator)
            else:
                repairs[name](operator, x, int(operator.outputs[0]))
        self._graph.operators = self._made

    def _inverse_root(self, operator: Any, x: int, y: int) -> None:
        root = self._add("SQRT", [x], like=y)
        self._add("DIV", [self._one(), root], y)

    def _exponential(self, operator: Any, x: int, y: int) -> None:
        power = self._add("EXP", [x], like=y)
        number = self._add("EQUAL", [x, x], like=x)
        self._graph.tensors[number].type = self._schema.TensorType.BOOL
        self._add("SELECT_V2", [number, power, x], y)

    def _logarithm(self, operator: Any, x: int, y: int) -> None:
        if y not in self._softplus:
            self._made.append(operator)
            return
        x, *_ = self._softplus[y]
        size = self._add("ABS", [x], like=y)
        below = self._add("NEG", [size], like=y)
        power = self._new(y)
        self._exponential(operator, below, power)
        total = self._add("ADD", [power, self._one()], like=y)
        rest = self._add("LOG", [total], like=y)
        above = self._add("RELU", [x], like=y)
        self._add("ADD", [above, rest], y)

    def _softplus_of(self, logarithm: Any) -> tuple[int, Any, Any] | None:
        """What `log(1 + exp(x))` is of, and the operations before it."""
        codes = self._schema.BuiltinOperator
        total = self._only(int(logarithm.inputs[0]), codes.ADD)
        if total is None or not self._is_float(int(logarithm.inputs[0])):
            return None
        for one, power in (total.inputs, total.inputs[::-1]):
            made = self._only(int(power), codes.EXP)
            if made is not None and self._is_one(int(one)):
                return int(made.inputs[0]), total, made
        return None

    def _only(self, tensor: int, code: int) -> Any:
        """What makes a tensor that is read once; None if it is not `code`."""
        maker = self._makers.get(tensor)
        if maker is None or self._uses[tensor] != 1:
            return None
        return maker if self._code(maker) == code else None

    def _is_one(self, index: int) -> bool:
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or not self._is_float(index):
            return False
        values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<f4")
        return bool(len(values) and (values == 1).all())

    def _is_float(self, index: int) -> bool:
        if index < 0:
            return False
        kind = int(self._graph.tensors[index].type)
        return kind == int(self._schema.TensorType.FLOAT32)

    def _code(self, operator: Any) -> int:
        code = self._model.operatorCodes[operator.opcodeIndex]
        # The first 127 operations stand in a field of one byte.
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def _add(
        self,
        name: str,
        inputs: list[int],
        output: int | None = None,
        like: int = -1,
    ) -> int:
        """Appends an operation; returns its output, a new tensor if none."""
        schema = self._schema
        if output is None:
            output = self._new(like)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._opcode(
            getattr(schema.BuiltinOperator, name)
        )
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array([output], np.int32)
        options = _OPTIONS.get(name)
        if options:
            operator.builtinOptionsType = getattr(
                schema.BuiltinOptions, options
            )
            operator.builtinOptions = getattr(schema, f"{options}T")()
        self._made.append(operator)
        return output

    def _opcode(self, number: int) -> int:
        codes = self._model.operatorCodes
        for i, code in enumerate(codes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
                return i
        made = self._schema.OperatorCodeT()
        made.builtinCode = number
        made.deprecatedBuiltinCode = min(number, 127)
        made.version = 1
        codes.append(made)
        return len(codes) - 1

    def _new(self, like: int) -> int:
        tensor = copy.copy(self._graph.tensors[like])
        tensor.name = (tensor.name or b"") + b"/repaired"
        tensor.buffer = 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _one(self) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.float32(1).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        tensor = self._schema.TensorT()
        tensor.shape = np.array([], np.int32)
        tensor.type = self._schema.TensorType.FLOAT32
        tensor.buffer = len(self._model.buffers) - 1
        tensor.name = b"one"
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


_OPTIONS = {
    "ADD": "AddOptions",
    "DIV": "DivOptions",
    "EQUAL": "EqualOptions",
    "SELECT_V2": "SelectV2Options",
}
