"""What nobody waits for is computed last.

Of a backward pass the phone waits only for the gradients of the smashed data.
The gradients of the weights, about a third of the work of a step, can come
after those have left. The idea is that of Qi et al., "Zero Bubble Pipeline
Parallelism" (ICLR 2024), who split the backward pass of a stage in two. Only
the order of operations changes, no number does; the price is memory, for the
gradients of all activations are there at once.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_split.utils import keras_private


def operations() -> set[tf.Operation]:
    """All operations of the graph that is being traced."""
    return set(tf.compat.v1.get_default_graph().get_operations())


def defer(
    later: Sequence[Any],
    needed: Sequence[tf.Tensor],
    sent: tf.Tensor,
    before: set[tf.Operation],
) -> None:
    """Lets operations wait that are for `later` and not for `needed`.

    Args:
        later: Gradients, dense or sparse.
        needed: What is not to wait.
        sent: What they wait for; made from `needed`.
        before: Operations that are older than both, and stay where they are.
    """
    kept = _made_for([tensor.op for tensor in needed], before)
    waiting = _made_for(_sources(later), before | kept)
    if any(operation.op_def.is_stateful for operation in waiting):
        return  # its order with the others is not ours to choose
    for operation in waiting:
        inputs = {tensor.op for tensor in operation.inputs}
        if inputs and not inputs & waiting:
            keras_private.wait_for(operation, [sent.op])


def _sources(gradients: Sequence[Any]) -> list[tf.Operation]:
    found = []
    for gradient in gradients:
        if isinstance(gradient, tf.IndexedSlices):
            found += [gradient.values.op, gradient.indices.op]
        else:
            found.append(gradient.op)
    return found


def _made_for(
    operations: list[tf.Operation], before: set[tf.Operation]
) -> set[tf.Operation]:
    """These operations and all that they need, but for those in `before`."""
    found: set[tf.Operation] = set()
    open_ends = list(operations)
    while open_ends:
        operation = open_ends.pop()
        if operation in found or operation in before:
            continue
        found.add(operation)
        open_ends += [tensor.op for tensor in operation.inputs]
        open_ends += operation.control_inputs
    return found
