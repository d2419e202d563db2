"""Whole models that train at the same time, in one process with the server.

It would be a deadlock if all of TensorFlow's threads waited for each other.
"""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from keras_split.errors import TransportError
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Refusal
from keras_split.training import in_flight
from keras_split.training import tf_threads
from tests import links


@pytest.mark.slow
def test_many_clients_train_at_the_same_time():
    clients = 9  # more than TensorFlow has threads
    _, server = links.halves()
    histories, steps = [], []
    with server.serve(port=0) as running:
        models = [
            links.compile(links.halves()[0], address=f"grpc://{running.target}")
            for _ in range(clients)
        ]

        def train(model):
            history = model.fit(
                *links.batch(32),
                batch_size=8,
                epochs=2,
                validation_data=links.batch(8),
                verbose=0,
            )
            histories.append(history.history)
            steps.append(model.strategy.next_step)

        workers = [
            threading.Thread(target=train, args=(model,), daemon=True)
            for model in models
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert not any(worker.is_alive() for worker in workers)
        for model in models:
            model.close()

    assert steps == [8] * clients
    assert np.isfinite([h["loss"] + h["val_loss"] for h in histories]).all()
    assert all(np.isfinite(value).all() for value in links.state(server))


def test_only_so_many_steps_of_a_body_wait():
    servers = [links.halves()[1] for _ in range(2)]

    for server in servers:
        host = server.host(max_sessions=in_flight.MAX_IN_FLIGHT + 2)
        smashed = links.smashed(server.contract)
        for _ in range(in_flight.MAX_IN_FLIGHT + 2):
            session = host.handle(links.hello(server.contract)).session
            reply = host.handle(Forward(session, 0, smashed))
            assert not isinstance(reply, Refusal)

    waiting = [server.half.in_flight.waiting for server in servers]
    for server in servers:
        server.half.abandon_all()
    assert waiting == [in_flight.MAX_IN_FLIGHT] * 2


def test_a_thread_stays_free():
    assert 0 < tf_threads.places()._value < tf_threads._pool()


def test_what_the_environment_says_counts(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")

    with pytest.raises(TransportError, match="Received: 1. "):
        tf_threads.check_room()


ALONE = """
from keras_split.protocol.messages import Backward, Forward
from tests import links

server = links.halves()[1]
host, contract = server.host(), server.contract
sessions = [host.handle(links.hello(contract)).session for _ in range(3)]
for step in range(2):
    for session in sessions:
        host.handle(Forward(session, step, links.smashed(contract)))
    for session in sessions:
        grad = links.features_grad(contract)
        reply = host.handle(Backward(session, step, grad, 0.1))
        print(type(reply).__name__)
"""


@pytest.mark.slow
def test_a_server_needs_one_thread():
    result = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "TF_NUM_INTEROP_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )

    assert result.stdout.split() == ["SmashedGrad"] * 6, result.stderr
