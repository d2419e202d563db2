"""What a step checks of the inputs that it is given, in the middle of a graph.

A batch may come from a pipeline that does not know what is in it. What would
cross a cut must have the shape that both sides expect, and numbers that its
packing holds.
"""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_split.compression.shared import SharedSpec
from keras_split.compression.shared_codec import SharedCodec
from keras_split.compression.shared_codec import within
from keras_split.errors import DataError
from keras_split.protocol import validation
from keras_split.training.graph_checks import check
from keras_split.training.graph_checks import failed

_SHAPE = "input shape"
_SHARED = "shared input"
_LENGTH = "sequence length"
# How the phone's checks of inputs begin: `explained` tells what they found.
OF_INPUTS = (_SHAPE, _SHARED, _LENGTH)
_LOOKED_UP = "looked up"


def of_known_shape(inputs: Sequence[Any], expected: Sequence[Any]) -> list[Any]:
    """The same inputs, those of unknown length checked as the graph runs.

    Keras checks what is known before.

    Args:
        inputs: As they were given.
        expected: Inputs of the model that reads them.
    """
    made = []
    for number, (x, spec) in enumerate(zip(inputs, expected, strict=True)):
        if _has_unknown_axes(x, spec):
            axes = [
                tf.shape(x)[i] if n is None else n
                for i, n in enumerate(spec.shape)
            ][1:]
            holds = tf.reduce_all(tf.shape(x)[1:] == tf.stack(axes))
            told = tf.constant(float(number))
            with tf.control_dependencies([check(holds, _SHAPE, told)]):
                x = tf.ensure_shape(tf.identity(x), (None, *spec.shape[1:]))
        made.append(x)
    return made


def padded(x: Any, axes: Sequence[int], length: int) -> Any:
    """A batch with zeros behind its sequences, up to a length.

    Args:
        x: Shape `(batch, ...)`; may be None.
        axes: Which of them are of the sequences.
        length: What they are to have. Longer ones end the graph instead.
    """
    if x is None or not axes:
        return x
    x = tf.convert_to_tensor(x)
    behind = [0] * len(x.shape)
    shape = list(x.shape)
    checks = []
    for axis in axes:
        if x.shape[axis] != length:
            size = tf.shape(x)[axis]
            checks.append(
                check(size <= length, _LENGTH, tf.cast(size, tf.float32))
            )
            behind[axis] = tf.maximum(length - size, 0)
            shape[axis] = length
    if not checks:
        return x
    with tf.control_dependencies(checks):
        made = tf.pad(x, [[0, n] for n in behind])
    return tf.ensure_shape(made, shape)


def too_long(received: int, lengths: Sequence[int] = ()) -> DataError:
    """The error of a batch with sequences that no length holds."""
    most = f" of at most {lengths[-1]}" if lengths else ""
    return DataError(
        f"Expected sequences{most}, the longest of the lengths that the model "
        f"was cut for. Received: a batch with sequences of {received}. Cut "
        "longer ones off, or compile with a longer length."
    )


def pack(codec: SharedCodec, inputs: Sequence[Any]) -> list[tf.Tensor]:
    """Parts of shared inputs; numbers that do not fit end the step instead.

    Args:
        codec: Packs them.
        inputs: As they were given.

    Raises:
        DataError: If one does not fit; inside a graph `explained` round it
            raises that.
    """
    tensors = codec.cast(inputs)
    checks = []
    for number, (fits, value) in enumerate(codec.fit(tensors)):
        if not tf.executing_eagerly():
            checks.append(check(fits, f"{_SHARED} {number}", value))
        elif not fits:
            raise codec.specs[number].refusal(int(value))
    with tf.control_dependencies(checks):
        return codec.pack([tf.identity(tensor) for tensor in tensors])


@contextlib.contextmanager
def explained(
    inputs: Sequence[Any], shared: Sequence[SharedSpec]
) -> Iterator[None]:
    """Raises what the checks of inputs found in a graph, in our words.

    Args:
        inputs: Of the head.
        shared: Those that go to the server.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        what, number = failed(error)
        if what == _LENGTH:
            raise too_long(int(number)) from error
        if what == _SHAPE:
            raise _has_another_shape(inputs[int(number)]) from error
        if what.startswith(_SHARED):
            spec = shared[_number(what)]
            raise spec.refusal(int(number)) from error
        raise


def looked_up(
    codec: SharedCodec,
    rows: Sequence[int | None],
    parts: Sequence[tf.Tensor],
) -> list[tf.Tensor]:
    """The same parts; ids that a body has no row for end the graph instead.

    TensorFlow would say so in words of its own, and on an accelerator take
    zeros for them.

    Args:
        codec: Packs the ids.
        rows: What `lookups.rows` said of them.
        parts: Of the smashed data, and theirs.
    """
    checks = []
    if any(rows):
        for number, ids in enumerate(codec.unpack(parts)):
            if count := rows[number]:
                fits, value = within(ids, -count, count - 1)
                checks.append(check(fits, f"{_LOOKED_UP} {number}", value))
    with tf.control_dependencies(checks):
        return [tf.identity(p) for p in parts] if checks else list(parts)


def check_looked_up(
    what: str,
    value: float,
    shared: Sequence[SharedSpec],
    rows: Sequence[int | None],
) -> None:
    """Raises what the check of `looked_up` found, if it is that.

    Args:
        what: From `failed`.
        value: The same.
        shared: The inputs that go to the server.
        rows: As in `looked_up`.

    Raises:
        ProtocolError: With reason `"shape"`.
    """
    if what.startswith(_LOOKED_UP):
        number = _number(what)
        validation.check_id(shared[number].name, int(value), rows[number] or 0)


def _number(what: str) -> int:
    return int(what.rpartition(" ")[2])


def _has_unknown_axes(x: Any, spec: Any) -> bool:
    if not isinstance(x, tf.Tensor) or x.shape.rank != len(spec.shape):
        return False
    pairs = zip(x.shape[1:], spec.shape[1:], strict=True)
    return any(ours is None and known is not None for ours, known in pairs)


def _has_another_shape(spec: Any) -> DataError:
    return DataError(
        f"Expected examples of shape {tuple(spec.shape[1:])} in the input "
        f"{spec.name!r}, as the model was cut for. Received: a batch of "
        "others. Pad and cut sequences to that length before fit, or cut "
        "the model for another: keras_split.fix_length(model, length)."
    )
