"""Whatever happens on the way, the weights are those of a quiet run."""

import random
import subprocess
import sys
import threading
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_split.client.retry import Retry
from keras_split.client.strategy import SplitStrategy
from keras_split.device import Client
from keras_split.device import batches
from tests import links
from tests.disturbances import Proxy
from tests.disturbances import ServeProcess
from tests.disturbances import committed

STEPS, EPOCHS, SIZE = 200, 10, 8
# A server is back within 15 s; a client that lost its way shall fail soon.
RETRY = Retry(give_up_s=45, first_s=0.05, longest_s=0.5)
PATIENCE_S = 45  # for a reply
# Room for four steps in memory and some more on disk: then the phone has to
# ask for a checkpoint.
NARROW = replace(RETRY, memory_bytes=10_000, disk_bytes=15_000)


def halves(folder):
    client, server = links.halves("int8")
    server.save(folder / "server.keras")
    return client


def train(
    client, target, steps=STEPS, epochs=EPOCHS, retry=RETRY, overlap=False
):
    client.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=SplitStrategy(
            f"grpc://{target}",
            retry=retry,
            overlap=overlap,
            reply_timeout_s=PATIENCE_S,
        ),
    )
    x, y = links.batch(SIZE * steps // epochs)
    history = client.fit(
        x, y, batch_size=SIZE, epochs=epochs, shuffle=False, verbose=0
    )
    client.close()
    return history.history["loss"]


def serving(folder, name, bodies="shared"):
    save = ("--save", folder / f"{name}.keras")
    return ServeProcess(
        *(folder / "server.keras", "--checkpoints", folder / name),
        *("--checkpoint-every", 7, "--audit-log", folder / f"{name}.log"),
        *(save if bodies == "shared" else ("--bodies", bodies)),
    )


def run(folder, name, plan=lambda server: (), **options):
    """Trains through a proxy; returns losses, both halves and the log."""
    client = halves(folder)
    with serving(folder, name) as server:
        with Proxy(server.port, plan(server)) as proxy:
            losses = train(client, proxy.target, **options)
        assert server.stop() == 0
        body = keras.models.load_model(folder / f"{name}.keras")
    assert client.moment == body.moment
    weights = [v.numpy() for v in [*client.variables, *body.variables]]
    return losses, weights, committed(folder / f"{name}.log"), proxy, server


def run_here(folder, **options):
    """A quiet run with the server in this process, which starts faster."""
    client, server = links.halves("int8")
    state = {"checkpoints": folder / "quiet", "checkpoint_every": 7}
    with server.serve(port=0, **state) as running:
        with Proxy(running.port) as proxy:
            losses = train(client, proxy.target, **options)
    server.save(folder / "quiet.keras")
    body = keras.models.load_model(folder / "quiet.keras")
    weights = [v.numpy() for v in [*client.variables, *body.variables]]
    return losses, weights, proxy


def moments(total, count, seed):
    """Random numbers of bytes, not in the first or the last few messages."""
    numbers = random.Random(seed)
    return [int(numbers.uniform(0.02, 0.97) * total) for _ in range(count)]


@pytest.mark.slow
def test_five_deaths_and_ten_cuts_change_nothing(tmp_path):
    losses, weights, steps, quiet, _ = run(tmp_path, "quiet")
    points = moments(quiet.passed, 15, seed=4)

    def plan(server):
        return [(n, server.kill) for n in points[:5]] + [
            (n, "cut") for n in points[5:]
        ]

    again, others, taken, proxy, server = run(
        tmp_path, "chaos", plan, retry=NARROW, overlap=True
    )

    assert (len(proxy.done), server.deaths) == (15, 5)
    assert links.same(others, weights)
    assert again == losses
    assert list(taken.values()) == list(steps.values()) == [[*range(STEPS)]]


@pytest.mark.slow
def test_with_private_bodies_a_death_and_two_cuts_change_nothing(tmp_path):
    """Two phones train at once; each ends as one alone with a quiet server."""
    short = {"steps": 20, "epochs": 2}
    losses, weights, _, quiet, _ = run(tmp_path, "quiet", **short)
    points = moments(2 * quiet.passed, 3, seed=1)
    clients, found = [halves(tmp_path) for _ in range(2)], {}

    def phone(number, target):
        found[number] = train(clients[number], target, **short)

    with serving(tmp_path, "chaos", "private") as server:
        plan = [(points[0], server.kill), *((n, "cut") for n in points[1:])]
        with Proxy(server.port, plan) as proxy:
            phones = [
                threading.Thread(target=phone, args=(number, proxy.target))
                for number in range(2)
            ]
            for thread in phones:
                thread.start()
            for thread in phones:
                thread.join(120)
        assert server.stop() == 0

    assert (len(proxy.done), server.deaths) == (3, 1)
    assert found == {0: losses, 1: losses}
    for client in clients:
        own = [v.numpy() for v in client.variables]
        assert links.same(own, weights[: len(own)])
    taken = committed(tmp_path / "chaos.log")
    assert list(taken.values()) == [[*range(20)]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [False, True])
def test_a_death_and_two_cuts_change_nothing(tmp_path, overlap):
    short = {"steps": 20, "epochs": 2}
    losses, weights, quiet = run_here(tmp_path, **short)
    points = moments(quiet.passed, 3, seed=1)

    def plan(server):
        return [
            (points[0], server.kill),
            *((n, "cut") for n in points[1:]),
        ]

    again, others, taken, proxy, server = run(
        tmp_path, "chaos", plan, overlap=overlap, **short
    )

    assert (len(proxy.done), server.deaths) == (3, 1)
    assert links.same(others, weights)
    assert again == losses
    assert list(taken.values()) == [[*range(20)]]
    assert not np.isnan(losses).any()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_phone_that_is_killed_twice_goes_on(tmp_path):
    """`keras-split train --resume`, killed at random moments."""
    client = halves(tmp_path)
    x, y = links.batch(SIZE * STEPS // EPOCHS)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    client.save(tmp_path / "client.keras")
    found = []

    for name, kills in (("quiet", 0), ("chaos", 2)):
        with serving(tmp_path, name) as server:
            deaths = train_in_process(tmp_path, name, server, kills)
            assert server.stop() == 0
        ends = [tmp_path / f"{name}.keras", tmp_path / f"{name}_phone.keras"]
        models = [keras.models.load_model(path) for path in ends]
        found.append([v.numpy() for m in models for v in m.variables])
        assert deaths == kills

    assert links.same(*found)


def train_in_process(folder, name, server, kills):
    """Runs the command until it ends by itself; kills it some times."""
    rng = random.Random(7)
    command = [
        *(sys.executable, "-m", "keras_split_cli", "train"),
        *(folder / "client.keras", "--server", server.target),
        *("--data", folder / "data.npz", "--validation-split", "0"),
        *("--epochs", str(EPOCHS), "--batch-size", str(SIZE)),
        *("--resume", folder / f"{name}_state"),
        *("--save", folder / f"{name}_phone.keras"),
    ]
    deaths, states = 0, folder / f"{name}_state"
    while True:
        phone = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if deaths < kills:
            goal = deaths * 3 + 2  # epochs that are done by then
            while epochs_done(states) < goal and phone.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.1))
            phone.kill()
        if phone.wait(120) == 0:
            return deaths
        deaths += 1
        assert deaths <= kills


