"""Several servers that are seen as one."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import replace

from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.times import Times


def together(statuses: Sequence[ServerStatus]) -> ServerStatus:
    """What servers of one model do, as if they were one.

    Args:
        statuses: Of each, one or more. Bodies are several: there is no moment
            and no cohort of all.
    """
    ages = [
        status.checkpoint_age_s
        for status in statuses
        if status.checkpoint_age_s is not None
    ]
    return ServerStatus(
        statuses[0].fingerprint,
        statuses[0].cut,
        max(status.uptime_s for status in statuses),
        sum(status.steps for status in statuses),
        sum(status.uplink_bytes for status in statuses),
        sum(status.downlink_bytes for status in statuses),
        tuple(session for status in statuses for session in status.sessions),
        _counts(status.refusals for status in statuses),
        max(ages, default=None),  # whatever was written since, one would lose
        any(status.draining for status in statuses),
        sum(status.memory_bytes for status in statuses),
        inference_only=statuses[0].inference_only,
        queue_times=_times(status.queue_times for status in statuses),
        compute_times=_times(status.compute_times for status in statuses),
        checkpoint_times=_times(s.checkpoint_times for s in statuses),
        sessions_opened=sum(status.sessions_opened for status in statuses),
        sessions_resumed=sum(status.sessions_resumed for status in statuses),
        sessions_closed=_counts(status.sessions_closed for status in statuses),
    )


def as_one(parts: Sequence[ReplicaStatus], averages: int = 0) -> ServerStatus:
    """What processes do that share sessions, as one server and each by itself.

    Args:
        parts: The front and each replica, with its sessions. Nobody is
            connected to one that is not up.
        averages: How often their bodies became one.
    """
    sessions = tuple(
        replace(
            session,
            connected=session.connected and part.up,
            replica=part.name,
        )
        for part in parts
        for session in part.status.sessions
    )
    return replace(
        together([part.status for part in parts]),
        sessions=sessions,
        replicas=tuple(
            replace(part, status=replace(part.status, sessions=()))
            for part in parts
        ),
        averages=averages,
    )


def continued(before: ServerStatus, now: ServerStatus) -> ServerStatus:
    """What a process does, and what was counted of those in its place before.

    Args:
        before: The last of these, counted likewise.
        now: It.
    """
    counted = replace(
        before,
        uptime_s=0.0,
        sessions=(),
        checkpoint_age_s=None,
        draining=False,
        memory_bytes=0,
    )
    return replace(together([now, counted]), moment=now.moment)


def _counts(found: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in found:
        total.update(one)
    return dict(total)


def _times(found: Iterable[Times]) -> Times:
    """Sums of those with the same bounds; one that saw nothing has none."""
    seen = [times for times in found if times.bounds_s]
    if not seen:
        return Times()
    return Times(
        seen[0].bounds_s,
        tuple(map(sum, zip(*(times.counts for times in seen), strict=True))),
        sum(times.total_s for times in seen),
    )
