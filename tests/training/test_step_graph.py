"""The step of the body as one graph."""

import numpy as np
import pytest
import tensorflow as tf

from keras_split.training.in_flight import StepHandle
from tests import links


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture(scope="module")
def graph(server):
    optimizer = server.half.optimizer(links.SGD)
    optimizer.enter(0.0)
    return optimizer.graph


def parts_of(server, **options):
    return server.half.parts(links.smashed(server.contract, **options))


def test_a_forward_alone_gives_what_a_whole_step_hands_out(server, graph):
    half = server.half
    smashed = links.smashed(server.contract)
    features, penalty, step = half.forward(smashed, half.optimizer(links.SGD))
    half.abandon(step)

    alone = graph.run_forward(*half.parts(smashed))

    handed = [np.float32(penalty), *links.parts(features)]
    assert links.same([part.numpy() for part in alone], handed)


def test_a_batch_of_another_size_is_traced_once_for_all(server, graph):
    run = tf.function(
        graph._trace_forward, reduce_retracing=True, autograph=False
    )
    for size in (8, 3, 5, 2, 8):
        run(*parts_of(server, size=size))

    assert run.experimental_get_tracing_count() == 2


def test_one_graph_has_forward_backward_and_update(server, graph):
    queue = tf.queue.FIFOQueue(1, graph.gradient_dtypes)
    step_handle = StepHandle(tf.constant(0, tf.int64), queue.queue_ref)

    traced = graph.run.get_concrete_function(step_handle, *parts_of(server))

    kinds = [op.type for op in traced.graph.get_operations()]
    assert kinds.count("QueueDequeueV2") == 1
    assert "Conv2DBackpropFilter" in kinds
    assert any(kind.startswith("Assign") for kind in kinds)


def test_weights_of_a_pass_are_those_that_its_forward_read(server):
    """Whatever others commit before its backward."""
    half = server.half
    smashed = links.smashed(server.contract)
    grad = links.features_grad(server.contract)
    before, found = half.weights(), []
    for moved in (False, True):
        half.set_weights(before)
        optimizer = half.optimizer(links.SGD)
        *_, step = half.forward(smashed, optimizer)
        if moved:
            kernel = half.body.trainable_variables[0]
            kernel.assign(kernel + 1.0)
        found.append(half.backward(step, smashed, grad, optimizer, 0.0))
        optimizer.leave()
    half.set_weights(before)

    assert links.same(links.parts(found[0]), links.parts(found[1]))


def test_what_waits_is_the_scale_and_the_parts_of_the_gradients():
    server = links.halves("int8")[1]
    optimizer = server.half.optimizer(links.SGD)
    grad = links.features_grad(server.contract)

    dtypes = optimizer.graph.gradient_dtypes

    assert dtypes[0] == tf.float32
    assert [d.as_numpy_dtype for d in dtypes[1:]] == [
        part.dtype for part in server.half.cut_codecs.features_grad.unwrap(grad)
    ]
