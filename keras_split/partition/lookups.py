"""Shared inputs that a body looks up in a table, such as an `Embedding`'s."""

from collections.abc import Sequence

import keras

from keras_split.compression.shared import SharedSpec
from keras_split.partition.graph import Graph


def rows(
    body: keras.Model, shared: Sequence[SharedSpec]
) -> tuple[int | None, ...]:
    """For each shared input, how many rows there are to look it up in.

    Of several tables that read it the shortest; None for one that no
    `Embedding` reads as it is.

    Args:
        body: It; shared inputs are its last ones.
        shared: What is known of them.
    """
    if not shared:
        return ()
    graph = Graph(body)
    tables = [
        (call.inputs[0], call.operation.input_dim)
        for call in graph.calls
        if isinstance(call.operation, keras.layers.Embedding)
    ]
    return tuple(
        min((count for read, count in tables if read is given), default=None)
        for given in graph.inputs[-len(shared) :]
    )
