"""Sessions outlive connections, and with checkpoints the server."""

import errno
import json

import pytest

from keras_split.errors import DataError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Checkpoint
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import Welcome
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback
from keras_split.server.service import TrainingService
from keras_split.server.storage import checkpointer
from keras_split.server.storage.checkpoints import claim
from keras_split.utils import npz
from tests import links


def body():
    """A server's half in the state in which every test starts."""
    return links.halves()[1]


def hello(server, session="", next_step=0):
    return Hello(
        server.contract, links.MOMENTUM, session=session, next_step=next_step
    )


def step(host, server, session, number):
    return links.take_step(
        host.handle, session, server.contract, number, seed=number
    )


def trained(server, steps, **options):
    """A host whose only session has taken so many steps."""
    host = TrainingService(server.half, **options)
    session = host.handle(hello(server)).session
    for number in range(steps):
        step(host, server, session, number)
    return host, session


def checkpointer_of(host):
    (body,) = host._bodies
    return body._checkpointer


def everything(host):
    """The body that its session trains, and the slots."""
    (session,) = host._sessions
    return session.body.half.weights() + [*session.state().slots]


both_bodies = pytest.mark.parametrize("bodies", ["shared", "private"])


@pytest.fixture(scope="module")
def quiet():
    """What six steps without any trouble end with."""
    server = body()
    host, _ = trained(server, 6)
    return everything(host)


@both_bodies
@pytest.mark.parametrize("when", ["between steps", "inside a step"])
def test_a_session_goes_on_after_its_connection(quiet, when, bodies):
    server = body()
    host, session = trained(server, 3, bodies=bodies)
    if when == "inside a step":
        host.handle(Forward(session, 3, links.smashed(server.contract, seed=3)))
    host.leave(session)

    welcome = host.handle(hello(server, session, 3))
    for number in (3, 4, 5):
        step(host, server, session, number)

    assert welcome.session == session
    assert (welcome.next_step, welcome.durable_steps) == (3, 0)
    assert not welcome.keeps_checkpoints
    assert links.same(everything(host), quiet)


@both_bodies
def test_gradients_alone_finish_a_step_whose_connection_was_lost(quiet, bodies):
    server = body()
    host, session = trained(server, 5, bodies=bodies)
    host.handle(Forward(session, 5, links.smashed(server.contract, seed=5)))
    host.leave(session)
    host.handle(hello(server, session, 5))

    grad = links.features_grad(server.contract, seed=105)
    host.handle(Backward(session, 5, grad, 0.1))

    assert links.same(everything(host), quiet)


def test_a_lost_reply_is_given_again_and_no_step_taken(quiet):
    server = body()
    host, session = trained(server, 5)
    _, reply = step(host, server, session, 5)
    host.leave(session)

    welcome = host.handle(hello(server, session, 5))
    grad = links.features_grad(server.contract, seed=105)
    again = host.handle(Backward(session, 5, grad, 0.1))

    assert welcome.next_step == 6
    assert again.moment == reply.moment == welcome.moment
    assert reply.moment.steps == 6
    assert links.same(links.parts(again.tensors), links.parts(reply.tensors))
    assert links.same(everything(host), quiet)


@both_bodies
def test_a_server_that_died_goes_on_from_its_checkpoint(
    quiet, tmp_path, bodies
):
    server = body()
    options = {"checkpoints": tmp_path, "checkpoint_every": 3}
    options["bodies"] = bodies
    host, session = trained(server, 5, **options)
    checkpointer_of(host).wait()  # and then it dies, two steps later

    (there,) = host._sessions
    lost = there.moment

    server = body()
    host = TrainingService(server.half, **options)
    welcome = host.handle(hello(server, session, 5))
    for number in range(welcome.next_step, 6):
        step(host, server, session, number)

    assert 1 <= welcome.next_step < 5
    assert welcome.keeps_checkpoints
    (here,) = host._sessions
    assert (welcome.moment.run, lost.steps) == (lost.run, 5)
    # Others may have taken the steps that were lost another way round.
    assert here.moment.steps == 6 and here.moment.run != lost.run
    assert links.same(everything(host), quiet)


@both_bodies
def test_the_last_reply_outlives_the_server(tmp_path, bodies):
    server = body()
    options = {"checkpoints": tmp_path / "one", "bodies": bodies}
    host, session = trained(server, 1, **options)
    host.close_all()
    _, reply = step(*_alone(tmp_path / "other", server := body()), 0)

    host = TrainingService(server.half, **options)
    grad = links.features_grad(server.contract, seed=100)
    again = host.handle(Backward(session, 0, grad, 0.1))

    assert links.same(links.parts(again.tensors), links.parts(reply.tensors))


def _alone(folder, server):
    host = TrainingService(server.half, checkpoints=folder)
    return host, server, host.handle(hello(server)).session


