"""A server's status as Prometheus reads it."""

import itertools
import math
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.times import Times


class Families:
    """A collector of prometheus_client: asks anew at each scrape.

    Args:
        status: Tells what the server is doing.
    """

    def __init__(self, status: Callable[[], ServerStatus]) -> None:
        self._status = status
        self._began = time.time()

    def collect(self) -> Iterator[Any]:
        """The metrics, a family each."""
        now = self._status()
        cohort = now.cohort or CohortStatus()
        yield self._counter(
            "steps", "Steps that changed the body.", {"": now.steps}
        )
        yield self._counter(
            "bytes",
            "Bytes of messages.",
            {"uplink": now.uplink_bytes, "downlink": now.downlink_bytes},
            "direction",
        )
        yield self._counter(
            "refusals", "Messages refused.", now.refusals, "reason"
        )
        yield self._counter(
            "sessions_opened", "Sessions opened.", {"": now.sessions_opened}
        )
        yield self._counter(
            "sessions_resumed",
            "Times that a client came back to its session.",
            {"": now.sessions_resumed},
        )
        yield self._counter(
            "sessions_closed", "Sessions ended.", now.sessions_closed, "reason"
        )
        yield self._seconds(
            "queue",
            "How long a backward waited for its turn.",
            now.queue_times,
        )
        yield self._seconds(
            "compute",
            "How long forward and backward took.",
            now.compute_times,
        )
        yield self._seconds(
            "checkpoint",
            "How long it took to write a checkpoint.",
            now.checkpoint_times,
        )
        yield self._counter(
            "merged_steps",
            "Steps over the examples of several phones.",
            {"": cohort.steps},
        )
        yield self._seconds(
            "merged_step", "How long a merged step took.", cohort.step_times
        )
        yield self._counter(
            "rounds",
            "Rounds after which the halves of phones became one.",
            {"": cohort.rounds},
        )
        yield self._counter(
            "left_out",
            "Times that a phone was left out of one of these.",
            {"": cohort.left_out},
        )
        yield self._seconds(
            "round", "How long a round took.", cohort.round_times
        )
        yield self._gauge(
            "phones", "Phones of the cohort that are here.", len(cohort.present)
        )
        yield self._gauge(
            "sessions", "Sessions that are open.", len(now.sessions)
        )
        yield self._gauge(
            "connections",
            "Clients that are there.",
            sum(session.connected for session in now.sessions),
        )
        yield self._gauge(
            "draining",
            "1 while the server is about to stop and takes no new sessions.",
            int(now.draining),
        )
        age = now.checkpoint_age_s
        yield self._gauge(
            "checkpoint_age_seconds",
            "Since the last checkpoint was written or read; NaN without one.",
            math.nan if age is None else age,
        )

    def _counter(
        self, name: str, text: str, values: Mapping[str, int], label: str = ""
    ) -> Any:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(_full(name), text, labels=_labels(label))
        for which, value in values.items():
            labels = [which] if label else []
            family.add_metric(labels, value, created=self._began)
        return family

    def _seconds(self, name: str, text: str, times: Times) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        full = _full(f"{name}_seconds")
        family = HistogramMetricFamily(full, text, labels=())
        bounds = [*(str(float(bound)) for bound in times.bounds_s), "+Inf"]
        sums = itertools.accumulate(times.counts or [0])
        family.add_metric([], [*zip(bounds, sums, strict=True)], times.total_s)
        family.add_sample(f"{full}_created", {}, self._began)
        return family

    def _gauge(self, name: str, text: str, value: float) -> Any:
        from prometheus_client.core import GaugeMetricFamily

        return GaugeMetricFamily(_full(name), text, value=value)


def _full(name: str) -> str:
    return f"keras_split_{name}"


def _labels(label: str) -> tuple[str, ...]:
    return (label,) if label else ()
