import numpy as np
import pytest
import tensorflow as tf

from keras_split.training import tf_threads
from keras_split.training.in_flight import StepsInFlight

DTYPES = [tf.float32, tf.float32]


def graph_of(in_flight):
    """A step that adds what comes to what it has, and hands it out."""

    @tf.function(autograph=False)
    def graph(step_handle):
        scale, gradient = in_flight.exchange(
            step_handle, [tf.constant(2.0)], DTYPES
        )
        made = scale * gradient
        with tf.control_dependencies([in_flight.hand_out(step_handle, [made])]):
            return tf.identity(made)

    return graph


def gradients(number):
    return [np.float32(2), np.float32(number)]


def test_a_graph_waits_for_its_own_gradients():
    in_flight = StepsInFlight()
    graph = graph_of(in_flight)
    steps = [in_flight.start(graph, DTYPES, early=True) for _ in range(3)]

    features = [step.features.result(20) for step in steps]
    assert len(in_flight) == 3
    for n, step in reversed(list(enumerate(steps))):
        step.give(gradients(n))
        assert float(step.result.result(20)) == 2 * n
        assert step.smashed_grad.result(20) == [2 * n]

    assert features == [[2.0]] * 3
    assert not len(in_flight)


def test_waiting_graphs_hold_no_thread():
    in_flight = StepsInFlight()
    graph = graph_of(in_flight)

    steps = [
        in_flight.start(graph, DTYPES) for _ in range(3 * tf_threads._pool())
    ]

    for step in steps:
        step.features.result(20)
    for step in steps:
        step.give(gradients(1))
        step.result.result(20)


def test_with_gradients_at_hand_nothing_waits():
    in_flight = StepsInFlight()

    step = in_flight.start(graph_of(in_flight), DTYPES, gradients(3))

    assert float(step.result.result(20)) == 6


def test_an_abandoned_graph_ends():
    in_flight = StepsInFlight()
    step = in_flight.start(graph_of(in_flight), DTYPES)
    step.features.result(20)

    step.abandon()

    with pytest.raises(tf.errors.InvalidArgumentError, match="abandoned"):
        step.result.result(20)


def test_who_comes_later_changes_nothing():
    in_flight = StepsInFlight()
    step = in_flight.start(graph_of(in_flight), DTYPES)

    step.give(gradients(1))
    step.abandon()
    step.give(gradients(2))

    assert float(step.result.result(20)) == 2


def test_queues_are_used_again_however_a_step_ended():
    in_flight = StepsInFlight()
    graph = graph_of(in_flight)
    for n in range(6):
        step = in_flight.start(graph, DTYPES)
        step.abandon() if n % 2 else step.give(gradients(n))
        if n % 2:
            with pytest.raises(tf.errors.InvalidArgumentError):
                step.result.result(20)
        else:
            assert float(step.result.result(20)) == 2 * n

    assert [len(free) for free in in_flight._queues.values()] == [1]


def test_what_a_failed_step_left_in_its_queue_reaches_no_other():
    in_flight = StepsInFlight()

    def fail(step_handle):
        raise ValueError("no")

    failed = in_flight.start(fail, DTYPES, gradients(1), early=True)
    for awaited in (failed.features, failed.smashed_grad, failed.result):
        with pytest.raises(ValueError, match="no"):
            awaited.result(20)
    failed.abandon()
    step = in_flight.start(graph_of(in_flight), DTYPES)
    step.give(gradients(3))

    assert float(step.result.result(20)) == 6
