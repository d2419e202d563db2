"""Steps that need no messages are counted like those that do."""

import contextlib
from types import SimpleNamespace

import pytest

from keras_split.client import in_graph
from keras_split.client.session import ClientSession
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Welcome
from keras_split.protocol.moment import Moment
from keras_split.transports import LocalTransport
from keras_split.transports import Route
from keras_split.transports import Transport
from tests import links

AFTER = Moment("ab" * 16, 5)


class Here(LocalTransport):
    """To a server in this process of which only the counter is there."""

    def __init__(self, refusal=None):
        self.side = SimpleNamespace(next_step=0, moment=AFTER)
        self.refusal = refusal

    def carry(self, message):
        return Welcome("s")

    def close(self):
        pass

    def find(self, session):
        return self.side if session == "s" else None

    @contextlib.contextmanager
    def joint_step(self, session):
        if self.refusal is not None:
            raise self.refusal
        yield
        self.side.next_step += 1


def opened(transport):
    session = ClientSession(Route.to(transport=transport), retry=None)
    session.connect(links.halves()[0].contract, links.SGD)
    return session


def test_a_step_moves_the_counters_of_both_sides():
    session = opened(Here())

    with in_graph.joint_step(session) as (name, number, early):
        pass
    in_graph.count(session, 30, 20)

    assert (name, number, early) == ("s", 0, False)
    assert session.next_step == 1
    assert session.connection.moment == AFTER
    connection = session.connection
    assert (connection.uplink_bytes, connection.downlink_bytes) == (30, 20)


def test_a_step_that_fails_counts_as_none():
    session = opened(Here())

    with pytest.raises(ZeroDivisionError):
        with in_graph.joint_step(session):
            raise ZeroDivisionError

    assert session.next_step == 0
    assert session.connected


@pytest.mark.parametrize("reason, open", [("session", False), ("rate", True)])
def test_a_session_that_the_server_forgot_is_over(reason, open):
    session = opened(Here(RefusedError("no", reason)))

    with pytest.raises(RefusedError):
        with in_graph.joint_step(session):
            pass

    assert session.connected is open


def test_only_a_server_in_this_process_has_a_side_to_be_found():
    class There(Transport):
        carry = Here.carry
        close = Here.close

    here = Here()

    assert in_graph.server_side(opened(here)) is here.side
    assert in_graph.server_side(opened(There())) is None


def test_without_a_session_there_is_no_step():
    session = ClientSession(Route.to(transport=Here()), retry=None)

    with pytest.raises(TransportError, match="Expected an open session"):
        with in_graph.joint_step(session):
            pass
