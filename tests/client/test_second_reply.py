import types

import pytest

from keras_split.client.second_reply import second_reply
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import SmashedGrad

MESSAGE = Backward("old", 3, [], 0.1, early=True)


class Transport:
    def __init__(self, reply, owes):
        self.owes = owes
        self.sent = []
        self._reply = reply

    def collect(self):
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply

    def exchange(self, message):
        self.sent.append(message)
        return self.collect()


def connection(transport):
    made = types.SimpleNamespace(transport=transport, session="new")
    made.hang_up = lambda: setattr(made, "transport", None)
    return made


def test_it_is_waited_for_where_it_is_on_its_way():
    way = Transport(Committed(3), owes=True)

    assert second_reply(connection(way), MESSAGE, None) == Committed(3)
    assert not way.sent


def test_over_a_new_connection_the_message_is_sent_for_one_reply():
    way = Transport(SmashedGrad(3, []), owes=False)
    asked = []

    def resume(message):
        asked.append(message)
        return way

    reply = second_reply(connection(None), MESSAGE, resume)

    assert reply == SmashedGrad(3, [])
    assert asked == [MESSAGE]
    assert way.sent == [Backward("new", 3, [], 0.1)]


@pytest.mark.parametrize(
    "error, stays",
    [(RefusedError("no", "norm"), True), (TransportError("gone"), False)],
)
def test_who_breaks_off_hangs_up_and_who_refuses_does_not(error, stays):
    made = connection(Transport(error, owes=True))

    with pytest.raises(type(error)):
        second_reply(made, MESSAGE, None)

    assert (made.transport is not None) == stays
