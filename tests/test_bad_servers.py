"""What is left, and what is said, when the other process is away or wrong."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.client.tap import SessionTap
from keras_split.errors import BackendError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Refusal
from keras_split.training import in_flight
from keras_split.utils import workers
from tests import links

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


# -- servers that are not there ----------------------------------------------


def test_a_server_that_is_not_there_is_an_error_after_a_bounded_wait():
    client, _ = links.halves()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client.compile(
        "sgd",
        "mse",
        strategy=SplitStrategy(
            f"grpc://127.0.0.1:{port}", connect_timeout_s=0.5
        ),
    )
    began = time.monotonic()

    with pytest.raises(TransportError) as info:
        client.fit(*links.batch(8), verbose=0)

    assert time.monotonic() - began < 10
    assert str(info.value) == (
        f"Expected a keras_split server at 127.0.0.1:{port}. Received: no "
        "connection within 0.5 s. Start it with keras-split serve, and look "
        "at the host and the port."
    )


def test_a_port_in_use_is_an_error(server):
    with server.serve(port=0) as running:
        with pytest.raises(TransportError) as info:
            server.serve(port=running.port)

    assert str(info.value) == (
        f"Expected to listen on 127.0.0.1:{running.port}. Received: the "
        "address is in use or not of this machine. Choose another --port, or "
        "stop the server that has it."
    )


def python(code, *arguments, **options):
    """Runs code in another process; its output is text."""
    path = [str(ROOT), str(ROOT / "zoo"), str(ROOT / "cli")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **options.pop("env", {}),
    }
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def other_process(tmp_path):
    """The same server in a process of its own, from its saved file."""
    client, server = links.halves()
    server.save(tmp_path / "server.keras")
    process = python(
        """
        import sys
        import keras
        import keras_split.models

        server = keras.saving.load_model(sys.argv[1])
        running = server.serve(port=0)
        print(running.target, flush=True)
        running.wait()
        """,
        tmp_path / "server.keras",
    )
    try:
        target = process.stdout.readline().strip()
        assert target, process.stderr.read()
        yield client, process, f"grpc://{target}"
    finally:
        process.kill()
        process.communicate()


class Assassin(SessionTap):
    """Does something to the server between a forward and a backward."""

    deed = None

    def sent(self, message):
        if isinstance(message, Backward) and self.deed is not None:
            self.deed()


@pytest.mark.slow
def test_a_server_killed_in_mid_step_is_an_error_and_moves_nothing(
    other_process,
):
    client, process, address = other_process
    assassin = Assassin()
    strategy = SplitStrategy(
        address, taps=[assassin], retry=None, reply_timeout_s=60
    )
    links.compile(client)
    client.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
    )
    x, y = links.batch(8)
    client.train_on_batch(x, y)
    before = [np.array(v) for v in client.variables]
    slots = [np.array(v) for v in client.optimizer.variables]
    assassin.deed = lambda: os.kill(process.pid, signal.SIGKILL)
    began = time.monotonic()

    with pytest.raises(TransportError) as info:
        client.fit(x, y, verbose=0)

    target = address.removeprefix("grpc://")
    assert time.monotonic() - began < 30
    assert isinstance(info.value, ConnectionError)
    assert str(info.value).startswith(
        f"Expected a reply from {target} to the Backward of step 1. Received:"
        " UNAVAILABLE"
    )
    assert str(info.value).endswith(
        "The server went away or stalled; look at its log, start it again and "
        "call fit again."
    )
    assert not client.strategy.connected
    kept = len(client.weights)
    assert links.same([np.array(v) for v in client.weights], before[:kept])
    assert links.same([np.array(v) for v in client.optimizer.variables], slots)


@pytest.mark.slow
def test_a_server_that_stalls_in_mid_step_is_waited_for_only_so_long(
    other_process,
):
    client, process, address = other_process
    assassin = Assassin()
    strategy = SplitStrategy(
        address, taps=[assassin], retry=None, reply_timeout_s=60
    )
    client.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
    )
    x, y = links.batch(8)
    client.train_on_batch(x, y)
    before = [np.array(v) for v in client.weights]
    strategy.session.connection.transport._stream._timeout_s = 1.0
    assassin.deed = lambda: os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()

    with pytest.raises(TransportError, match=r"nothing after \d\.\d s"):
        client.fit(x, y, verbose=0)

    assert time.monotonic() - began < 15
    assert links.same([np.array(v) for v in client.weights], before)


def test_training_goes_on_when_the_server_is_back(tmp_path):
    """A new server on the same port, and fit again: all that is needed."""
    client, server = links.halves()
    x, y = links.batch(8)
    with server.serve(port=0) as running:
        port = running.port
        links.compile(client, address=f"grpc://{running.target}")
        client.fit(x, y, verbose=0)
    with pytest.raises(TransportError, match="The server went away"):
        client.fit(x, y, verbose=0)

    with server.serve(port=port):
        history = client.fit(x, y, verbose=0)
        client.close()

    assert np.isfinite(history.history["loss"][0])


@pytest.mark.slow
def test_one_thread_for_client_and_server_is_an_error_and_no_deadlock():
    process = python(
        """
        import tensorflow as tf
        tf.config.threading.set_inter_op_parallelism_threads(1)
        from tests import links
        client, _ = links.halves()
        links.compile(client)
        try:
            client.fit(*links.batch(8), verbose=0)
        except ConnectionError as error:
            print(type(error).__name__, error, sep=": ")
        """
    )

    try:
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()

    assert output.startswith(
        "TransportError: Expected 2 or more inter-op threads of TensorFlow, "
        "for a client and its server in one process. Received: 1. Call "
    ), errors


# -- another backend ---------------------------------------------------------

BACKEND = """
    import sys
    try:
        import keras_split
        keras_split.{name}
    except ImportError as error:
        print(type(error).__name__, error, sep=": ")
