"""Cut-layer tensors between a signature and a message.

The .tflite quantizes and packs; here rows are cut off and put back. A file
has one batch size, so a batch with fewer examples is padded on the phone, and
the padding never travels.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.compression.rules import Rule
from keras_split.compression.shared import SharedSpec
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import ProtocolError
from keras_split.protocol import validation
from keras_split.utils.counted import counted


class RowPadder:
    """Tensors of one kind: smashed data, features or gradients of either.

    Args:
        kind: What the signatures call them: `"smashed"` names
            `smashed_0_codes`, `smashed_0_scales`, ...
        specs: The tensors, in order.
        rule: How they are quantized.
        batch_size: Rows in the .tflite.
        shared: Inputs of the model that leave behind them, which the
            signatures call `shared_0_codes`, ...
    """

    def __init__(
        self,
        kind: str,
        specs: Sequence[TensorSpec],
        rule: Rule,
        batch_size: int,
        shared: Sequence[SharedSpec] = (),
    ) -> None:
        self._kind = kind
        self._specs = tuple(specs)
        self._rule = rule
        self._batch_size = batch_size
        self._shared = tuple(shared)
        self._scales_by_row = rule.has_scales and rule.granularity == "example"

    def leave(self, made: Mapping[str, Any], count: int) -> list[CutTensor]:
        """What a signature made, as tensors of `count` rows for a message.

        Raises:
            ProtocolError: With reason `"not-finite"`.
        """
        tensors = []
        for i, spec in enumerate(self._specs):
            codes = made[f"{self._kind}_{i}_codes"][:count]
            scales = None
            if self._rule.has_scales:
                scales = made[f"{self._kind}_{i}_scales"]
                scales = scales[:count] if self._scales_by_row else scales
            tensors.append(
                CutTensor(spec.name, (count, *spec.shape), codes, scales)
            )
        for i, known in enumerate(self._shared):
            codes = made[f"shared_{i}_codes"][:count]
            tensors.append(CutTensor(known.name, (count, *known.shape), codes))
        return validation.check_finite(tensors, self._rule, len(self._shared))

    def arrive(
        self, tensors: Sequence[CutTensor], count: int
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Tensors of a message, padded and named for a signature.

        Raises:
            ProtocolError: If they are not what the contract says.
        """
        batch = validation.check_tensors(tensors, self._specs, self._rule)
        if batch != count:
            raise ProtocolError(
                f"Expected {counted(count, 'example')} from the server, as "
                f"many as were sent. Received: {batch}. Install the same "
                "keras_split on the phone and on the server.",
                "shape",
            )
        known = {}
        for i, tensor in enumerate(tensors):
            codes, scales = tensor.codes, tensor.scales
            known[f"{self._kind}_{i}_codes"] = pad(codes, self._batch_size)
            if scales is not None:
                if self._scales_by_row:
                    scales = pad(scales, self._batch_size)
                known[f"{self._kind}_{i}_scales"] = scales
        return known


def pad(rows: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Repeats the first row until there are `size`; no copy if there are."""
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
