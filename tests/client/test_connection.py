"""A session goes on over one connection after the other."""

import pytest

from keras_split.client.connection import Connection
from keras_split.client.retry import Retry
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Release
from keras_split.protocol.messages import Welcome
from keras_split.transports import Route
from keras_split.transports import Transport


class Scripted(Transport):
    """Gives prepared replies."""

    def __init__(self, *replies, early=False):
        self.replies, self.replies_early = list(replies), early
        self.sent = []

    def carry(self, message):
        self.sent.append(message)
        return self.replies.pop(0)

    def close(self):
        self.sent.append("close")


def opened(*transports):
    """A connection that was opened over the first of them."""
    ways = iter(transports)
    made = Connection(Route.to(transport=lambda *_: next(ways)), Retry())
    made.open(Hello("contract", ""), None)
    return made


def resumed(next_step, *transports):
    """What was repeated when a client at a step connects anew, and where."""
    connection = opened(Scripted(Welcome("s")), *transports)
    connection.hang_up()
    repeated = []
    connection.resume(next_step, lambda way, taken: repeated.append(taken))
    return connection, repeated


def test_it_goes_on_with_its_session_where_it_was():
    way = Scripted(Welcome("s", 3))

    connection, repeated = resumed(3, way)

    assert (way.sent[0].session, way.sent[0].next_step) == ("s", 3)
    assert connection.transport is way
    assert repeated == [False]


def test_a_step_may_have_been_taken_before_the_loss():
    _, repeated = resumed(3, Scripted(Welcome("s", 4)))

    assert repeated == [True]


def test_a_server_that_forgot_a_session_without_steps_opens_another():
    ways = Scripted(Refusal("session", "Who?")), Scripted(Welcome("t"))

    connection, _ = resumed(0, *ways)

    assert connection.session == "t"
    assert ways[1].sent[0].session == ""


def test_a_server_that_forgot_steps_is_an_error():
    with pytest.raises(RefusedError, match="Who"):
        resumed(1, Scripted(Refusal("session", "Who?")))


@pytest.mark.parametrize("server", [1, 5])
def test_a_server_that_is_elsewhere_is_an_error(server):
    way = Scripted(Welcome("s", server))

    with pytest.raises(RefusedError, match=f"step is {server}") as info:
        resumed(3, way)

    assert info.value.reason == "order"
    assert way.sent[-1] == "close"


@pytest.mark.parametrize("server", [0, 1, 2, 3])
def test_steps_that_a_server_lost_are_sent_again_if_they_are_kept(server):
    ways = [Scripted(Welcome("s", keeps_checkpoints=True))]
    ways.append(Scripted(Welcome("s", server), Done(), Done()))
    connection = opened(*ways)
    for number in (1, 2):
        connection.replay_log.add(number, [Release("s", str(number))])
    connection.hang_up()

    if server == 0:  # back from a checkpoint older than what is kept
        with pytest.raises(RefusedError, match="steps before 1, and none"):
            connection.resume(3, lambda way, taken: None)
    else:
        connection.resume(3, lambda way, taken: None)

    again = [m.tag for m in ways[1].sent if isinstance(m, Release)]
    assert again == [str(n) for n in (1, 2) if 0 < server <= n]


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_server_may_take_a_step_while_it_is_sent_again(deaths):
    """What the broken connection had left behind was yet to be dealt with."""
    taken = Refusal("order", "Expected step 2. Received: step 1.")
    ways = [Scripted(Welcome("s", keeps_checkpoints=True))]
    ways += [Scripted(Welcome("s", 1), taken) for _ in range(deaths)]
    ways.append(Scripted(Welcome("s", 2), Done()))
    connection = opened(*ways)
    for number in (1, 2):
        connection.replay_log.add(number, [Release("s", str(number))])
    connection.hang_up()

    if deaths == 3:  # that is no chance any more
        with pytest.raises(RefusedError, match="Received: step 1"):
            connection.resume(3, lambda way, taken: None)
        assert connection.transport is None
    else:
        connection.resume(3, lambda way, taken: None)
        assert [m.tag for m in ways[2].sent if isinstance(m, Release)] == ["2"]
    assert ways[1].sent[-1] == "close"


def test_what_is_no_welcome_closes_the_way():
    way = Scripted(Done())

    with pytest.raises(ProtocolError, match="Expected a Welcome"):
        opened(way)

    assert way.sent[-1] == "close"


@pytest.mark.parametrize("server", [False, True])
@pytest.mark.parametrize("way", [False, True])
def test_replies_are_early_where_server_and_transport_can(server, way):
    welcome = Welcome("s", replies_early=server)

    assert opened(Scripted(welcome, early=way)).replies_early == (
        server and way
    )


def test_bytes_are_counted_over_all_connections():
    ways = [Scripted(Welcome("s")) for _ in range(2)]
    ways[1].uplink_bytes = 100  # it was used before

    connection = opened(*ways)
    ways[0].uplink_bytes += 7
    connection.hang_up()
    connection.resume(0, lambda way, taken: None)
    ways[1].uplink_bytes += 5

    assert connection.uplink_bytes == 12


def test_snapshots_that_nobody_needs_are_told_of_once():
    way = Scripted(Welcome("s"), Done(), Done())
    connection = opened(way)
    connection.unneeded.extend(["a", "b"])

    connection.send_releases(way)
    connection.send_releases(way)

    assert way.sent[1:] == [Release("s", "a"), Release("s", "b")]


def test_it_greets_the_server_that_it_is_sent_to(monkeypatch):
    ways = {
        "front:1": Scripted(Welcome("", address="there:2")),
        "there:2": Scripted(Welcome("s", 0)),
    }
    monkeypatch.setattr(
        Route, "open", lambda route, *_: ways[route.address.target]
    )
    connection = Connection(Route.to("grpc://front:1"), Retry())

    connection.open(Hello("contract", ""), None)

    asked, gone = ways["front:1"].sent
    assert (asked.follows, gone) == (True, "close")
    assert [hello.follows for hello in ways["there:2"].sent] == [False]
    assert connection.session == "s"
    assert connection.transport is ways["there:2"]


@pytest.mark.parametrize("address", ["nowhere", "there:no"])
def test_it_does_not_follow_to_what_is_no_address(monkeypatch, address):
    way = Scripted(Welcome("", address=address))
    monkeypatch.setattr(Route, "open", lambda *_: way)

    with pytest.raises(ProtocolError, match="host and port"):
        Connection(Route.to("grpc://front:1"), Retry()).open(
            Hello("contract", ""), None
        )
    assert way.sent[-1] == "close"


def test_who_has_a_transport_of_its_own_does_not_follow():
    way = Scripted(Welcome("s"))

    opened(way)

    assert not way.sent[0].follows


def test_a_way_that_is_opened_anew_knows_how_long_the_half_is():
    first, second = Scripted(Welcome("s")), Scripted(Welcome("s"))
    connection = opened(first, second)
    first.half_bytes = 1000  # it has enrolled there

    connection.hang_up()
    connection.resume(0, lambda *_: None)

    assert second.half_bytes == 1000
