import contextlib
import json
import sys
import threading
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_split.compression.rules import Quantization
from keras_split.models.server_link import describe_loss
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Checkpoint
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.protocol.messages import payload_bytes
from keras_split.server import body
from keras_split.server.callbacks import Caller
from keras_split.server.service import TrainingService
from keras_split.server.session import Session
from tests import links


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def host(server):
    before = server.half.weights()
    host = TrainingService(server.half)
    yield host
    host.close_all()
    server.half.set_weights(before)


def enter(host, server, **options):
    """Opens a session and returns its name."""
    return host.handle(links.hello(server.contract, **options)).session


def test_hello_opens_a_session(host, server):
    welcome = host.handle(links.hello(server.contract))

    assert isinstance(welcome, Welcome)
    assert welcome.next_step == 0
    assert welcome.notice == ""


def test_the_largest_message_is_that_of_the_largest_batch(server):
    host = TrainingService(server.half, max_batch=10)
    uplink, downlink = server.contract.bytes_per_sample(10)

    assert host.handle(links.hello(server.contract)).max_message_bytes == (
        max(uplink, downlink) * 10 + 65536
    )


def test_a_model_that_is_cut_once_says_where_the_labels_go():
    client, server = links.halves(cut=["first"])
    links.compile(client)
    hello = replace(links.hello(server.contract), loss=describe_loss(client))

    welcome = server.host().handle(hello)

    assert welcome.notice == (
        "This model is cut once: labels travel to the server."
    )


def test_a_checkpoint_is_not_promised_by_a_server_that_keeps_none(host, server):
    session = enter(host, server)

    refusal = host.handle(Checkpoint(session))

    assert refusal.reason == "checkpoint"
    assert "Expected a server that keeps checkpoints" in refusal.text
    assert host.handle(Goodbye(session)) == Done()  # which promises nothing


def test_sessions_follow_one_another(host, server):
    names = []
    for _ in range(3):
        name = enter(host, server)
        names.append(name)
        _, reply = links.take_step(host.handle, name, server.contract)
        assert isinstance(reply, SmashedGrad)
        assert host.handle(Goodbye(name)) == Done()

    assert len(set(names)) == 3


def test_sessions_share_the_body(host, server):
    one, other = enter(host, server), enter(host, server)
    infer = Infer(other, links.smashed(server.contract))
    before = host.handle(infer)

    links.take_step(host.handle, one, server.contract)

    after = host.handle(infer)
    assert (before.tensors[0].codes != after.tensors[0].codes).any()


def test_each_session_has_an_optimizer_of_its_own(host, server):
    """One goes on with its momentum, whoever takes steps in between."""
    start = server.half.weights()
    after = []
    for disturbed in (False, True):
        server.half.set_weights(start)
        one = enter(host, server, optimizer=links.MOMENTUM)
        links.take_step(host.handle, one, server.contract)
        between = server.half.weights()
        slots = slots_of(host, one)
        if disturbed:
            other = enter(host, server, optimizer=links.MOMENTUM)
            links.take_step(host.handle, other, server.contract, seed=3)
            server.half.set_weights(between)
        assert any(slot.any() for slot in slots)
        assert links.same(slots_of(host, one), slots)
        links.take_step(host.handle, one, server.contract, 1, seed=1)
        after.append(links.state(server))
        host.handle(Goodbye(one))

    assert links.same(after[0], after[1])


def slots_of(host, session):
    """Momentum and the like of a session."""
    return [np.array(slot) for slot in host.find(session).state().slots]


def test_messages_wait_for_their_turn_client_by_client(
    host, server, monkeypatch
):
    """Whoever opens two sessions has no more of the body."""
    callers = [Caller("a"), Caller("a"), Caller("b")]
    names = [
        host.handle(links.hello(server.contract), caller).session
        for caller in callers
    ]
    answered = []

    def handle(session, message, early=None):
        answered.append(names.index(session.name))
        return Done()

    monkeypatch.setattr(Session, "handle", handle)
    turns = host._sessions.find(names[0], callers[0]).body.turns
    threads = []
    with turns.take("somebody else"):
        for name, caller in zip(names, callers, strict=True):
            infer = Infer(name, [])
            thread = threading.Thread(target=host.handle, args=(infer, caller))
            thread.start()
            threads.append(thread)
            time.sleep(0.05)  # they come one after the other
        too_soon = list(answered)
    for thread in threads:
        thread.join(10)

    assert too_soon == []
    assert answered == [0, 2, 1]


