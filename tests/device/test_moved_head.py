from dataclasses import replace

import numpy as np
import pytest

from keras_split import device
from keras_split.device.batch import Batch
from keras_split.errors import HijackError
from keras_split.protocol.messages import Backward
from tests import links


@pytest.fixture(scope="module")
def address():
    """Of a server for all tests that do not look at its weights."""
    with links.served() as (_, _, address):
        yield address


def fit(subject, detector, **options):
    x, y = links.batch(24)
    batches = device.batches(x, y, 8, seed=None)
    return subject.fit(batches, detector=detector, verbose=False, **options)


def test_the_gradients_of_an_honest_server_agree(phone, address):
    detector = device.HijackDetector(1, seed=0)

    fit(phone(address), detector)

    assert min(check.agreement for check in detector.checks) > 0.97


def test_a_training_with_checks_is_the_training_without(phone):
    states = []
    for detector in (None, device.HijackDetector(1)):
        with links.served() as (_, _, address):
            subject = phone(address)
            fit(subject, detector)
            states.append(subject.get_state())

    assert links.same(*(list(state.values()) for state in states))


def test_gradients_that_are_turned_round_stop_the_training(phone, address):
    subject = phone(address)
    subject.connect()
    transport = subject.session.connection.transport
    honest = transport.carry

    def lie(message):
        reply = honest(message)
        if not isinstance(message, Backward):
            return reply
        turned = [replace(t, codes=-t.codes) for t in reply.tensors]
        return replace(reply, tensors=turned)

    transport.carry = lie

    with pytest.raises(HijackError, match="in step 1"):
        fit(subject, device.HijackDetector(1))

    assert subject.step == 2


def test_a_move_that_is_interrupted_leaves_the_state(
    phone, address, monkeypatch
):
    subject = phone(address)
    batch = Batch.of(subject.description, *links.batch(5))
    head = subject._half.head(batch)
    before = subject.get_state()
    run = subject._model.run

    def interrupted(signature, known):
        if signature == "head_forward":
            raise KeyboardInterrupt
        return run(signature, known)

    monkeypatch.setattr(subject._model, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        head.smashed([w + 1 for w in head.weights()])

    monkeypatch.undo()
    after = subject.get_state()
    assert links.same(list(before.values()), list(after.values()))


def test_moved_weights_send_something_else_for_as_many_examples(phone, address):
    subject = phone(address)
    batch = Batch.of(subject.description, *links.batch(5))
    head = subject._half.head(batch)

    (plain,) = head.smashed(head.weights())
    (moved,) = head.smashed([w + 0.1 for w in head.weights()])

    assert len(plain.codes) == len(moved.codes) == 5
    assert not np.array_equal(plain.codes, moved.codes)
