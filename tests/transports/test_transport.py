import pytest

from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Refusal
from keras_split.transports import Transport


class Answering(Transport):
    """Gives one answer to everything."""

    def __init__(self, reply):
        self.reply = reply

    def carry(self, message):
        return self.reply

    def close(self):
        pass


def test_a_reply_is_returned():
    assert Answering(Done()).exchange(Goodbye("s")) == Done()


def test_a_refusal_is_raised_with_its_reason_and_text():
    transport = Answering(Refusal("shape", "Expected a. Received: b."))

    with pytest.raises(
        RefusedError, match="^Expected a. Received: b.$"
    ) as info:
        transport.exchange(Goodbye("s"))

    assert info.value.reason == "shape"
    assert isinstance(info.value, ProtocolError)


class Counting(Transport):
    """Answers with the number of the message."""

    def __init__(self):
        self.count = 0

    def carry(self, message):
        self.count += 1
        return Refusal("no", str(self.count))

    def close(self):
        pass


def number(function, *arguments):
    with pytest.raises(RefusedError) as info:
        function(*arguments)
    return str(info.value)


def test_replies_to_what_was_posted_are_collected_in_order():
    transport = Counting()

    transport.post(Goodbye("s"))
    transport.post(Goodbye("s"))

    assert [number(transport.collect), number(transport.collect)] == ["1", "2"]


def test_replies_that_nobody_collects_are_dropped():
    transport = Counting()
    transport.post(Goodbye("s"))

    assert number(transport.exchange, Goodbye("s")) == "2"
    transport.post(Goodbye("s"))
    assert number(transport.collect) == "3"


def test_what_a_server_says_does_not_steer_the_terminal():
    said = "Expected a.\x1b]0;title\x07\nError: \u202eb" + "x" * 10_000

    with pytest.raises(RefusedError) as info:
        Answering(Refusal("shape", said)).exchange(Goodbye("s"))

    text = str(info.value)
    assert text.isprintable() and len(text) < 3000
    assert text.startswith("Expected a.?]0;title??Error: ?bx")
