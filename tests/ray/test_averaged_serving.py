"""Replicas whose bodies become one: real processes, real gRPC."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from keras_split.aggregation.variables import is_averaged
from keras_split.client.retry import Retry
from keras_split.ray import serve
from keras_split.ray.runtime import runtime
from keras_split.server.storage.checkpoints import read_last
from tests import links
from tests import nets
from tests.ray.test_serving import Kills

STEPS = 12
NEVER = 10_000
QUICK = Retry(give_up_s=90, first_s=0.1, longest_s=1.0)


@pytest.fixture(scope="module")
def cluster():
    with runtime("local", cpus=2) as ray:
        yield ray


def phone(replicated, seed):
    """A phone that has data of its own; trains so many steps."""
    client, _ = links.halves()
    address = f"grpc://{replicated.target}"
    links.compile(client, address=address, retry=QUICK)

    def train(steps):
        x, y = links.batch(8 * steps, seed=seed)
        client.fit(x, y, batch_size=8, shuffle=False, verbose=0)

    return client, train


def bodies(replicated):
    """What averages make one of each replica's body, and moments."""
    made = replicated._replicas
    states = made._ray.get(
        [place.actor.give.remote() for place in made._places]
    )
    return [floats(state.values) for state in states]


def floats(values):
    return [array for array in values if is_averaged(array)]


def averaged(replicated, count):
    """Has the next average come now, and waits for it."""
    averaging = replicated._replicas.averaging
    averaging._every = 2
    end = time.monotonic() + 30
    while replicated.averages < count:
        assert time.monotonic() < end
        time.sleep(0.1)
    averaging._every = NEVER
    time.sleep(0.5)  # until both took it


def mean_of(one, other):
    return [
        (a.astype("float64") + b) / 2 for a, b in zip(one, other, strict=True)
    ]


def read_both(folder, server):
    """What both replicas have written last."""
    fingerprint = server.contract.fingerprint
    return [read_last(folder / f"replica-{n}", fingerprint)[0] for n in (0, 1)]


@pytest.mark.slow
def test_bodies_become_their_mean_and_one_that_was_killed_too(
    cluster, tmp_path
):
    _, server = links.halves()
    with serve(
        *(server,),
        replicas=2,
        average_every=NEVER,
        port=0,
        checkpoints=tmp_path,
        checkpoint_every=3,
    ) as replicated:
        phones = [phone(replicated, seed) for seed in (1, 2)]
        for _, train in phones:
            train(4)
        assert all(len(look.sessions) == 1 for look in replicated.replicas)
        before = bodies(replicated)
        averaged(replicated, 1)
        first = bodies(replicated)

        # Four more steps each; then one loses its process, and what it had
        # taken behind its last checkpoint.
        for _, train in phones:
            train(4)
        killed = replicated.replicas[0].process
        os.kill(killed, signal.SIGKILL)
        for _, train in phones:
            train(4)
        again = bodies(replicated)
        averaged(replicated, 2)
        second = bodies(replicated)
        processes = [look.process for look in replicated.replicas]
        for client, _ in phones:
            client.close()

    assert nets.largest_difference(*before) > 1e-3
    assert nets.largest_difference(*first) == 0
    assert nets.largest_difference(first[0], mean_of(*before)) < 1e-6
    assert killed not in processes and len(processes) == 2
    assert nets.largest_difference(*again) > 1e-3
    assert nets.largest_difference(*second) == 0
    # Both count, by what each has taken since, so it is between the two.
    for low, high, found in zip(*again, second[0], strict=True):
        assert (np.minimum(low, high) - 1e-6 <= found).all()
        assert (found <= np.maximum(low, high) + 1e-6).all()
    assert nets.largest_difference(floats(links.state(server)), second[0]) == 0


@pytest.mark.slow
@pytest.mark.long
def test_phones_train_one_body_while_replicas_die(cluster, tmp_path):
    _, server = links.halves()
    with serve(
        *(server,),
        replicas=2,
        average_every=3,
        port=0,
        checkpoints=tmp_path,
        checkpoint_every=3,
    ) as replicated:
        phones = [phone(replicated, seed) for seed in (1, 2)]
        kills = Kills(replicated, [3, 8])
        phones[0][0].strategy.session.taps += (kills,)
        threads = [
            threading.Thread(target=train, args=(STEPS,)) for _, train in phones
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        count = replicated.averages
        losses = [c.evaluate(*links.batch(32), verbose=0) for c, _ in phones]
        bodies(replicated)  # has them written, with their sessions
        kept = read_both(tmp_path, server)
        taken = [s.next_step for one in kept for s in one.sessions]
        for client, _ in phones:
            client.close()

    assert len(set(kills.killed)) == 2 and count >= 2
    # Each step was taken once: an order is refused in which one is missing.
    assert taken == [STEPS, STEPS]
    assert np.isfinite(losses).all()
    last = [floats(one.body) for one in read_both(tmp_path, server)]
    assert nets.largest_difference(*last) < 1e-6
    served = floats(links.state(server))
    assert nets.largest_difference(served, last[0]) < 1e-6
