import contextlib
import gc
import math
import re
import socket
import sys
import threading
import time
import urllib.request
from urllib.error import URLError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from keras_split.errors import BackendError
from keras_split.errors import TransportError
from keras_split.protocol.status import FRONT
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.status_sum import as_one
from keras_split.protocol.times import Times
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.observe.metrics import Metrics

ANN = Caller("ann", "ipv4:10.0.0.2:4000")


def scrape(metrics):
    with metrics.serve(0) as served:
        url = f"http://127.0.0.1:{served.port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as reply:
            text = reply.read().decode()
    return list(text_string_to_metric_families(text))


def values(metrics):
    """Each sample as `name{label="value"}`."""
    found = {}
    for family in scrape(metrics):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sample.labels.items())
            found[sample.name + (f"{{{labels}}}" if labels else "")] = (
                sample.value
            )
    return found


@pytest.fixture
def busy():
    """Metrics of a server on which everything happened."""
    metrics = Metrics()
    for session in ("s", "t", "u"):
        metrics.opened(session, ANN)
    metrics.left("t")
    metrics.closed("u", "goodbye")
    metrics.carried("s", 100, 20)
    metrics.committed(StepCommitted("s", 0, 0.02, 0.3))
    metrics.committed(StepCommitted("s", 1, 0.2, 0.3))
    metrics.refused("s", ANN, "shape")
    metrics.checkpointed("path", 0.5)
    metrics.loaded("path", {"v": 4})
    metrics.resumed("v", ANN, 4)
    return metrics