def epochs_done(states):
    names = sorted(path.name for path in states.glob("epoch-*"))
    return int(names[-1][6:12]) if names else 0


@pytest.mark.slow
def test_a_phone_with_litert_is_cut_off_ten_times(tmp_path):
    client = links.compile(halves(tmp_path), keras.optimizers.SGD(0.05, 0.9))
    client.export(tmp_path / "client.tflite", batch_size=SIZE)
    x, y = links.batch(SIZE * STEPS)
    found = []
    passed = 0

    for name in ("quiet", "chaos"):
        points = moments(passed, 10, seed=5) if passed else []
        with serving(tmp_path, name) as server:
            with Proxy(server.port, [(n, "cut") for n in points]) as proxy:
                phone = Client(
                    tmp_path / "client.tflite",
                    f"grpc://{proxy.target}",
                    retry=RETRY,
                    reply_timeout_s=PATIENCE_S,
                )
                phone.session.overlap = True  # as where the server is far
                history = phone.fit(batches(x, y, SIZE), verbose=False)
                state = phone.get_state()
                phone.close()
            assert server.stop() == 0
        assert len(proxy.done) == len(points)
        passed = proxy.passed
        body = keras.models.load_model(tmp_path / f"{name}.keras")
        found.append([*state.values(), *(v.numpy() for v in body.variables)])
        found[-1].append(history["loss"])
        taken = committed(tmp_path / f"{name}.log")
        assert list(taken.values()) == [[*range(STEPS)]]

    assert links.same(*found)