def test_steps_of_two_sessions_may_interleave(host, server):
    one, other = enter(host, server), enter(host, server)
    smashed = links.smashed(server.contract)
    grad = links.features_grad(server.contract)

    replies = []
    for step in range(3):
        replies += [
            host.handle(Forward(s, step, smashed)) for s in (one, other)
        ]
        replies += [
            host.handle(links.Backward(s, step, grad, 0.1))
            for s in (other, one)
        ]

    kinds = [Features, Features, SmashedGrad, SmashedGrad] * 3
    assert [type(reply) for reply in replies] == kinds


def test_four_threads_train_one_body_at_the_same_time(host, server):
    steps, failures = 10, []
    half = server.half
    commits = []
    original = half.backward

    def counted(*args, **options):
        reply = original(*args, **options)
        commits.append(args[3])
        return reply

    def run(seed):
        name = enter(host, server)
        for step in range(steps):
            replies = links.take_step(
                host.handle, name, server.contract, step, seed=seed + step
            )
            failures.extend(r for r in replies if isinstance(r, Refusal))

    half.backward = counted
    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        del half.backward

    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert len(commits) == 4 * steps
    assert len(set(commits)) == 4  # an optimizer a session
    assert all(np.isfinite(value).all() for value in links.state(server))


def test_one_session_more_than_allowed_is_refused(server):
    host = TrainingService(server.half, max_sessions=2)
    first, _ = enter(host, server), enter(host, server)

    refused = host.handle(links.hello(server.contract))
    host.handle(Goodbye(first))
    accepted = host.handle(links.hello(server.contract))

    assert refused == Refusal(
        "busy",
        "Expected fewer than 2 sessions at a time. Received: one more. Try "
        "again later.",
    )
    assert isinstance(accepted, Welcome)


def test_a_session_that_was_silent_for_too_long_makes_room(server):
    host = TrainingService(server.half, max_sessions=1, idle_timeout_s=0.5)
    forgotten = enter(host, server)
    time.sleep(0.6)

    accepted = host.handle(links.hello(server.contract))

    assert isinstance(accepted, Welcome)
    assert host.handle(Snapshot(forgotten)).reason == "session"


def test_a_session_that_is_not_open_is_refused(host, server):
    name = enter(host, server)
    host.handle(Goodbye(name))

    refusal = host.handle(Snapshot(name))

    assert refusal == Refusal(
        "session",
        "Expected a session that is open. Received: one that is not. Say "
        "hello first; the server may have been restarted, or the session was "
        "silent for too long.",
    )


def test_a_message_without_a_session_is_refused(host):
    assert host.handle(Done()).reason == "session"


@pytest.mark.parametrize("protocol", [0, 2])
def test_another_protocol_version_is_refused(host, server, protocol):
    hello = replace(links.hello(server.contract), protocol=protocol)

    refusal = host.handle(hello)

    assert refusal == Refusal(
        "protocol",
        f"Expected protocol version 1. Received: {protocol}. Install the same "
        "keras_split on the phone and on the server.",
    )


@pytest.mark.parametrize(
    "reason, part, change",
    [
        ("fingerprint", "the layers", {"fingerprint": "0" * 64}),
        (
            "quantization",
            "quantization",
            {"quantization": Quantization("int4")},
        ),
        ("codec", "codec", {"codec": "zstd"}),
        ("cut", "labels", {"labels_on_server": True}),
    ],
)
def test_another_contract_is_refused(host, server, reason, part, change):
    refusal = host.handle(links.hello(replace(server.contract, **change)))

    assert refusal.reason == reason
    assert refusal.text.startswith(f"Expected {part}")


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"class_name": "SGD", "config": {"momentum": "much"}}',
        '{"class_name": "SGD", "config": {"no_such_option": 1}}',
        '{"class_name": 5, "config": {}}',
        '{"class_name": "Dense", "config": {"units": 3}}',
        '{"class_name": "no_such_optimizer", "config": {}}',
        '{"class_name": "Optimizer", "config": {"learning_rate": 0.1}}',
    ],
)
def test_an_optimizer_that_is_none_is_refused(host, server, config):
    refusal = host.handle(links.hello(server.contract, config))

    assert isinstance(refusal, Refusal), "accepted"
    assert refusal.reason == "optimizer"
    assert "Expected" in refusal.text and "Received: " in refusal.text


