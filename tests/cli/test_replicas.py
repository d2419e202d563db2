"""`keras-split serve --replicas`."""

import sys

import pytest

from keras_split.client.retry import Retry
from keras_split.client.tap import SessionTap
from keras_split.protocol.messages import Forward
from keras_split.training import tf_threads
from tests import links
from tests import nets
from tests.cli import commands
from tests.cli.commands import run
from tests.disturbances import ServeProcess


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray", "auto"], "--replicas beside --ray"),
        (["--replica-cpus", "2"], "--replicas beside --replica-cpus"),
        (["--average-every", "9"], "--replicas beside --average-every"),
        (["--replicas", "2", "--web", "0"], "no --web with --replicas"),
        (["--replicas", "2", "--save", "a.keras"], "no --save"),
        (["--replicas", "2", "--metrics-port", "0"], "no --metrics-port"),
    ],
)
def test_what_is_of_one_process_is_refused(options, said):
    done = run("serve", "mobilenet_v2", *options)

    assert done.returncode == 1
    assert said in done.stderr.replace("\n", " ")


def test_who_has_no_ray_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    done = run("serve", "mobilenet_v2", "--replicas", "2")

    assert done.returncode == 1
    assert "Expected Ray" in done.stderr


@pytest.mark.slow
def test_phones_train_with_two_processes_behind_one_address(tmp_path):
    client, server = links.halves()
    server.save(tmp_path / "server.keras")
    x, y = links.batch(16)

    with ServeProcess(
        *(tmp_path / "server.keras", "--bodies", "private"),
        *("--replicas", 2, "--checkpoints", tmp_path / "state"),
    ) as process:
        address = f"grpc://{process.target}"
        links.compile(client, address=address)
        client.fit(x, y, batch_size=8, verbose=0)
        found = commands.python(
            *("-m", "keras_split_cli", "status", address, "--once")
        )
        client.close()
        code = process.stop()

    assert code == 0
    assert found.returncode == 0, found.stderr
    kept = [*(tmp_path / "state").iterdir()]
    assert sorted(path.name for path in kept) == ["replica-0", "replica-1"]


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
