"""What is kept of a body, and what of that may come back."""

import errno
import json
import logging
import os

import keras
import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Checkpoint
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken
from keras_split.protocol.messages import Welcome
from keras_split.server.callbacks import Caller
from keras_split.server.service import TrainingService
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.utils import npz
from tests import links

ANN = Caller("ann")


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture(autouse=True)
def same_start(server):
    before = server.half.weights()
    yield
    server.half.set_weights(before)


def enter(host, server, optimizer=links.MOMENTUM, caller=ANN, **options):
    hello = Hello(server.contract, optimizer, **options)
    welcome = host.handle(hello, caller)
    assert isinstance(welcome, Welcome), welcome
    return welcome.session


def step(host, server, session, number=0):
    """One honest step."""
    return links.take_step(
        lambda message: host.handle(message, ANN),
        session,
        server.contract,
        number,
    )


def everything(host, session):
    (found,) = [s for s in host._sessions if s.name == session]
    return found.body.half.weights() + list(found.optimizer.weights())


# -- one step spoils nothing ---------------------------------------------------


def whole(session, contract, grad):
    yield Forward(session, 0, links.smashed(contract))
    yield Backward(session, 0, grad, 0.1)


def early(session, contract, grad):
    yield Forward(session, 0, links.smashed(contract), early=True)
    yield Backward(session, 0, grad, 0.1, early=True)


def microbatched(session, contract, grad):
    smashed = links.smashed(contract)
    for i in range(2):
        yield Forward(session, 0, smashed, Microbatch(i, 2, 16))
    for i in range(2):
        yield Backward(session, 0, grad, 0.1, Microbatch(i, 2, 16))


@pytest.mark.parametrize("messages", [whole, early, microbatched])
def test_a_step_that_would_not_be_finite_is_not_taken(server, messages):
    host = server.host(max_grad_norm=1e30)
    session = enter(host, server, '{"class_name": "Adam", "config": {}}')
    before = everything(host, session)
    grad = links.features_grad(server.contract, value=1e25)

    replies = []
    for message in messages(session, server.contract, grad):
        replies.append(host.handle(message, ANN, early=replies.append))

    assert replies[-1].reason == "not-finite"
    after = everything(host, session)
    assert all(np.isfinite(a).all() for a in after)
    rate = [i for i, a in enumerate(after) if a.shape == ()]
    assert links.same(
        [a for i, a in enumerate(after) if i not in rate],
        [a for i, a in enumerate(before) if i not in rate],
    )
    _, reply = step(host, server, session)
    assert not isinstance(reply, Refusal)


def test_a_labeled_step_that_would_not_be_finite_is_not_taken():
    _, server = links.halves(cut="first")
    host = server.host()
    loss = {"class_name": "MeanSquaredError", "module": "keras.losses"}
    loss = json.dumps({"loss": loss | {"config": {}}, "loss_weights": None})
    session = enter(host, server, '{"class_name": "Adam"}', loss=loss)
    before = server.half.weights()
    labels = links.tensors(server.contract.features, server_rule(), value=1e25)
    smashed = links.smashed(server.contract)

    reply = host.handle(LabeledStep(session, 0, smashed, labels, [], 0.1), ANN)

    assert reply.reason == "not-finite"
    assert links.same(server.half.weights(), before)


def server_rule():
    from keras_split import Rule

    return Rule("float32")


def test_a_loss_scale_does_not_turn_the_check_off(server):
    host = server.host(max_smashed_norm=1e30)
    inner = {"class_name": "SGD", "config": {}}
    scaled = json.dumps(
        {
            "class_name": "LossScaleOptimizer",
            "config": {"inner_optimizer": inner},
        }
    )
    session = enter(host, server, scaled)
    before = server.half.weights()
    smashed = links.smashed(server.contract, value=1e25)
    smashed[0].codes[0] = 0  # so that its variance is infinite
    grad = links.features_grad(server.contract, value=0.0)

    replies = [
        host.handle(Forward(session, 0, smashed), ANN),
        host.handle(Backward(session, 0, grad, 0.1), ANN),
    ]

    assert isinstance(replies[-1], Refusal)
    assert links.same(server.half.weights(), before)


# -- what comes back -----------------------------------------------------------


def kept(folder, **options):
    """A server with checkpoints, and a session that took a step."""
    server = links.halves()[1]
    if options.get("own") is not None:
        server.compile(options["own"])
    host = TrainingService(
        server.half,
        server.half.adopt(server.optimizer) if options.get("own") else None,
        checkpoints=folder,
        bodies=options.get("bodies", "shared"),
    )
    session = enter(host, server)
    step(host, server, session)
    host.handle(Checkpoint(session), ANN)
    host.close_all()
    return server, session


def again(folder, own=None, bodies="shared"):
    server = links.halves()[1]
    adopted = own and server.half.adopt(keras.optimizers.get(own))
    return TrainingService(
        server.half, adopted, checkpoints=folder, bodies=bodies
    )


@pytest.mark.parametrize("bodies", ["shared", "private"])
def test_a_server_does_not_start_with_another_optimizer(tmp_path, bodies):
    own, none = tmp_path / "own", tmp_path / "none"
    kept(own, own="adam", bodies=bodies)
    kept(none, bodies=bodies)

    for folder, other, words in (
        (own, "adamw", "optimizer is AdamW. Received: Adam. Serve it as"),
        (own, "sgd", "optimizer is SGD. Received: Adam."),
        (own, None, "optimizer is none. Received: Adam."),
        (none, "sgd", "optimizer is SGD. Received: none."),
    ):
        with pytest.raises(DataError, match=words):
            again(folder, other, bodies)
    assert again(own, "adam", bodies)
    assert again(none, None, bodies)


