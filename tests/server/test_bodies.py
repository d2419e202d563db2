"""Private bodies: each client trains as if alone, bit for bit."""

import functools
import gc
import threading
import time
import weakref

import keras
import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.server.callbacks import Caller
from keras_split.server.service import TrainingService
from keras_split.utils import workers
from tests import links

NOBODY, ANN, BEN = Caller(), Caller("ann"), Caller("ben")
STEPS = 4


@pytest.fixture(scope="module")
def served():
    """A body that nobody may change."""
    server = links.halves()[1]
    before = links.state(server)
    yield server
    assert links.same(links.state(server), before)


def private(server, **options):
    return TrainingService(server.half, bodies="private", **options)


def enter(host, server, caller=NOBODY, optimizer=links.MOMENTUM, **options):
    hello = Hello(server.contract, optimizer, **options)
    welcome = host.handle(hello, caller)
    assert isinstance(welcome, Welcome), welcome
    return welcome.session


def step(host, server, session, number, seed, caller=NOBODY):
    """One step; its replies."""
    return links.take_step(
        lambda message: host.handle(message, caller),
        session,
        server.contract,
        number,
        seed,
    )


def body_of(host, session):
    (found,) = [s for s in host._sessions if s.name == session]
    return found.body


def everything(host, session):
    """What a session has trained: the body, and its slots."""
    (found,) = [s for s in host._sessions if s.name == session]
    half = found.body.half
    return half.weights() + list(found.optimizer.weights())


@functools.cache
def alone(seed, steps=STEPS, optimizer=links.MOMENTUM, own=None):
    """What a client ends with that has a server for itself."""
    server = links.halves()[1]
    if own is not None:
        server.compile(own())
    host = server.host()
    session = enter(host, server, optimizer=optimizer)
    for number in range(steps):
        step(host, server, session, number, seed + number)
    return everything(host, session)


def interleaved(host, server, sessions, steps=STEPS):
    """Forwards of all sessions, then their backwards, step by step."""
    for number in range(steps):
        for seed, session in sessions.items():
            smashed = links.smashed(server.contract, seed=seed + number)
            host.handle(Forward(session, number, smashed))
        for seed, session in reversed(sessions.items()):
            grad = links.features_grad(
                server.contract, seed=seed + number + 100
            )
            host.handle(Backward(session, number, grad, 0.1))


def test_two_clients_each_train_as_if_alone(served):
    host = private(served)
    sessions = {seed: enter(host, served) for seed in (0, 50)}

    interleaved(host, served, sessions)

    for seed, session in sessions.items():
        assert links.same(everything(host, session), alone(seed))
    moments = [host.find(session).moment for session in sessions.values()]
    assert len({moment.run for moment in moments}) == 2
    assert {moment.steps for moment in moments} == {STEPS}
    assert not served.moment
    host.close_all()


def test_with_an_optimizer_of_the_server_each_has_slots_of_its_own():
    def own():
        return keras.optimizers.Adam(0.01)

    server = links.halves()[1]
    server.compile(own())
    host = server.host(bodies="private")
    sessions = {seed: enter(host, server) for seed in (0, 50)}

    interleaved(host, server, sessions)

    for seed, session in sessions.items():
        assert links.same(everything(host, session), alone(seed, own=own))


def test_clients_with_the_same_name_train_one_body(served):
    host = private(served)
    one = enter(host, served, ANN)
    other = enter(host, served, ANN)
    third = enter(host, served, BEN)

    assert body_of(host, one) is body_of(host, other)
    assert body_of(host, one) is not body_of(host, third)
    assert len(list(host._bodies)) == 2
    host.close_all()


def test_clients_of_private_bodies_do_not_wait_for_each_other(served):
    host = private(served)
    one, other = enter(host, served), enter(host, served)
    replies = []

    with body_of(host, one).turns.take("somebody"):
        worker = threading.Thread(
            target=lambda: replies.extend(step(host, served, other, 0, 0))
        )
        worker.start()
        worker.join(60)

    assert len(replies) == 2
    host.close_all()


@pytest.mark.parametrize("caller", [NOBODY, ANN], ids=["session", "client"])
def test_a_server_that_died_goes_on_with_every_body(tmp_path, caller, served):
    options = {"checkpoints": tmp_path, "checkpoint_every": 2}
    host = private(served, **options)
    callers = {0: caller, 50: BEN}
    names = {seed: enter(host, served, who) for seed, who in callers.items()}
    for number in range(3):
        for seed, session in names.items():
            step(host, served, session, number, seed + number, callers[seed])
    for body in host._bodies:
        body._checkpointer.wait()  # and then it dies

    host = private(links.halves()[1], **options)
    for seed, session in names.items():
        who = callers[seed]
        hello = Hello(served.contract, session=session, next_step=3)
        welcome = host.handle(hello, who)
        assert 1 <= welcome.next_step <= 3 and welcome.keeps_checkpoints
        for number in range(welcome.next_step, STEPS):
            step(host, served, session, number, seed + number, who)

    for seed, session in names.items():
        assert links.same(everything(host, session), alone(seed))


def test_a_stopped_server_has_lost_no_body(tmp_path, served):
    host = private(served, checkpoints=tmp_path)
    names = {0: enter(host, served), 50: enter(host, served, ANN)}
    step(host, served, names[0], 0, 0)
    step(host, served, names[50], 0, 50, ANN)
    before = {seed: everything(host, name) for seed, name in names.items()}
    host.close_all()

    host = private(links.halves()[1], checkpoints=tmp_path)

    assert not list(tmp_path.glob("checkpoint-*"))
    for seed, session in names.items():
        assert links.same(everything(host, session), before[seed])


