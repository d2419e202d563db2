"""Steps in one graph with a server in this process: nothing is said."""

import contextlib
import logging
import weakref
from collections.abc import Iterator
from typing import Any

from keras_split.client.session import ClientSession
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import RefusedError
from keras_split.transports import LocalTransport

_LOG = logging.getLogger("keras_split")
_TOLD: "weakref.WeakSet[SplitStrategy]" = weakref.WeakSet()


def server_side(session: ClientSession) -> Any:
    """The server's side of the session; None if it is not in this process."""
    local = session.connection.transport
    if not isinstance(local, LocalTransport):
        return None
    return local.find(session.connection.session)


def joint_side(strategy: SplitStrategy) -> Any:
    """The server's side, if steps may run in one graph with it, or None.

    That takes a server in this process that does not scale gradients down,
    whole batches, no reuse, nobody who listens, and the methods of a step as
    they are in `SplitStrategy`. The log tells of the last three, once for a
    strategy; that of a method is a warning, for who overrides one may not
    know the price.
    """
    other = server_side(strategy.session)
    if other is None or strategy.microbatches > 1:
        return None
    clips = other.body.guard.limits.clip_grad_norm is not None
    if clips or not other.body.half.joins:
        return None
    taps, method = strategy.session.taps, _overridden(strategy)
    if not (taps or method or strategy.reuse):
        return other
    if strategy not in _TOLD:
        _TOLD.add(strategy)
        _LOG.log(
            logging.WARNING if method else logging.INFO,
            "Steps are taken with messages, not in one graph with the "
            "server in this process, which is faster: %s. That alone "
            "changes no number.",
            _why_messages(strategy, method),
        )
    return None


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


def _why_messages(strategy: SplitStrategy, method: str) -> str:
    """Why steps are no graph with a server in this process."""
    if method:
        return f"{type(strategy).__name__} overrides {method}"
    for tap in strategy.session.taps:
        return f"{type(tap).__name__} listens to them"
    return "reuse=True leaves out what was sent before"


def _overridden(strategy: SplitStrategy) -> str:
    """The name of a method of a step that is not ours; empty if all are."""
    mine = type(strategy)
    for method in (
        SplitStrategy.forward,
        SplitStrategy.backward,
        SplitStrategy.committed,
    ):
        name = method.__name__
        if getattr(mine, name) is not method or name in vars(strategy):
            return name
    return ""
