"""What a compiled step knows of the size of its batch."""

import tensorflow as tf


class KnownBatch:
    """Tells which batch sizes a graph of its own would know.

    TensorFlow divides by a number that it knows as a product with the
    reciprocal: a step of a known batch is 3 % faster and has other last bits.
    A `tf.function` with `reduce_retracing` knows the first size that it sees
    and, as a rule, no other. Where two parties share a graph each must know
    what it would have known alone; so a function of that kind is traced here,
    for nothing but a tensor of that batch, and asked.
    """

    def __init__(self) -> None:
        self._alone = tf.function(
            lambda rows: rows, reduce_retracing=True, autograph=False
        )
        # A trace stays, and the closest one is taken: no answer ever changes.
        self._known: dict[int | None, int | None] = {}

    def __call__(self, batch: int | None) -> int | None:
        """The size that the graph for such a batch knows, None for none.

        Args:
            batch: Of the step to come; None if its data come from where
                batches may differ in size.

        Example:
        >>> known = KnownBatch()
        >>> [known(8), known(2), known(8)]
        [8, None, 8]
        """
        if batch not in self._known:
            spec = tf.TensorSpec((batch,), tf.bool)
            traced = self._alone.get_concrete_function(spec)
            [rows], _ = traced.structured_input_signature
            self._known[batch] = rows.shape[0]
        return self._known[batch]