def test_counters_and_gauges_say_what_happened(busy):
    found = values(busy)

    expected = {
        "keras_split_steps_total": 2,
        "keras_split_bytes_total{direction=uplink}": 100,
        "keras_split_bytes_total{direction=downlink}": 20,
        "keras_split_refusals_total{reason=shape}": 1,
        "keras_split_sessions_opened_total": 3,
        "keras_split_sessions_closed_total{reason=goodbye}": 1,
        "keras_split_sessions_resumed_total": 1,
        "keras_split_sessions": 3,
        "keras_split_connections": 2,
        "keras_split_checkpoint_seconds_count": 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["keras_split_checkpoint_age_seconds"] >= 0
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_histograms_hold_the_times_of_steps(busy):
    found = values(busy)

    assert found["keras_split_queue_seconds_count"] == 2
    assert math.isclose(found["keras_split_queue_seconds_sum"], 0.22)
    assert math.isclose(found["keras_split_compute_seconds_sum"], 0.6)
    assert found["keras_split_queue_seconds_bucket{le=0.025}"] == 1
    assert found["keras_split_queue_seconds_bucket{le=+Inf}"] == 2


def test_names_and_texts_are_as_promtool_wants_them(busy):
    families = [f for f in scrape(busy) if f.name.startswith("keras_split")]

    assert len(families) >= 12
    for family in families:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert family.documentation.strip()
        assert family.type in ("counter", "gauge", "histogram")
        if family.type == "counter":
            # The parser takes the ending off, so look at the samples.
            assert all(
                s.name.endswith(("_total", "_created")) for s in family.samples
            )
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_no_series_is_made_by_what_a_client_chose():
    metrics = Metrics()

    def run(numbers):
        for number in numbers:
            metrics.opened(str(number), Caller(f"client {number}"))
            metrics.refused(str(number), ANN, f"reason {number}")
            metrics.carried(str(number), 1, 1)
            metrics.committed(StepCommitted(str(number), number, 0.1, 0.1))
            metrics.closed(str(number), f"reason {number}")

    run([0])
    before = set(values(metrics))
    run(range(1, 200))

    assert set(values(metrics)) == before
    assert values(metrics)["keras_split_refusals_total{reason=other}"] == 200
    assert values(metrics)["keras_split_sessions"] == 0


def test_without_a_checkpoint_its_age_is_no_number():
    age = values(Metrics())["keras_split_checkpoint_age_seconds"]

    assert math.isnan(age)


def test_two_servers_in_one_process_count_apart(busy):
    assert values(Metrics())["keras_split_steps_total"] == 0
    assert values(busy)["keras_split_steps_total"] == 2


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(TransportError, match=f"127.0.0.1:{port} for met"):
            Metrics().serve(port)
    gc.collect()  # what it had opened, so that a leak is seen in this test


def test_those_who_ask_for_nothing_get_few_threads_and_shut_out_nobody():
    with Metrics().serve(0) as served, contextlib.ExitStack() as stack:
        before = threading.active_count()
        for _ in range(60):
            address = ("127.0.0.1", served.port)
            stack.enter_context(socket.create_connection(address))
        url = f"http://127.0.0.1:{served.port}/metrics"
        began = time.monotonic()
        with urllib.request.urlopen(url, timeout=30) as reply:
            text = reply.read().decode()
        took_s = time.monotonic() - began
        threads = threading.active_count() - before

    assert "keras_split_steps_total" in text and took_s < 4
    assert threads < 20


def test_the_port_is_free_after_close():
    served = Metrics().serve(0)
    url = f"http://127.0.0.1:{served.port}/metrics"

    served.close()

    with pytest.raises(URLError):
        urllib.request.urlopen(url, timeout=30)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(BackendError, match=r"pip install .*'prometheus-client"):
        Metrics()


def test_a_cohort_is_counted():
    metrics = Metrics()
    for member in range(3):
        metrics.enrolled("s", member)
        metrics.enrolled("s", member)
    metrics.away("s", 1)
    metrics.merged(StepMerged(0, (0, 2), (1,)))
    metrics.round_ended(RoundEnded(0, (0,), (1, 2), 2.0))

    found = {
        name: metrics.registry.get_sample_value(f"keras_split_{name}")
        for name in ("phones", "merged_steps_total", "rounds_total")
    }
    assert found == {"phones": 2, "merged_steps_total": 1, "rounds_total": 1}
    value = metrics.registry.get_sample_value
    assert value("keras_split_left_out_total") == 3
    assert value("keras_split_round_seconds_sum") == 2.0
    assert value("keras_split_merged_step_seconds_count") == 1


def test_a_server_that_is_about_to_stop_says_so():
    metrics = Metrics()
    before = values(metrics)["keras_split_draining"]

    metrics.stopping()

    assert before == 0 and values(metrics)["keras_split_draining"] == 1


def test_each_counter_says_since_when_it_counts(busy):
    found = values(busy)
    began = found["keras_split_steps_created"]

    assert abs(time.time() - began) < 600
    assert found["keras_split_queue_seconds_created"] == began
    assert found["keras_split_refusals_created{reason=shape}"] == began


def replicas():
    """Two, of which one is down, and their front."""
    one = ServerStatus(
        "f",
        steps=3,
        sessions=(SessionStatus("s", connected=True), SessionStatus("t")),
        refusals={"shape": 1},
        memory_bytes=1 << 20,
        queue_times=Times((0.1, 1.0), (2, 1, 0), 0.5),
    )
    front = ServerStatus("f", refusals={"shape": 5}, memory_bytes=7)
    return as_one(
        [
            ReplicaStatus(FRONT, up=True, status=front),
            ReplicaStatus("0", "h:1", True, 0.2, 0, one),
            ReplicaStatus("1", "h:2", False, 60.0, 2, one),
        ],
        averages=4,
    )


def test_each_replica_has_series_of_its_own():
    found = values(Metrics(replicas))

    expected = {
        "keras_split_replica_up{replica=0}": 1,
        "keras_split_replica_up{replica=1}": 0,
        "keras_split_replica_restarts_total{replica=1}": 2,
        "keras_split_replica_silent_seconds{replica=1}": 60,
        "keras_split_replica_memory_bytes{replica=0}": 1 << 20,
        "keras_split_steps_total{replica=0}": 3,
        "keras_split_steps_total{replica=1}": 3,
        "keras_split_refusals_total{reason=shape,replica=front}": 5,
        "keras_split_refusals_total{reason=shape,replica=1}": 1,
        "keras_split_queue_seconds_count{replica=0}": 3,
        "keras_split_queue_seconds_bucket{le=0.1,replica=0}": 2,
        "keras_split_sessions{replica=0}": 2,
        "keras_split_connections{replica=0}": 1,
        "keras_split_averages_total": 4,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_a_replica_that_is_down_keeps_its_counts_and_has_no_gauges():
    found = values(Metrics(replicas))
    down = {name for name in found if "replica=1" in name}
    up = {name for name in found if "replica=0" in name}
    front = {name for name in found if "replica=front" in name}

    missing = {
        name.partition("{")[0].removeprefix("keras_split_") for name in up
    }
    missing -= {n.partition("{")[0].removeprefix("keras_split_") for n in down}
    assert missing == {
        *("sessions", "connections", "draining", "phones"),
        *("checkpoint_age_seconds", "replica_memory_bytes"),
    }
    assert front == {
        "keras_split_refusals_total{reason=shape,replica=front}",
        "keras_split_refusals_created{reason=shape,replica=front}",
    }


def test_one_server_has_the_same_names_without_the_label(busy):
    several = {family.name for family in scrape(Metrics(replicas))}
    alone = {family.name for family in scrape(busy)}

    assert {name for name in several - alone if "replica" not in name} == {
        *("keras_split_averages", "keras_split_averages_created"),
    }