@both_bodies
def test_a_stopped_server_has_lost_nothing(quiet, tmp_path, bodies):
    server = body()
    options = {"checkpoints": tmp_path, "bodies": bodies}
    host, session = trained(server, 5, **options)
    host.close_all()

    server = body()
    host = TrainingService(server.half, **options)
    welcome = host.handle(hello(server, session, 5))
    step(host, server, session, 5)

    assert (welcome.next_step, welcome.durable_steps) == (5, 5)
    assert links.same(everything(host), quiet)


def test_the_first_step_of_a_session_is_durable_before_its_answer(tmp_path):
    server = body()
    host, session = trained(server, 1, checkpoints=tmp_path)

    other = TrainingService(body().half, checkpoints=tmp_path)

    assert other.handle(hello(server, session, 1)).next_step == 1


@pytest.mark.parametrize("message", [Checkpoint, Goodbye])
def test_steps_can_be_made_sure_of(tmp_path, message):
    server = body()
    host, session = trained(server, 4, checkpoints=tmp_path)

    reply = host.handle(message(session))

    again = body()
    TrainingService(again.half, checkpoints=tmp_path)
    assert isinstance(reply, Done)
    assert links.same(links.state(again), links.state(server))


def test_what_was_restored_outlives_the_server(tmp_path):
    server = body()
    host, session = trained(server, 2, checkpoints=tmp_path)
    before = links.state(server)
    tag = host.handle(Snapshot(session)).tag
    step(host, server, session, 2)
    host.handle(Restore(session, tag, True))

    again = body()
    TrainingService(again.half, checkpoints=tmp_path)

    assert links.same(links.state(again), before)


def test_two_states_must_hold_a_step_before_it_counts(tmp_path):
    server = body()
    host, session = trained(server, 1, checkpoints=tmp_path, checkpoint_every=2)
    durable = []
    for number in range(1, 8):
        _, reply = step(host, server, session, number)
        checkpointer_of(host).wait()
        durable.append(reply.durable_steps)

    assert durable[0] <= 1
    assert durable == sorted(durable)
    assert 3 <= durable[-1] <= 6


def checkpoints_of(server, tmp_path, steps, **options):
    """How many were written after the first step of a session."""
    written = []

    class Ears(ServerCallback):
        def checkpointed(self, path, took_s):
            written.append(path)

    host, session = trained(server, 1, checkpoints=tmp_path, events=Ears())
    checkpointer_of(host)._every_bytes = options["every_bytes"]
    before = len(written)
    for number in range(1, 1 + steps):
        step(host, server, session, number)
        host.handle(Infer(session, links.smashed(server.contract)))
        checkpointer_of(host).wait()
    return len(written) - before


def test_a_checkpoint_is_written_after_so_many_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointer, "_PAUSES", 0)
    server = body()
    contract = server.contract
    sent = [*links.smashed(contract), *links.features_grad(contract)]
    step_bytes = sum(tensor.nbytes for tensor in sent)

    count = checkpoints_of(server, tmp_path, 12, every_bytes=3 * step_bytes)

    assert count == 4  # evaluating counts for nothing


def test_bytes_do_not_make_a_server_write_all_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpointer, "_PAUSES", 1e9)

    assert checkpoints_of(body(), tmp_path, 12, every_bytes=1) == 0


def test_a_session_of_another_client_is_not_told_from_its_own():
    server = body()
    host, session = trained(server, 0)
    mallory = Caller("mallory", "ipv4:10.6.6.6:1")

    for message in (hello(server, session), Snapshot(session)):
        refusal = host.handle(message, mallory)
        assert refusal.reason == "permission"
        assert server.contract.fingerprint not in refusal.text


def test_a_session_that_nobody_knows_is_refused():
    refusal = TrainingService(body().half).handle(hello(body(), "0" * 32, 5))

    assert isinstance(refusal, Refusal)
    assert refusal.reason == "session"


def test_a_server_about_to_stop_finishes_steps_and_begins_none():
    server = body()
    host, session = trained(server, 1)
    smashed = links.smashed(server.contract)
    host.handle(Forward(session, 1, smashed))

    host.drain(0.05)
    new = host.handle(hello(server))
    grad = links.features_grad(server.contract)
    finished = host.handle(Backward(session, 1, grad, 0.1))
    begun = host.handle(Forward(session, 2, smashed))

    assert (new.reason, begun.reason) == ("stopping", "stopping")
    assert type(finished).__name__ == "SmashedGrad"


def test_listeners_hear_of_it_all(tmp_path):
    heard = []

    class Ears(ServerCallback):
        def __getattribute__(self, name):
            return lambda *values: heard.append(name)

    server = body()
    host, session = trained(server, 1, checkpoints=tmp_path, events=Ears())
    host.leave(session)
    assert isinstance(host.handle(hello(server, session, 1)), Welcome)
    host.handle(Snapshot("nobody"))
    host.handle(Goodbye(session))

    assert heard == [
        *("checkpointed", "opened", "committed", "checkpointed", "left"),
        *("resumed", "refused", "closed"),
    ]


