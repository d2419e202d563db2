"""What crosses a cut for sequences of several lengths."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_split.compression.tensors import TensorSpec
from keras_split.errors import CutError
from keras_split.errors import OptionError
from keras_split.partition.graph import Tensor
from keras_split.protocol.contract import Bucket

if TYPE_CHECKING:
    from keras_split.partition.partition import Partition
    from keras_split.partition.partition import Segment

_Shapes = dict[Tensor, tuple[int, ...]]


def checked_lengths(lengths: Iterable[int]) -> tuple[int, ...]:
    """Lengths of sequences, ascending.

    Raises:
        OptionError: If they are not two whole numbers or more.
    """
    try:
        made = tuple(sorted(set(lengths)))
        valid = len(made) > 1 and all(
            isinstance(n, int) and not isinstance(n, bool) and n > 0
            for n in made
        )
    except TypeError:
        valid = False
    if not valid:
        raise OptionError(
            "Expected lengths as two whole numbers or more, such as "
            f"lengths=[32, 64, 128]. Received: lengths={lengths!r}. For one, "
            "cut keras_split.fix_length(model, length)."
        )
    return made


def made_buckets(
    partition: "Partition", lengths: Sequence[int]
) -> tuple[Bucket, ...]:
    """What crosses for each length, the shortest first.

    Raises:
        CutError: If something has no shape at one of them.
    """
    made = []
    for length in lengths:
        shapes = _shapes(partition, length)
        shared = zip(partition.shared, partition.shared_specs, strict=True)
        made.append(
            Bucket(
                length,
                _specs(partition.smashed, shapes),
                _specs(partition.features, shapes),
                tuple(replace(spec, shape=shapes[t]) for t, spec in shared),
            )
        )
    for one, other in zip(made, made[1:], strict=False):
        if (one.smashed, one.shared) == (other.smashed, other.shared):
            raise CutError(
                "Expected smashed data that have the length of the "
                f"sequences, for lengths={list(lengths)}. Received: "
                f"{', '.join(f'{s.name!r} {s.shape}' for s in one.smashed)} "
                "at any length. Cut before sequences become one row, or give "
                "the model one length: keras_split.fix_length(model, length)."
            )
    return tuple(made)


def sequence_axes(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Which axes of inputs are of sequences, the batch counted as 0."""
    return [
        [1 + axis for axis, size in enumerate(tensor.shape) if size is None]
        for tensor in tensors
    ]


def output_axes(
    partition: "Partition", lengths: Sequence[int]
) -> list[list[int]]:
    """Which axes of the model's outputs are of sequences.

    Raises:
        CutError: If one has another length than the sequences, or the loss
            of sequences is computed on the server.
    """
    outputs = partition.graph.outputs
    each = [_shapes(partition, length) for length in lengths]
    found = []
    for tensor in outputs:
        axes = []
        for axis in range(len(tensor.shape)):
            sizes = tuple(shapes[tensor][axis] for shapes in each)
            if sizes == tuple(lengths):
                axes.append(1 + axis)
            elif len(set(sizes)) > 1:
                raise CutError(
                    "Expected outputs as long as the sequences, or of one "
                    f"shape, for lengths={list(lengths)}. Received: "
                    f"{tensor.name!r}, whose axis {1 + axis} has "
                    f"{', '.join(map(str, sizes))}. Give the model one "
                    "length: keras_split.fix_length(model, length)."
                )
        found.append(axes)
    if partition.tail is None and any(found):
        raise CutError(
            "Expected a model that is cut twice, for outputs that are "
            f"sequences of several lengths. Received: cut={partition.cut!r}, "
            "with labels on the server. Name a second cut, or give the model "
            "one length: keras_split.fix_length(model, length)."
        )
    return found


def _specs(
    tensors: Sequence[Tensor], shapes: _Shapes
) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.label, shapes[t]) for t in tensors)


def _shapes(partition: "Partition", length: int) -> _Shapes:
    """Shapes of what is at the ends of segments, without the batch."""
    specs: dict[Tensor, Any] = {
        tensor: keras.KerasTensor(
            (
                tensor.spec.shape[0],
                *(length if n is None else n for n in tensor.shape),
            ),
            tensor.spec.dtype,
        )
        for tensor in partition.raw_inputs
    }
    for segment in (partition.head, partition.body, partition.tail):
        if segment is not None:
            specs.update(_made(segment, specs, length))
    shapes = {tensor: tuple(spec.shape[1:]) for tensor, spec in specs.items()}
    for tensor, shape in shapes.items():
        if None in shape:
            raise CutError(
                "Expected shapes that the length of the sequences tells. "
                f"Received: {tensor.name!r} of shape {shape} for sequences of "
                f"{length}. Give the model one length: "
                "keras_split.fix_length(model, length)."
            )
    return shapes


def _made(
    segment: "Segment", specs: Mapping[Tensor, Any], length: int
) -> dict[Tensor, Any]:
    """What a segment makes of what it is given."""
    try:
        made = segment.model.compute_output_spec(
            [specs[tensor] for tensor in segment.inputs]
        )
    except ValueError as error:
        raise CutError(
            f"Cannot run the {segment.name} with sequences of {length}: "
            f"{error} Take lengths that its layers allow."
        ) from error
    flat = keras.tree.flatten(made)
    return dict(zip(segment.outputs, flat, strict=True))