def test_a_client_with_a_name_finds_its_body_after_its_goodbye(
    tmp_path, served
):
    host = private(served, checkpoints=tmp_path)
    session = enter(host, served, ANN)
    for number in range(2):
        step(host, served, session, number, number, ANN)
    trained = body_of(host, session).half.weights()
    host.handle(Goodbye(session), ANN)

    for again in (host, private(links.halves()[1], checkpoints=tmp_path)):
        assert not list(again._bodies)
        session = enter(again, served, ANN)
        assert links.same(body_of(again, session).half.weights(), trained)
        again.handle(Goodbye(session), ANN)


def test_nothing_is_kept_of_a_body_that_nobody_can_ask_for(tmp_path, served):
    host = private(served, checkpoints=tmp_path)
    session = enter(host, served)
    step(host, served, session, 0, 0)
    assert list((tmp_path / "bodies").iterdir())

    host.handle(Goodbye(session))

    assert not list((tmp_path / "bodies").iterdir())


@pytest.mark.parametrize("ends", ["goodbye", "idle", "room"])
def test_the_memory_of_a_body_is_free_when_its_session_ends(ends, served):
    host = private(served, max_sessions=1, idle_timeout_s=1e4)
    session = enter(host, served)
    links.take_step(host.handle, session, served.contract)
    host.handle(Forward(session, 1, links.smashed(served.contract)))
    half = weakref.ref(body_of(host, session).half)
    kernel = weakref.ref(half().body.variables[0])

    if ends == "goodbye":
        host.handle(Goodbye(session))
    elif ends == "idle":
        host._sessions._places[session].seen -= 2e4
        host._sessions.sweep()
    else:
        host.leave(session)
        host._sessions._places[session].seen -= 1e4
        host._sessions._places[session].left -= 1e4
        enter(host, served)

    assert wait_for(lambda: half() is None and kernel() is None)
    host.close_all()


def wait_for(condition, seconds=20):
    """A thread may hold the last step that it ran until it runs another."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        done = threading.Event()
        for _ in range(len(workers._IDLE) + 1):
            workers.start(done.wait)
        done.set()
        time.sleep(0.05)
        gc.collect()
    return condition()


def test_there_are_no_more_bodies_than_sessions_allowed(served):
    host = private(served, max_sessions=2)
    enter(host, served), enter(host, served)

    refusal = host.handle(links.hello(served.contract))

    assert refusal.reason == "busy"
    assert len(list(host._bodies)) == 2
    host.close_all()


def test_a_snapshot_comes_back_in_another_session_of_its_client(served):
    host = private(served)
    session = enter(host, served)
    step(host, served, session, 0, 0)
    trained = body_of(host, session).half.weights()
    tag = host.handle(Snapshot(session)).tag
    host.handle(Goodbye(session))

    session = enter(host, served)
    host.handle(Restore(session, tag, True))

    assert links.same(body_of(host, session).half.weights(), trained)
    host.close_all()


def test_a_snapshot_of_one_client_is_none_of_another(served):
    host = private(served)
    one, other = enter(host, served, ANN), enter(host, served, BEN)
    tag = host.handle(Snapshot(one), ANN).tag

    refusal = host.handle(Restore(other, tag), BEN)

    assert refusal.reason == "snapshot"
    host.close_all()


def test_a_client_that_is_refused_leaves_no_body_behind(served):
    host = private(served)

    refusal = host.handle(Hello(served.contract, '{"class_name": "None"}'))

    assert refusal.reason == "optimizer"
    assert not list(host._bodies)


def test_another_kind_of_bodies_is_none(served):
    with pytest.raises(OptionError, match="one of shared, private. Received"):
        TrainingService(served.half, bodies="own")


def test_checkpoints_of_the_other_kind_are_refused(tmp_path, served):
    server = links.halves()[1]
    shared, other = tmp_path / "shared", tmp_path / "private"
    TrainingService(server.half, checkpoints=shared)
    private(server, checkpoints=other)

    with pytest.raises(DataError, match="Expected checkpoints of private"):
        private(server, checkpoints=shared)
    with pytest.raises(DataError, match="--bodies private"):
        TrainingService(server.half, checkpoints=other)


def fit(client, address, seed):
    """Losses of a few steps over gRPC."""
    x, y = links.batch(24, seed)
    links.compile(client, keras.optimizers.Adam(0.01), address)
    history = client.fit(x, y, 8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"]


def variables(client):
    return [np.array(v) for v in client.variables]


@pytest.mark.slow
def test_two_phones_over_grpc_each_train_as_if_alone():
    expected, expected_logs = {}, {}
    for seed in (1, 2):
        with links.served("int8") as (client, _, address):
            expected_logs[seed] = fit(client, address, seed)
            expected[seed] = variables(client)

    logs = {}
    with links.served("int8", bodies="private") as (one, _, address):
        clients = {1: one, 2: links.halves("int8")[0]}
        threads = [
            threading.Thread(
                target=lambda c=client, s=seed: logs.update(
                    {s: fit(c, address, s)}
                )
            )
            for seed, client in clients.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        clients[2].close()

    assert logs == expected_logs
    for seed, client in clients.items():
        assert links.same(variables(client), expected[seed])
