"""A server of several processes of Ray."""

import os
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

from keras_split.client.retry import Retry
from keras_split.client.tap import SessionTap
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.protocol.messages import Forward
from keras_split.ray import place
from keras_split.ray import serve
from keras_split.ray.runtime import runtime
from keras_split.server.cohorts.config import CohortConfig
from keras_split.training import tf_threads
from tests import links
from tests import nets

STEPS = 12
CORES = tf_threads.cores()  # of each, so that sums are in the same order
QUICK = Retry(give_up_s=90, first_s=0.1, longest_s=1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--average-every"),
        ({"average_every": 1}, "--cohort merged"),
        ({"average_every": 0}, "2 steps or more"),
        ({"average_every": 9, "bodies": "private"}, "bodies='private'"),
        ({"average_every": 9, "inference_only": True}, "inference_only"),
        ({"replicas": 0, "bodies": "private"}, "1 replica or more"),
        ({"cohort": CohortConfig("shared", 2)}, "shared cohort"),
        ({"cohort": CohortConfig(), "average_every": 9}, "average_every"),
    ],
)
def test_what_several_cannot_serve_is_refused(options, said):
    _, server = links.halves()

    with pytest.raises(OptionError, match=said):
        serve(server, **options)


def test_sessions_of_replicas_that_are_no_more_are_not_forgotten(tmp_path):
    (tmp_path / "replica-2").mkdir()
    _, server = links.halves()

    with pytest.raises(OptionError, match="replica-2"):
        serve(server, replicas=2, bodies="private", checkpoints=tmp_path)


def test_an_audit_log_that_cannot_be_written_is_refused_at_once(tmp_path):
    _, server = links.halves()

    with pytest.raises(DataError, match="an audit log that can be written"):
        serve(server, bodies="private", audit_log=tmp_path / "none" / "a")


@pytest.fixture(scope="module")
def cluster():
    with runtime("local", cpus=2 * CORES) as ray:
        yield ray


class Kills(SessionTap):
    """Kills the replica that has a session, in some of its steps."""

    def __init__(self, replicated, steps):
        self.replicated, self.steps = replicated, set(steps)
        self.killed = []

    def sent(self, message):
        if isinstance(message, Forward) and message.step in self.steps:
            self.steps.remove(message.step)
            (look,) = (
                look
                for look in self.replicated.replicas
                if message.session in look.sessions
            )
            self.killed.append(look.process)
            os.kill(look.process, signal.SIGKILL)


def train(target, taps=()):
    """A phone that trains with a server, or with one of its own."""
    client, _ = links.halves()
    links.compile(
        client, address=target and f"grpc://{target}", retry=target and QUICK
    )
    client.strategy.session.taps += taps
    x, y = links.batch(8 * STEPS)
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    scores = np.array(client.evaluate(x, y, verbose=0))
    client.close()
    return [*client.head.get_weights(), *client.tail.get_weights(), scores]


@pytest.mark.slow
@pytest.mark.long  # so do two of which one dies, below
def test_one_replica_makes_the_numbers_of_none(cluster):
    alone = train(None)
    _, server = links.halves()

    with serve(
        server, replicas=1, cpus=CORES, port=0, bodies="private"
    ) as replicated:
        found = train(replicated.target)

    assert nets.largest_difference(found, alone) == 0


@contextmanager
def hung(replicated):
    """Stops the process of a replica until the front has noticed."""
    process = replicated.replicas[0].process
    os.kill(process, signal.SIGSTOP)
    try:
        while len(replicated.replicas) == 2:
            time.sleep(0.1)
        yield
    finally:
        os.kill(process, signal.SIGCONT)
    while len(replicated.replicas) < 2:
        time.sleep(0.1)


@pytest.mark.slow
def test_phones_go_on_where_their_replica_died(cluster, tmp_path, monkeypatch):
    alone = train(None)
    _, server = links.halves()

    with serve(
        *(server,),
        replicas=2,
        cpus=CORES,
        port=0,
        bodies="private",
        checkpoints=tmp_path,
        checkpoint_every=5,
    ) as replicated:
        before = {look.process for look in replicated.replicas}
        kills = Kills(replicated, [3, 8])
        found = train(replicated.target, [kills])
        monkeypatch.setattr(place, "_SILENT_S", 1.0)
        with hung(replicated):
            quiet = train(replicated.target)
            while_hung = replicated.status
        time.sleep(1)
        status = replicated.status

    assert len(set(kills.killed)) == 2
    assert set(kills.killed) - before, "the second was of the next process"
    assert nets.largest_difference(found, alone) == 0
    assert nets.largest_difference(quiet, alone) == 0
    assert status.fingerprint == server.contract.fingerprint
    assert sum(one.restarts for one in status.replicas) == 2
    assert sorted(one.up for one in while_hung.replicas) == [False, True, True]
    assert all(one.up for one in status.replicas)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "replica-0",
        "replica-1",
    ]


@pytest.mark.slow
def test_what_keeps_a_replica_from_starting_is_said(cluster, tmp_path):
    (tmp_path / "replica-0").write_text("in the way of a folder")
    _, server = links.halves()

    with pytest.raises(DataError, match="replica-0"):
        serve(
            *(server,),
            replicas=1,
            port=0,
            bodies="private",
            checkpoints=tmp_path,
        )