"""


@pytest.mark.parametrize("name", ["compile", "SplitStrategy", "Partition"])
def test_another_backend_of_keras_is_an_error(name):
    process = python(BACKEND.format(name=name), env={"KERAS_BACKEND": "numpy"})

    output, errors = process.communicate(timeout=120)

    assert output.strip() == (
        "BackendError: Expected Keras to run on TensorFlow. Received: the "
        "'numpy' backend. Set KERAS_BACKEND=tensorflow before Keras is "
        "imported."
    ), errors


def test_a_backend_that_keras_already_runs_on_is_an_error(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")

    with pytest.raises(BackendError, match="the 'jax' backend"):
        keras_split.compile(links.net(), links.CUT)


# -- nothing leaks -----------------------------------------------------------


def wait_for(condition, seconds=20):
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def busy_threads():
    """Threads that do something; idle ones are kept for the next step."""
    return threading.active_count() - len(workers._IDLE)


def test_abandoned_forwards_leave_no_threads(server):
    host = server.host()
    session = host.handle(links.hello(server.contract)).session
    message = Forward(session, 0, links.smashed(server.contract))
    for _ in range(20):
        host.handle(message)
    before, idle = busy_threads(), len(workers._IDLE)

    for _ in range(200):
        assert not isinstance(host.handle(message), Refusal)
    host.close(session)

    assert wait_for(lambda: busy_threads() <= before)
    assert len(workers._IDLE) <= idle + 10
    assert wait_for(lambda: not len(server.half.in_flight))
    assert not server.half.in_flight.waiting


def test_abandoned_sessions_leave_no_threads(server):
    host = server.host(max_sessions=300)
    smashed = links.smashed(server.contract)
    before = busy_threads()

    for _ in range(50):
        session = host.handle(links.hello(server.contract)).session
        host.handle(Forward(session, 0, smashed))
    parked = busy_threads()
    host.close_all()

    assert parked - before <= in_flight.MAX_IN_FLIGHT + 2
    assert wait_for(lambda: busy_threads() <= before)
    assert not server.half.in_flight.waiting


LEAVE = """
    from keras_split.compression import codecs
    from keras_split.protocol.messages import Forward
    from keras_split.transports.grpc.transport import GrpcTransport
    from tests import links

    client, server = links.halves()
    {setup}
    smashed = links.smashed(server.contract)
    reply = answer(Forward(session, 0, smashed))
    print(type(reply).__name__, server.half.in_flight.waiting, flush=True)
"""
IN_PROCESS = """host = server.host()
    answer = host.handle
    session = host.handle(links.hello(server.contract)).session"""
OVER_GRPC = """running = server.serve(port=0)
    answer = GrpcTransport(running.target, codecs.get("raw")).exchange
    session = answer(links.hello(server.contract)).session"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "setup", [IN_PROCESS, OVER_GRPC], ids=["in_process", "grpc"]
)
def test_a_process_ends_although_a_step_is_parked(setup):
    process = python(LEAVE.format(setup=setup))

    try:
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()

    assert output.strip() == "Features 1", errors
    assert process.returncode == 0