def test_a_client_s_config_imports_nothing(host, server):
    config = (
        '{"class_name": "SGD", "module": "this", "registered_name": "SGD",'
        ' "config": {"learning_rate": {"class_name": "s", "module": "this",'
        ' "config": {}}}}'
    )

    host.handle(links.hello(server.contract, config))

    assert "this" not in sys.modules


def test_clients_of_equal_optimizers_share_a_graph():
    """Tracing takes seconds; names and learning rates do not matter."""
    _, server = links.halves()
    host = server.host()

    for rate in (0.1, 0.2, 0.3):
        config = keras.optimizers.serialize(keras.optimizers.Adam(rate))
        enter(host, server, optimizer=json.dumps(config))

    assert len(server.half.optimizers._steps) == 1


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Lion"])
def test_optimizers_of_keras_are_accepted(host, server, name):
    optimizer = getattr(keras.optimizers, name)(0.01)
    config = keras.saving.serialize_keras_object(optimizer)

    session = enter(host, server, optimizer=json.dumps(config))
    _, reply = links.take_step(host.handle, session, server.contract)

    assert isinstance(reply, SmashedGrad)


def test_a_server_s_own_optimizer_is_used_for_every_client():
    _, server = links.halves()
    server.compile(keras.optimizers.SGD(0.1))
    host = server.host()

    for config in ("", links.MOMENTUM, "no optimizer"):
        name = enter(host, server, optimizer=config)
        links.take_step(host.handle, name, server.contract)

    assert int(server.optimizer.iterations) == 3


def test_a_server_s_own_optimizer_outlives_its_clients():
    _, server = links.halves()
    server.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    host = server.host()

    for _ in range(2):
        name = enter(host, server)
        _, reply = links.take_step(host.handle, name, server.contract)
        host.handle(Goodbye(name))

    assert isinstance(reply, SmashedGrad)
    assert int(server.optimizer.iterations) == 2


def test_sessions_may_come_and_go_while_others_train(host, server):
    name = enter(host, server, optimizer=links.MOMENTUM)
    failures, over = [], threading.Event()

    def visit():
        while not over.is_set():
            guest = enter(host, server, optimizer=links.MOMENTUM)
            replies = links.take_step(host.handle, guest, server.contract)
            failures.extend(r for r in replies if isinstance(r, Refusal))
            host.handle(Goodbye(guest))

    guests = [threading.Thread(target=visit) for _ in range(2)]
    for guest in guests:
        guest.start()
    for step in range(50):
        replies = links.take_step(host.handle, name, server.contract, step)
        failures.extend(r for r in replies if isinstance(r, Refusal))
    over.set()
    for guest in guests:
        guest.join(60)

    assert not failures


def test_a_session_that_left_gives_its_slots_to_nobody(host, server):
    """The next client of the same config starts without momentum."""
    start = server.half.weights()
    expected = []
    for _ in range(2):
        server.half.set_weights(start)
        name = enter(host, server, optimizer=links.MOMENTUM)
        links.take_step(host.handle, name, server.contract)
        host.handle(Goodbye(name))
        expected.append(links.state(server))

    assert links.same(*expected)


def test_an_error_of_the_server_is_refused_and_logged(
    host, server, monkeypatch, caplog
):
    name = enter(host, server)

    def fail(tensors):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(server.half, "infer", fail)
        refusal = host.handle(Infer(name, links.smashed(server.contract)))
    served = host.handle(Infer(name, links.smashed(server.contract)))

    assert refusal == Refusal(
        "internal",
        "Expected to answer a Infer. Received: MemoryError on the server; its "
        "log has the traceback. Nothing was changed.",
    )
    assert "MemoryError" in caplog.text
    assert isinstance(served, Features)


def test_layers_frozen_between_sessions_stay_as_they_are():
    _, server = links.halves()
    host = server.host()
    name = enter(host, server)
    links.take_step(host.handle, name, server.contract)
    server.body.get_layer("middle").trainable = False
    before = [np.array(v) for v in server.body.get_layer("middle").variables]

    name = enter(host, server)
    _, reply = links.take_step(host.handle, name, server.contract)

    after = [np.array(v) for v in server.body.get_layer("middle").variables]
    assert isinstance(reply, SmashedGrad)
    assert links.same(after, before)


