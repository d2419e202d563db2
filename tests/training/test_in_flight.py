import numpy as np
import pytest
import tensorflow as tf

from keras_split.training import in_flight as in_flight_module
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


class Client:
    """Whose steps wait."""

    def __init__(self):
        self.may_wait = True
        self.lost = 0

    def given_up(self):
        self.lost += 1


@pytest.fixture
def waiting():
    """Three places; steps get one by `waiting(client, examples)`."""
    in_flight = StepsInFlight(3)

    def wait(client, examples=1):
        if not in_flight.make_room(examples, client):
            return None
        queue = tf.queue.FIFOQueue(1, DTYPES)
        step = in_flight_module.StepInFlight(queue)
        in_flight.keep(step, examples, client)
        return step

    wait.all = in_flight
    return wait


def test_there_is_no_more_room_than_places(waiting):
    clients = [Client() for _ in range(4)]

    steps = [waiting(client) for client in clients]

    assert all(steps[:3]) and steps[3] is None
    assert not any(client.lost for client in clients)


def test_who_has_most_makes_room_for_who_has_none(waiting):
    greedy, other = Client(), Client()
    steps = [waiting(greedy) for _ in range(3)]

    found = [waiting(other) for _ in range(2)]

    assert found[0] is not None and found[1] is None
    assert waiting.all.take(steps[0]) is None  # the oldest
    assert (greedy.lost, other.lost) == (1, 0)


def test_one_that_has_waited_for_too_long_makes_room(waiting, monkeypatch):
    clients = [Client() for _ in range(3)]
    steps = [waiting(client) for client in clients]
    monkeypatch.setattr(in_flight_module, "STALLED_S", -1.0)

    assert waiting(clients[2]) is not None
    assert waiting.all.take(steps[0]) is None
    assert clients[0].lost == 1


def test_who_may_not_wait_gets_no_place(waiting):
    client = Client()
    client.may_wait = False

    assert waiting(client) is None


def test_steps_that_wait_are_of_no_more_examples_than_that(waiting):
    waiting.all.max_examples = 10
    one, other = Client(), Client()

    assert waiting(one, 8) and waiting(other, 2)
    assert waiting(other, 1) is None
    assert waiting.all.waiting == 2


def test_what_is_ended_for_all_is_nobodys_fault(waiting):
    client = Client()
    waiting(client)

    waiting.all.abandon_all()

    assert client.lost == 0
    assert waiting.all.waiting == 0
