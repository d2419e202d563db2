"""A server's status as Prometheus reads it."""

import math
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.server.observe.series import Member
from keras_split.server.observe.series import Series


class Families:
    """A collector of prometheus_client: asks anew at each scrape.

    Of a server that is several processes, each replica has series of its own,
    with its number as the label `replica`; their sum is what one server would
    tell. What the front refuses itself has the label `replica="front"`.

    Args:
        status: Tells what the server is doing.
    """

    def __init__(self, status: Callable[[], ServerStatus]) -> None:
        self._status = status
        self._began = time.time()

    def collect(self) -> Iterator[Any]:
        """The metrics, a family each."""
        now = self._status()
        members = [_member(one, now) for one in now.replicas]
        series = Series(members or [Member(now)], self._began)
        yield from _of_each(series)
        yield from _of_cohort(series)
        if members:
            yield from _of_replicas(series)
            yield Series([Member(now)], self._began).counter(
                "averages",
                "Times that the bodies of replicas became one.",
                lambda one: {"": one.status.averages},
            )


def _member(one: ReplicaStatus, now: ServerStatus) -> Member:
    mine = tuple(s for s in now.sessions if s.replica == one.name)
    return Member(replace(one.status, sessions=mine), one)


def _of_each(series: Series) -> Iterator[Any]:
    """What every server tells."""
    yield series.counter(
        "steps",
        "Steps that changed the body.",
        lambda one: {"": one.status.steps},
    )
    yield series.counter(
        "bytes",
        "Bytes of messages.",
        lambda one: {
            "uplink": one.status.uplink_bytes,
            "downlink": one.status.downlink_bytes,
        },
        "direction",
    )
    yield series.counter(
        "refusals",
        "Messages refused.",
        lambda one: one.status.refusals,
        "reason",
        of_front=True,
    )
    yield series.counter(
        "sessions_opened",
        "Sessions opened.",
        lambda one: {"": one.status.sessions_opened},
    )
    yield series.counter(
        "sessions_resumed",
        "Times that a client came back to its session.",
        lambda one: {"": one.status.sessions_resumed},
    )
    yield series.counter(
        "sessions_closed",
        "Sessions ended.",
        lambda one: one.status.sessions_closed,
        "reason",
    )
    yield series.seconds(
        "queue",
        "How long a backward waited for its turn.",
        lambda one: one.status.queue_times,
    )
    yield series.seconds(
        "compute",
        "How long forward and backward took.",
        lambda one: one.status.compute_times,
    )
    yield series.seconds(
        "checkpoint",
        "How long it took to write a checkpoint.",
        lambda one: one.status.checkpoint_times,
    )
    yield series.gauge(
        "sessions",
        "Sessions that are open.",
        lambda one: len(one.status.sessions),
    )
    yield series.gauge(
        "connections",
        "Clients that are there.",
        lambda one: sum(s.connected for s in one.status.sessions),
    )
    yield series.gauge(
        "draining",
        "1 while the server is about to stop and takes no new sessions.",
        lambda one: int(one.status.draining),
    )
    yield series.gauge(
        "checkpoint_age_seconds",
        "Since the last checkpoint was written or read; NaN without one.",
        lambda one: _or_nan(one.status.checkpoint_age_s),
    )


def _of_cohort(series: Series) -> Iterator[Any]:
    """What phones do that train one model."""

    def cohort(one: Member) -> CohortStatus:
        return one.status.cohort or CohortStatus()

    yield series.counter(
        "merged_steps",
        "Steps over the examples of several phones.",
        lambda one: {"": cohort(one).steps},
    )
    yield series.seconds(
        "merged_step",
        "How long a merged step took.",
        lambda one: cohort(one).step_times,
    )
    yield series.counter(
        "rounds",
        "Rounds after which the halves of phones became one.",
        lambda one: {"": cohort(one).rounds},
    )
    yield series.counter(
        "left_out",
        "Times that a phone was left out of one of these.",
        lambda one: {"": cohort(one).left_out},
    )
    yield series.seconds(
        "round", "How long a round took.", lambda one: cohort(one).round_times
    )
    yield series.gauge(
        "phones",
        "Phones of the cohort that are here.",
        lambda one: len(cohort(one).present),
    )


def _of_replicas(series: Series) -> Iterator[Any]:
    """What only replicas tell."""

    def known(one: Member) -> ReplicaStatus:
        assert one.replica is not None
        return one.replica

    yield series.gauge(
        "replica_up",
        "1 while clients are sent to this replica.",
        lambda one: int(known(one).up),
        when_down=True,
    )
    yield series.gauge(
        "replica_silent_seconds",
        "Since this replica said what is told of it.",
        lambda one: known(one).silent_s,
        when_down=True,
    )
    yield series.counter(
        "replica_restarts",
        "Times that the process of this replica was started again.",
        lambda one: {"": known(one).restarts},
    )
    yield series.gauge(
        "replica_memory_bytes",
        "Memory that the process of this replica has in use.",
        lambda one: one.status.memory_bytes,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