@pytest.fixture
def computing(host, server, monkeypatch):
    """A Forward stops in the middle until it is told to go on."""
    inside, go_on = threading.Event(), threading.Event()
    forward = server.half.forward

    def slow(*args, **options):
        inside.set()
        assert go_on.wait(20)
        return forward(*args, **options)

    monkeypatch.setattr(server.half, "forward", slow)

    @contextlib.contextmanager
    def computing(session):
        replies = []
        message = Forward(session, 0, links.smashed(server.contract))
        thread = threading.Thread(
            target=lambda: replies.append(host.handle(message))
        )
        thread.start()
        assert inside.wait(20)
        yield replies
        go_on.set()
        thread.join(20)

    return computing


@pytest.mark.parametrize("end", ["close", "leave"])
def test_a_step_whose_client_goes_meanwhile_does_not_wait(
    host, server, computing, end
):
    session = enter(host, server)

    with computing(session) as replies:
        getattr(host, end)(session)

    assert isinstance(replies[0], Features)
    assert server.half.in_flight.waiting == 0


def test_a_forward_behind_a_goodbye_finds_no_session(host, server, computing):
    session = enter(host, server)
    replies = []
    messages = [
        Goodbye(session),
        Forward(session, 0, links.smashed(server.contract)),
    ]

    with computing(session):
        threads = []
        for message in messages:
            threads.append(
                threading.Thread(
                    target=lambda m=message: replies.append(host.handle(m))
                )
            )
            threads[-1].start()
            time.sleep(0.05)
    for thread in threads:
        thread.join(20)

    assert replies[0] == Done()
    assert replies[1].reason == "session"
    assert server.half.in_flight.waiting == 0


def test_a_batch_over_the_limit_is_refused_however_it_travels(server):
    host = TrainingService(server.half, max_batch=7)
    session = enter(host, server)
    tensors = links.smashed(server.contract, size=8)

    for message in (Forward(session, 0, tensors), Infer(session, tensors)):
        refusal = host.handle(message)
        assert refusal.reason == "size"
        assert "at most 7 examples" in refusal.text
        assert "Received: 8." in refusal.text
    assert server.half.in_flight.waiting == 0
    host.close_all()
    TrainingService(server.half).close_all()  # and the default limits again


def unsaid(server, session, step):
    grad = links.features_grad(server.contract)
    return Backward(session, step, grad, 0.0, rate_said=False)


def test_a_session_that_never_said_a_learning_rate_is_told_so(host, server):
    session = enter(host, server)
    host.handle(Forward(session, 0, links.smashed(server.contract)))

    refusal = host.handle(unsaid(server, session, 0))

    assert refusal.reason == "learning-rate"
    assert "Set learning_rate; for a rate of 0, too" in refusal.text
    said = replace(unsaid(server, session, 0), rate_said=True)
    assert isinstance(host.handle(said), SmashedGrad)


def test_a_schedule_of_an_older_client_may_end_with_a_rate_of_zero(
    host, server
):
    session = enter(host, server)
    links.take_step(host.handle, session, server.contract)
    host.handle(Forward(session, 1, links.smashed(server.contract)))

    assert isinstance(host.handle(unsaid(server, session, 1)), SmashedGrad)


def test_a_checkpoint_holds_the_youngest_replies_of_a_client(
    server, tmp_path, monkeypatch
):
    host = TrainingService(server.half, checkpoints=tmp_path)
    names = [enter(host, server) for _ in range(3)]
    replies = [
        links.take_step(host.handle, name, server.contract)[1] for name in names
    ]
    nbytes = payload_bytes(replies[0])
    monkeypatch.setattr(body, "REPLY_BYTES", 2 * nbytes)
    (one,) = host._bodies

    states = one._state().sessions

    assert [len(state.replies) for state in states] == [0, 1, 1]
    host.close_all()


def test_a_client_is_told_apart_by_what_it_has_computed_in_vain(host, server):
    ann, ben = Caller("ann"), Caller("ben")
    hello = links.hello(server.contract)
    names = {c: host.handle(hello, c).session for c in (ann, ben)}
    for _ in range(3):
        message = Forward(names[ann], 0, links.smashed(server.contract))
        host.handle(message, ann)
    links.take_step(lambda m: host.handle(m, ben), names[ben], server.contract)

    owed = {c.client: host.accounts.of(c)._owed() for c in (ann, ben)}

    assert owed["ann"] > 0
    assert owed["ben"] == 0


def test_files_that_are_written_for_a_client_are_charged_to_it(host, server):
    ann = Caller("ann")
    session = host.handle(links.hello(server.contract), ann).session

    tag = host.handle(Snapshot(session), ann).tag
    once = host.accounts.of(ann)._owed()
    host.handle(Restore(session, tag), ann)

    assert 0 < once < host.accounts.of(ann)._owed()