def changed(folder, change):
    """Changes what the last checkpoint says of itself."""
    path = sorted(folder.glob("*.npz"))[-1]
    arrays = dict(npz.read(path))
    about = json.loads(arrays["about"].tobytes())
    change(about, arrays)
    text = json.dumps(about).encode()
    arrays["about"] = np.frombuffer(text, np.uint8)
    npz.write(path, arrays)


def test_a_checkpoint_that_does_not_say_is_known_by_its_slots(tmp_path):
    kept(tmp_path, own="adam")
    changed(tmp_path, lambda about, _: about.pop("optimizer"))

    assert again(tmp_path, "adam")
    with pytest.raises(DataError, match="one of another class or shape"):
        again(tmp_path, "sgd")


def test_a_session_that_asks_for_what_is_refused_does_not_come_back(
    tmp_path, caplog
):
    _, session = kept(tmp_path)
    muon = '{"class_name": "Muon", "config": {"ns_steps": 1000000000}}'
    changed(
        tmp_path,
        lambda about, _: about["sessions"][0].update(optimizer=muon),
    )

    with caplog.at_level(logging.ERROR, "keras_split.server"):
        host = again(tmp_path)

    assert "ns_steps of Muon" in caplog.text and session not in caplog.text
    refusal = host.handle(Hello(links.halves()[1].contract, session=session))
    assert refusal.reason == "session"


def test_a_checkpoint_that_is_not_finite_never_replaces_a_good_one(
    tmp_path, caplog
):
    server = links.halves()[1]
    host = server.host(checkpoints=tmp_path)
    session = enter(host, server)
    for number in range(2):  # the second is not written yet
        step(host, server, session, number)
    good = Checkpoints(tmp_path).numbers
    weight = server.body.get_layer("middle").kernel
    before = np.array(weight)
    weight.assign(before * np.nan)

    refusal = host.handle(Checkpoint(session), ANN)
    weight.assign(before)

    assert refusal.reason == "checkpoint"
    assert "weights or slots that are not finite" in refusal.text
    assert Checkpoints(tmp_path).numbers == good
    assert not isinstance(host.handle(Checkpoint(session), ANN), Refusal)


def test_one_that_an_older_server_wrote_is_not_gone_on_with(tmp_path, caplog):
    kept(tmp_path)
    assert len(Checkpoints(tmp_path).numbers) > 1
    spoiled = []
    changed(
        tmp_path,
        lambda _, arrays: spoiled.append(
            arrays.update(body_0=arrays["body_0"] * np.inf)
        ),
    )

    host = again(tmp_path)

    assert spoiled and "is damaged (Expected finite numbers" in caplog.text
    assert all(
        np.isfinite(a).all() for a in next(iter(host._bodies)).half.weights()
    )


def test_what_was_infinite_at_first_may_be(tmp_path):
    server = links.halves()[1]
    mask = server.body.get_layer("norm").moving_mean
    mask.assign([-np.inf, 0, 0, 0])
    server.half.retrace()

    host = server.host(checkpoints=tmp_path)

    assert Checkpoints(tmp_path).numbers
    next(iter(host._bodies)).write()
    assert len(Checkpoints(tmp_path).numbers) == 2


def test_a_snapshot_that_is_not_finite_does_not_come_back(server, tmp_path):
    host = server.host(snapshots=tmp_path)
    session = enter(host, server)
    (body,) = host._bodies
    values = server.half.weights()
    tag = body.snapshots.save([values[0] * np.nan, *values[1:]], [])

    refusal = host.handle(Restore(session, tag), ANN)

    assert refusal.reason == "snapshot" and "finite numbers" in refusal.text
    assert links.same(server.half.weights(), values)


def test_a_snapshot_for_which_there_is_no_room_is_refused(
    server, tmp_path, monkeypatch, caplog
):
    host = server.host(snapshots=tmp_path)
    session = enter(host, server)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refusal = host.handle(Snapshot(session), ANN)

    assert refusal.reason == "snapshot" and "Free some space" in refusal.text
    assert "No space left" in caplog.text
    assert "Traceback" not in caplog.text
    monkeypatch.undo()
    assert isinstance(host.handle(Snapshot(session), ANN), SnapshotTaken)


def test_a_body_is_not_copied_for_a_config_that_is_refused(server, monkeypatch):
    host = TrainingService(server.half, bodies="private")
    monkeypatch.setattr(
        type(server.half), "copy", lambda half: pytest.fail("copied")
    )

    for optimizer in ("{}", '{"class_name": "SGD", "config": {"momentum": 2}}'):
        refusal = host.handle(Hello(server.contract, optimizer), ANN)
        assert refusal.reason == "optimizer"


def test_goodbye_of_a_client_of_the_server_s_own_frees_its_graph():
    _, server = links.halves(cut="first")
    server.compile("sgd")
    host = server.host()
    loss = json.dumps({"loss": "mse", "loss_weights": None})
    for _ in range(2):
        session = enter(host, server, loss=loss)
        host.handle(Goodbye(session), ANN)

    (shared,) = server.half.optimizers._steps.values()
    assert shared.users == 0
