"""One compiled step for batches of every size."""

import numpy as np
import tensorflow as tf

from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.in_flight import StepHandle
from keras_split.training.server_step import ServerHalf


def trace(half: ServerHalf, optimizer: BodyOptimizer) -> None:
    """Traces a body's step before it is taken, for batches of every size.

    Otherwise each of the first two sizes gets a graph of its own, which takes
    a second, and is worth 3 % of the step.

    Args:
        half: The body.
        optimizer: Updates it.
    """
    codec = half.cut_codecs.smashed
    one, two = (
        codec.quantize(
            [np.zeros((n, *spec.shape)) for spec in half.contract.smashed]
        )
        for n in (1, 2)
    )
    optimizer.graph_for(smashed_grad=True).run.get_concrete_function(
        StepHandle(tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.resource)),
        *(
            tf.TensorSpec(
                a.shape.most_specific_compatible_shape(b.shape), a.dtype
            )
            for a, b in zip(one, two, strict=True)
        ),
    )
