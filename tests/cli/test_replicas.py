"""`keras-split serve --replicas`."""

import json
import socket
import sys
import time
import urllib.request

import pytest

from keras_split.client.retry import Retry
from keras_split.client.tap import SessionTap
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Forward
from keras_split.protocol.wire.split_pb2 import StatusReply
from keras_split.server.web import calls
from keras_split.training import tf_threads
from keras_split_cli.replicas import Replicas
from tests import links
from tests import nets
from tests.cli import commands
from tests.cli.commands import run
from tests.disturbances import ServeProcess
from tests.server.web.browsers import Browser

FRONT = ("--replicas", "2", "--bodies", "private")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray", "auto"], "--replicas beside --ray"),
        (["--replica-cpus", "2"], "--replicas beside --replica-cpus"),
        (["--average-every", "9"], "--replicas beside --average-every"),
        (
            [*FRONT, "--web", "0", "--web-client", "client.tflite"],
            "no --web-client with --replicas",
        ),
        (
            [*FRONT, "--web", "0", "--host", "0.0.0.0", "--insecure"],
            "--operator-token or --tokens",
        ),
        (["--replicas", "2", "--save", "a.keras"], "no --save"),
        (["--replicas", "2", "--average-every", "1"], "--cohort merged"),
        (["--replicas", "2", "--average-every", "0"], "2 steps or more"),
        (
            ["--replicas", "2", "--cohort", "private", "--phones", "3"],
            "a merged cohort",
        ),
        (["--replicas", "2"], "--average-every"),
        (
            ["--replicas", "2", "--bodies", "private", "--average-every", "9"],
            "bodies='private'",
        ),
        (
            ["--replicas", "2", "--bodies", "private", "--audit-log", "no/a"],
            "an audit log that can be written",
        ),
    ],
)
def test_what_several_cannot_do_is_refused_before_anything_is_loaded(
    options, said
):
    done = run("serve", "mobilenet_v2", *options)

    assert done.returncode == 1
    assert said in done.stderr.replace("\n", " ")
    assert "Loading" not in done.stderr


def test_none_is_up_before_they_are_started():
    found = Replicas(2).status().replicas

    assert [(one.name, one.up) for one in found] == [("0", False), ("1", False)]


def test_who_has_no_ray_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    done = run("serve", "mobilenet_v2", "--replicas", "2")

    assert done.returncode == 1
    assert "Expected Ray" in done.stderr


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def scraped(port):
    """What Prometheus would read, each sample as `name{label="value"}`."""
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if line[0] != "#"]
    return {name: float(value) for name, value in samples}


@pytest.mark.slow
def test_phones_train_with_two_processes_behind_one_address(tmp_path):
    client, server = links.halves()
    server.save(tmp_path / "server.keras")
    x, y = links.batch(16)
    port, web = free_port(), free_port()

    with ServeProcess(
        *(tmp_path / "server.keras", "--bodies", "private"),
        *("--replicas", 2, "--checkpoints", tmp_path / "state"),
        *("--metrics-port", port, "--audit-log", tmp_path / "audit.jsonl"),
        *("--web", web),
    ) as process:
        address = f"grpc://{process.target}"
        links.compile(client, address=address)
        client.fit(x, y, batch_size=8, verbose=0)
        with (
            links.wire(process.target) as wire,
            pytest.raises(RefusedError, match="goes where the server sends"),
        ):
            wire.exchange(links.hello(server.contract))
        time.sleep(1)  # so that the front has asked again
        found = commands.python(
            *("-m", "keras_split_cli", "status", address, "--json")
        )
        samples = scraped(port)
        asked = Browser(web).ask(
            "POST", calls.STATUS, b"", content_type=calls.KIND
        )
        half = Browser(web).get("/client.json")
        client.close()
        code = process.stop()

    assert code == 0
    assert found.returncode == 0, found.stderr
    front = '{reason="unimplemented",replica="front"}'
    assert samples[f"keras_split_refusals_total{front}"] == 1
    assert (asked[0], half[0]) == (200, 501)
    shown = StatusReply.FromString(asked[2])
    assert (shown.steps, len(shown.replicas)) == (2, 3)
    status = json.loads(found.stdout)
    names = [one["name"] for one in status["replicas"]]
    assert names == ["front", "0", "1"]
    assert status["steps"] == 2 and len(status["sessions"]) == 1
    steps = {one["name"]: one["status"]["steps"] for one in status["replicas"]}
    assert steps.pop(status["sessions"][0]["replica"]) == 2
    assert set(steps.values()) == {0}
    for name in ("0", "1"):
        label = f'{{replica="{name}"}}'
        assert samples[f"keras_split_replica_up{label}"] == 1
        assert samples[f"keras_split_steps_total{label}"] == (
            2 if name == status["sessions"][0]["replica"] else 0
        )
    kept = [*(tmp_path / "state").iterdir()]
    assert sorted(path.name for path in kept) == ["replica-0", "replica-1"]
    logs = {path.name: path for path in tmp_path.glob("audit*.jsonl")}
    assert sorted(logs) == [
        *("audit.jsonl", "audit.replica-0.jsonl", "audit.replica-1.jsonl"),
    ]
    lines = [
        json.loads(line)
        for path in logs.values()
        for line in path.read_text().splitlines()
    ]
    refused = [line for line in lines if line["event"] == "refused"]
    assert [line["reason"] for line in refused] == ["unimplemented"]
    assert "replica" not in refused[0]
    taken = [line for line in lines if line["event"] == "step"]
    assert [line["step"] for line in taken] == [0, 1]
    number = int(status["sessions"][0]["replica"])
    assert {line["replica"] for line in taken} == {number}


class Kill(SessionTap):
    """Kills a server in the middle of a session, and starts it again."""

    def __init__(self, process):
        self.process = process

    def sent(self, message):
        if isinstance(message, Forward) and message.step == 3:
            if not self.process.deaths:
                self.process.kill()


def weights(client, taps=()):
    """Of a phone, after six steps."""
    client.strategy.session.taps += taps
    x, y = links.batch(48)
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    client.close()
    return [*client.head.get_weights(), *client.tail.get_weights()]


@pytest.mark.slow
def test_a_phone_goes_on_when_front_and_replicas_died(tmp_path):
    client, server = links.halves()
    server.save(tmp_path / "server.keras")
    alone, _ = links.halves()
    quiet = weights(links.compile(alone))

    with ServeProcess(
        *(tmp_path / "server.keras", "--bodies", "private", "--replicas", 1),
        *("--replica-cpus", tf_threads.cores()),  # sums in the same order
        *("--checkpoints", tmp_path / "state", "--checkpoint-every", 2),
    ) as process:
        address, retry = f"grpc://{process.target}", Retry(give_up_s=120)
        links.compile(client, address=address, retry=retry)
        found = weights(client, [Kill(process)])

    assert process.deaths == 1
    assert nets.largest_difference(found, quiet) == 0
