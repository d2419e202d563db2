"""Clients of one body have the same data, as far as they say so."""

import pytest

from keras_split.errors import DataError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.server.callbacks import Caller
from keras_split.server.service import TrainingService
from tests import links

CATS, DOGS = DataDigest("a" * 64), DataDigest("b" * 64)
SCALED = DataDigest("", "c" * 64)


@pytest.fixture(scope="module")
def half():
    return links.halves()[1].half


@pytest.fixture(autouse=True)
def nothing_known(half):
    before = half.weights()
    half.data = DataDigest()
    yield
    half.set_weights(before)
    half.data = DataDigest()


def greet(host, half, data=CATS, caller=None):
    hello = Hello(half.contract, links.SGD, data=data)
    return host.handle(hello, caller or Caller())


def step(host, half, session, number=0):
    _, reply = links.take_step(
        host.handle, session, half.contract, number, seed=number
    )
    assert not isinstance(reply, Refusal), reply


def assert_refused(reply):
    assert isinstance(reply, Refusal)
    assert reply.reason == "data"


def test_the_first_who_trains_says_what_the_others_must_have(half):
    host = TrainingService(half)
    session = greet(host, half).session
    step(host, half, session)
    host.handle(Goodbye(session))

    assert_refused(greet(host, half, DOGS))
    assert isinstance(greet(host, half, CATS), Welcome)
    assert isinstance(greet(host, half, DataDigest()), Welcome)
    assert half.data == CATS


def test_two_who_come_at_once_must_agree_before_they_train(half):
    host = TrainingService(half)
    greet(host, half, CATS)

    assert_refused(greet(host, half, DOGS))
    assert isinstance(greet(host, half, SCALED), Welcome)


def test_who_never_trained_is_forgotten(half):
    host = TrainingService(half)
    host.handle(Goodbye(greet(host, half, CATS).session))

    assert isinstance(greet(host, half, DOGS), Welcome)


def test_who_went_away_without_a_step_keeps_nobody_out(half):
    host = TrainingService(half)
    lost = greet(host, half, CATS).session
    host.leave(lost)

    step(host, half, greet(host, half, DOGS).session)

    again = Hello(half.contract, links.SGD, session=lost, data=CATS)
    assert_refused(host.handle(again))
    assert half.data == DOGS


def test_what_the_first_did_not_say_the_next_one_does(half):
    host = TrainingService(half)
    for data in (DataDigest(), CATS, SCALED):
        step(host, half, greet(host, half, data).session)

    assert half.data == CATS.or_else(SCALED)


def test_what_it_learned_is_in_its_file():
    _, server = links.halves()
    host = server.host()
    step(host, server.half, greet(host, server.half).session)

    assert server.get_config()["data_digest"] == CATS.get_config()


def test_a_server_of_a_labeled_pair_knows_beforehand(half):
    half.data = CATS

    assert_refused(greet(TrainingService(half), half, DOGS))


def test_a_client_with_a_body_of_its_own_may_have_any_data(half):
    host = TrainingService(half, bodies="private")
    half.data = CATS

    for name, data in (("ann", DOGS), ("ben", CATS), ("ann", CATS)):
        caller = Caller(name)
        reply = greet(host, half, data, caller)
        assert isinstance(reply, Welcome)
        host.handle(Goodbye(reply.session), caller)


def test_a_server_that_comes_back_still_knows(half, tmp_path):
    host = TrainingService(half, checkpoints=tmp_path, checkpoint_every=1)
    ended = greet(host, half).session
    step(host, half, ended)
    host.handle(Goodbye(ended))
    open_one = greet(host, half, CATS.or_else(SCALED)).session
    step(host, half, open_one)
    host.close_all()
    half.data = DataDigest()

    host = TrainingService(half, checkpoints=tmp_path)

    assert half.data == CATS.or_else(SCALED)
    assert host.find(open_one).data == CATS.or_else(SCALED)
    assert_refused(greet(host, half, DOGS))


def test_checkpoints_of_other_data_are_refused(half, tmp_path):
    host = TrainingService(half, checkpoints=tmp_path)
    step(host, half, greet(host, half).session)
    host.close_all()
    half.data = DOGS

    with pytest.raises(DataError, match="trained with the data"):
        TrainingService(half, checkpoints=tmp_path)
    assert half.data == DOGS


def test_two_without_a_stream_must_agree_when_they_train(half):
    host = TrainingService(half)
    sessions = []
    for data in (CATS, DOGS):
        sessions.append(greet(host, half, data).session)
        host.leave(sessions[-1])  # a call has brought its Welcome, and ended
    one, other = sessions
    begun = host.handle(Forward(other, 0, links.smashed(half.contract)))
    assert isinstance(begun, Features)

    step(host, half, one)

    for reply in links.take_step(host.handle, other, half.contract):
        assert_refused(reply)
    grad = links.features_grad(half.contract)
    assert_refused(host.handle(Backward(other, 0, grad, 0.1)))
    step(host, half, one, 1)