def test_a_full_disk_stops_no_training(quiet, tmp_path, monkeypatch, caplog):
    server = body()
    options = {"checkpoints": tmp_path, "checkpoint_every": 1}
    host, session = trained(server, 2, **options)
    checkpointer_of(host).wait()

    def full(path, arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(npz, "write", full)
        for number in (2, 3, 4):
            _, reply = step(host, server, session, number)
        refusal = host.handle(Checkpoint(session))
        checkpointer_of(host).wait()

    again = TrainingService((other := body()).half, checkpoints=tmp_path)
    kept = again.handle(hello(other, session, 5)).next_step
    step(host, server, session, 5)
    host.close_all()
    last = body()
    TrainingService(last.half, checkpoints=tmp_path)

    assert "No space left on device" in caplog.text
    assert reply.durable_steps <= kept == 2
    assert refusal.reason == "checkpoint"
    assert links.same(links.state(last), links.state(server))
    assert links.same(links.state(last), quiet[: len(links.state(last))])


def test_a_damaged_checkpoint_loses_no_step_of_a_client(tmp_path):
    """Clients keep what the last checkpoint alone holds."""
    server = body()
    options = {"checkpoints": tmp_path, "checkpoint_every": 2}
    host, session = trained(server, 1, **options)
    durable = 0
    for number in range(1, 7):
        _, reply = step(host, server, session, number)
        checkpointer_of(host).wait()
        durable = max(durable, reply.durable_steps)
    sorted(tmp_path.glob("*.npz"))[-1].write_bytes(b"damaged")

    host = TrainingService(body().half, **options)

    assert host.handle(hello(server, session, 7)).next_step >= durable > 0


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="Expected a folder for checkpoints"):
        TrainingService(body().half, checkpoints=tmp_path / "file")


def test_a_folder_has_one_server(tmp_path):
    with claim(tmp_path):
        with pytest.raises(DataError, match="that no other server writes"):
            with claim(tmp_path):
                pass
    with claim(tmp_path):
        pass


def test_a_server_does_not_wait_for_clients_that_are_gone(monkeypatch):
    server = body()
    host, session = trained(server, 1)
    host.handle(Forward(session, 1, links.smashed(server.contract)))
    host.leave(session)
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)

    host.drain(30)

    assert not slept


def test_optimizers_of_clients_are_counted():
    """Each distinct one costs a graph; those that nobody uses make room."""
    server = body()
    host = TrainingService(server.half)

    def enter(number):
        config = json.dumps(
            {"class_name": "Adam", "config": {"beta_1": number / 100}}
        )
        return host.handle(Hello(server.contract, config))

    sessions = [enter(number).session for number in range(8)]
    refused = enter(8)
    again = enter(3)
    host.handle(Goodbye(sessions[5]))
    accepted = enter(9)

    assert refused.reason == "optimizer"
    assert "at most 8 different optimizers" in refused.text
    assert isinstance(again, Welcome) and isinstance(accepted, Welcome)
    assert len(server.half.optimizers._steps) == 8


def test_a_client_that_is_refused_leaves_nothing_behind():
    server = body()
    host = TrainingService(server.half, max_sessions=1)
    host.handle(hello(server))
    graphs = len(server.half.optimizers._steps)

    refusal = host.handle(Hello(server.contract, links.SGD))

    assert refusal.reason == "busy"
    assert len(server.half.optimizers._steps) == graphs


def test_where_labels_stay_on_the_phone_its_loss_is_not_read():
    server = body()

    welcome = TrainingService(server.half).handle(
        Hello(server.contract, links.SGD, '{"loss": "no such loss"}')
    )

    assert isinstance(welcome, Welcome)


def test_a_restore_whose_checkpoint_fails_is_not_done(
    quiet, tmp_path, monkeypatch
):
    server = body()
    host, session = trained(server, 1, checkpoints=tmp_path)
    tag = host.handle(Snapshot(session)).tag
    checkpointer_of(host).wait()

    def full(path, arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(npz, "write", full)
        refusal = host.handle(Restore(session, tag, True))
    done = host.handle(Restore(session, tag, True))

    assert isinstance(refusal, Refusal) and refusal.reason == "checkpoint"
    assert "restore it again" in refusal.text
    assert isinstance(done, Done)


def test_two_servers_of_one_program_do_not_share_a_folder(tmp_path):
    server = body()
    with server.serve(port=0, checkpoints=tmp_path):
        with pytest.raises(DataError, match="that no other server writes"):
            server.serve(port=0, checkpoints=tmp_path)
    with server.serve(port=0, checkpoints=tmp_path) as running:
        with pytest.raises(TransportError, match="in use"):
            body().serve(port=running.port, checkpoints=tmp_path / "other")
    with server.serve(port=0, checkpoints=tmp_path / "other"):
        pass
