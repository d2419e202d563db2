"""All listeners on a real server, through two steps and a bad message."""

import json
import urllib.request

import pytest

from keras_split.errors import RefusedError
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.server.callbacks import label
from keras_split.server.observe import Audit
from keras_split.server.observe import Log
from keras_split.server.observe import Metrics
from tests import links

STEPS = 2


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """`(session, audit records, metrics as text)`."""
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    _, server = links.halves()
    metrics = Metrics()
    with Audit(path) as audit, metrics.serve(0) as page:
        listeners = [audit, metrics, Log()]
        with server.serve(port=0, listeners=listeners) as running:
            with links.wire(running.target) as wire:
                session = wire.exchange(links.hello(server.contract)).session
                for step in range(STEPS):
                    answer, contract = wire.exchange, server.contract
                    links.take_step(answer, session, contract, step)
                late = Forward(session, 9, links.smashed(server.contract))
                with pytest.raises(RefusedError):
                    wire.exchange(late)
                wire.exchange(Goodbye(session))
            url = f"http://127.0.0.1:{page.port}/metrics"
            with urllib.request.urlopen(url, timeout=30) as reply:
                text = reply.read().decode()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return session, records, text


def test_the_audit_log_has_the_session_from_hello_to_goodbye(told):
    session, records, _ = told

    mine = [r for r in records if r.get("session") == label(session)]
    assert [r["event"] for r in mine] == [
        "opened",
        "step",
        "step",
        "refused",
        "closed",
    ]
    assert [r["step"] for r in mine if r["event"] == "step"] == [0, 1]
    assert mine[-1]["reason"] == "goodbye"
    assert mine[-1]["uplink_bytes"] > 0 < mine[-1]["downlink_bytes"]
    assert mine[0]["peer"].startswith("ipv4:127.0.0.1:")


def test_neither_log_nor_metrics_tell_the_name_of_a_session(told):
    session, records, text = told

    assert session not in json.dumps(records)
    assert session not in text and label(session) not in text


def test_the_metrics_count_the_same_steps(told):
    _, _, text = told

    lines = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#"
    )
    assert float(lines["keras_split_steps_total"]) == STEPS
    assert float(lines["keras_split_compute_seconds_count"]) == STEPS
    assert float(lines["keras_split_compute_seconds_sum"]) > 0
    assert float(lines['keras_split_refusals_total{reason="order"}']) == 1
    assert float(lines["keras_split_sessions"]) == 0
    assert float(lines['keras_split_bytes_total{direction="uplink"}']) > 0
