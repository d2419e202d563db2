"""Steps in one graph with a server in this process: nothing is said."""

import contextlib
from collections.abc import Iterator
from typing import Any

from keras_split.client.session import ClientSession
from keras_split.errors import RefusedError
from keras_split.transports import LocalTransport


def server_side(session: ClientSession) -> Any:
    """The server's side of the session; None if it is not in this process."""
    local = session.connection.transport
    if not isinstance(local, LocalTransport):
        return None
    return local.find(session.connection.session)


@contextlib.contextmanager
def joint_step(session: ClientSession) -> Iterator[tuple[str, int, bool]]:
    """Surrounds a step that runs in one graph with the body.

    Args:
        session: Counts the step.

    Yields:
        The session's name, the step's number, and whether gradients would
        come before the body's update.

    Raises:
        RefusedError: If the server refuses the step.
    """
    session.check_open()
    session.committed()
    connection = session.connection
    transport = connection.transport or session.resume()
    connection.send_releases(transport)
    assert isinstance(transport, LocalTransport)
    other = transport.find(connection.session)
    try:
        with transport.joint_step(connection.session):
            early = session.overlap and connection.replies_early
            yield connection.session, session.next_step, early
    except RefusedError as error:
        if error.reason in ("session", "permission"):
            session.forget()
        raise
    finally:
        if other is not None and other.next_step > session.next_step:
            session.next_step = other.next_step
            connection.stepped(other.moment)


def durable_steps(session: ClientSession) -> int:
    """What the last reply of such a step would have said of checkpoints."""
    other = server_side(session)
    return 0 if other is None else int(other.body.durable_steps(other))


def count(
    session: ClientSession, uplink_bytes: int, downlink_bytes: int
) -> None:
    """Counts what such a step would have sent over a network."""
    transport = session.connection.transport
    assert transport is not None
    transport.uplink_bytes += uplink_bytes
    transport.downlink_bytes += downlink_bytes
