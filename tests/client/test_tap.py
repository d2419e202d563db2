"""Who listens hears everything once, and changes nothing."""

import keras
import pytest

import keras_split
from keras_split import SessionTap
from keras_split.client.retry import Retry
from keras_split.client.session import ClientSession
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Welcome
from keras_split.transports import Route
from keras_split.transports import Transport
from tests import links


class Names(SessionTap):
    """Keeps the names of what it hears."""

    def __init__(self):
        self.heard = []

    def sent(self, message):
        self.heard.append(type(message).__name__)

    def received(self, message, reply):
        self.heard.append((type(message).__name__, type(reply).__name__))


class Scripted(Transport):
    """Gives prepared replies; raises those that are errors."""

    replies_early = True

    def __init__(self, *replies):
        self.replies = list(replies)

    def carry(self, message):
        return self._collect()

    def _collect(self):
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self):
        pass


def opened(*replies, **options):
    """A session with a tap, at a scripted server, and the tap."""
    tap = Names()
    session = ClientSession(
        Route.to(transport=Scripted(*replies)),
        taps=[tap],
        retry=Retry(give_up_s=10, first_s=0.01),
        **options,
    )
    session.connect(links.halves()[0].contract, links.SGD)
    return session, tap


def test_a_tap_hears_each_message_and_its_reply():
    session, tap = opened(
        *(Welcome("s"), Features(0, []), SmashedGrad(0, []), Done())
    )

    session.forward([])
    session.backward([], 0.1)
    session.close()

    assert tap.heard == [
        *("Hello", ("Hello", "Welcome")),
        *("Forward", ("Forward", "Features")),
        *("Backward", ("Backward", "SmashedGrad")),
    ]


def test_a_backward_that_is_answered_twice_is_heard_twice():
    session, tap = opened(
        Welcome("s", replies_early=True),
        *(Features(0, []), SmashedGrad(0, []), Committed(0), Done()),
        overlap=True,
    )

    session.forward([])
    session.backward([], 0.1)
    session.committed()

    assert tap.heard[-2:] == [
        ("Backward", "SmashedGrad"),
        ("Backward", "Committed"),
    ]


def test_what_is_sent_again_is_heard_once():
    session, tap = opened(
        *(Welcome("s"), TransportError("cut"), Welcome("s")),
        *(Features(0, []), Done()),
    )

    session.forward([])

    assert tap.heard[2:] == ["Forward", ("Forward", "Features")]


def test_a_refusal_is_raised_and_not_heard():
    session, tap = opened(Welcome("s"), Refusal("shape", "no"), Done())

    with pytest.raises(RefusedError):
        session.forward([])

    assert tap.heard[2:] == ["Forward"]


def test_what_a_tap_raises_keeps_the_message_here():
    class Curfew(SessionTap):
        def sent(self, message):
            raise RuntimeError("not now")

    session, _ = opened(Welcome("s"), Done())
    session.taps.append(Curfew())

    with pytest.raises(RuntimeError, match="not now"):
        session.forward([])

    assert len(session.route.transport.replies) == 1


def trained(strategy, quantization="int8"):
    client, server = links.halves(quantization)
    client.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
    )
    client.fit(*links.batch(16), batch_size=8, shuffle=False, verbose=0)
    return client, [v.numpy() for v in client.variables] + links.state(server)


def test_a_server_in_this_process_is_heard_too_and_the_log_says_so(caplog):
    caplog.set_level("INFO", "keras_split")
    tap = Names()

    client, heard = trained(keras_split.SplitStrategy(taps=[tap]))
    client.fit(*links.batch(8), verbose=0)

    assert tap.heard.count("Forward") == tap.heard.count("Backward") == 3
    lines = [r.message for r in caplog.records if "messages" in r.message]
    assert len(lines) == 1
    assert "faster: Names listens to them. That" in lines[0]
    _, unheard = trained(keras_split.SplitStrategy())
    assert links.same(heard, unheard)


def test_a_method_that_is_overridden_costs_the_one_graph_and_it_says_so(
    caplog,
):
    class Half(keras_split.SplitStrategy):
        def backward(self, features_grad, learning_rate):
            return super().backward(features_grad, learning_rate / 2)

    trained(Half())

    [record] = [r for r in caplog.records if "messages" in r.message]
    assert record.levelname == "WARNING"
    assert "faster: Half overrides backward. That" in record.message


def test_nothing_is_said_where_nothing_is_lost(caplog):
    caplog.set_level("INFO", "keras_split")

    trained(keras_split.SplitStrategy())

    assert "messages" not in caplog.text
