"""One graph for batches of every size."""

import numpy as np
import pytest

from keras_split.training import any_batch
from tests import links

RATE = 0.1


def steps(half, optimizer, contract):
    """What comes back of a batch of each size."""
    made = []
    for size in (3, 1, 5):
        smashed = links.smashed(contract, size=size)
        grads = links.features_grad(contract, size=size)
        *_, waiting = half.forward(smashed, optimizer)
        made += half.backward(waiting, smashed, grads, optimizer, RATE)
    return made


@pytest.mark.parametrize("quantization, most", [("float32", 1e-5), ("int8", 1)])
def test_steps_of_every_size_have_the_graph_that_was_traced(quantization, most):
    _, server = links.halves(quantization)
    half, contract = server.half, server.contract
    before = half.weights()
    first = half.optimizer(links.MOMENTUM)
    expected = steps(half, first, contract)
    first.leave()
    half.set_weights(before)
    half.retrace()
    optimizer = half.optimizer(links.MOMENTUM)

    any_batch.trace(half, optimizer)
    found = steps(half, optimizer, contract)

    assert optimizer.graph.run.experimental_get_tracing_count() == 1
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one.codes - other.codes.astype(float)).max() <= most
