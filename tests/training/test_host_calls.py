import pytest
import tensorflow as tf

from keras_split.training.host_calls import HostCalls


def raises(*arrays):
    raise KeyError("ours")


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_graph_gets_what_python_made(eagerly):
    calls = HostCalls()

    def graph(x):
        return calls(lambda a: [a + 1], [x], [tf.float32])[0]

    run = graph if eagerly else tf.function(graph)
    assert run(tf.constant(1.0)) == 2.0


def test_what_a_call_raised_is_raised_round_the_graph():
    calls = HostCalls()
    run = tf.function(lambda x: calls(raises, [x], [tf.float32])[0])

    with pytest.raises(KeyError, match="ours") as raised, calls.explained():
        run(tf.constant(1.0))

    assert raised.value.__cause__ is None  # TensorFlow's is pages of graph
    assert raised.value.__suppress_context__


def test_an_error_of_the_graph_itself_is_left_as_it_is():
    calls = HostCalls()
    run = tf.function(lambda x: calls(raises, [x], [tf.float32])[0])
    with pytest.raises(KeyError), calls.explained():
        run(tf.constant(1.0))

    with pytest.raises(tf.errors.OpError), calls.explained():
        tf.debugging.Assert(tf.constant(False), ["the graph"])


def test_a_call_waits_for_what_it_is_told_to():
    calls = HostCalls()
    order = []

    def note(what, x, after):
        def call(a):
            order.append(what)
            return [a]

        return calls(call, [x], [tf.float32], after)

    @tf.function
    def run(x):
        first = note("first", x, [])
        return note("second", x, first)[0]

    run(tf.constant(1.0))

    assert order == ["first", "second"]
