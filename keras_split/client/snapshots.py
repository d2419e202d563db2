"""Copies of the body that its server keeps for a client."""

from keras_split.client.session import ClientSession
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken


def take(session: ClientSession, *, held: bool = False) -> str:
    """Has the server keep a copy of the body; returns its tag.

    It is empty where the body of the server never changes.

    Args:
        session: An open one.
        held: Whether it stays before others until it is released, for one
            that memory here names; a file may be forgotten.

    Raises:
        RefusedError: If the server refused it.
        TransportError: If the server went away, or no session is open.
    """
    message = Snapshot(session.connection.session, held)
    try:
        return session.ask(SnapshotTaken, message).tag
    except RefusedError as error:
        if error.reason != "inference-only":
            raise
        return ""  # that body never moves, and need not be brought back


def restore(
    session: ClientSession, tag: str, *, optimizer: bool = False
) -> None:
    """Has the server bring a copy back.

    Args:
        session: An open one.
        tag: What `take` returned, in this session or before.
        optimizer: Whether with the slots of the body's optimizer.

    Raises:
        RefusedError: If the server has it no more, or refused it.
        TransportError: If the server went away, or no session is open.
    """
    connection = session.connection
    session.ask(Done, Restore(connection.session, tag, optimizer))
    connection.apart = ""
    if connection.replay_log is not None:
        connection.replay_log.clear()  # it wrote a checkpoint


def release(session: ClientSession, tag: str) -> None:
    """Tells the server that a copy is no longer needed.

    It is told with the next message, because garbage collection calls this at
    any time, in the middle of an exchange too.
    """
    session.connection.unneeded.append(tag)
