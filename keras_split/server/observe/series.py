"""Families of Prometheus with a series of each server."""

import itertools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_split.protocol.status import FRONT
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.times import Times


@dataclass(frozen=True)
class Member:
    """A server whose series are told, or one replica of it.

    Attributes:
        status: What it does.
        replica: What is known of it as a replica; None if it is the server.
    """

    status: ServerStatus
    replica: ReplicaStatus | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Of each of its series."""
        return {} if self.replica is None else {"replica": self.replica.name}

    @property
    def up(self) -> bool:
        """Whether what it does is known now."""
        return self.replica is None or self.replica.up

    @property
    def is_front(self) -> bool:
        """Whether it has no sessions and does nothing but send to others."""
        return self.replica is not None and self.replica.name == FRONT


class Series:
    """Makes families of prometheus_client.

    Counters of a replica that is down stay where they are; it has no gauges.

    Args:
        members: Each has a series in every family.
        began: Since when all of them count, in seconds of `time.time`.
    """

    def __init__(self, members: Sequence[Member], began: float) -> None:
        self._all, self._began = members, began
        self._members = [one for one in members if not one.is_front]
        self._names = list(members[0].labels)

    def counter(
        self,
        name: str,
        text: str,
        of: Callable[[Member], Mapping[str, int]],
        label: str = "",
        *,
        of_front: bool = False,
    ) -> Any:
        """What only grows.

        Args:
            name: After `keras_split_`, without `_total`.
            text: What is counted.
            of: Numbers by the value of the label.
            label: A name; if it has none, there is one number, of `""`.
            of_front: Whether the front has any.
        """
        from prometheus_client.core import CounterMetricFamily

        labels = [*self._names, *([label] if label else [])]
        family = CounterMetricFamily(_full(name), text, labels=labels)
        for member in self._all if of_front else self._members:
            for which, value in of(member).items():
                values = [*member.labels.values(), *([which] if label else [])]
                family.add_metric(values, value, created=self._began)
        return family

    def seconds(
        self, name: str, text: str, of: Callable[[Member], Times]
    ) -> Any:
        """How long something takes: a histogram.

        Args:
            name: Between `keras_split_` and `_seconds`.
            text: What takes so long.
            of: The times.
        """
        from prometheus_client.core import HistogramMetricFamily

        full = _full(f"{name}_seconds")
        family = HistogramMetricFamily(full, text, labels=self._names)
        for member in self._members:
            times = of(member)
            bounds = [*(str(float(bound)) for bound in times.bounds_s), "+Inf"]
            sums = itertools.accumulate(times.counts or [0])
            family.add_metric(
                [*member.labels.values()],
                [*zip(bounds, sums, strict=True)],
                times.total_s,
            )
            family.add_sample(f"{full}_created", member.labels, self._began)
        return family

    def gauge(
        self,
        name: str,
        text: str,
        of: Callable[[Member], float],
        *,
        when_down: bool = False,
    ) -> Any:
        """What is so now.

        Args:
            name: After `keras_split_`.
            text: What it is.
            of: The number.
            when_down: Whether it is known of a replica that is down, too.
        """
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(_full(name), text, labels=self._names)
        for member in self._members:
            if member.up or when_down:
                family.add_metric([*member.labels.values()], of(member))
        return family


def _full(name: str) -> str:
    return f"keras_split_{name}"
