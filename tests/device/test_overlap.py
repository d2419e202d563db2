"""A server that answers a phone before it updates its body."""

from unittest.mock import Mock

import pytest

from keras_split.client.retry import Retry
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Committed
from tests import links
from tests.device.test_client import unmoved


class Replies:
    """A tap that keeps replies."""

    def __init__(self):
        self.kinds = []

    def sent(self, message):
        pass

    def received(self, message, reply):
        self.kinds.append(type(reply))


@pytest.fixture
def overlapping(phone):
    """A way to open a phone whose server seems far."""

    def open_(address):
        subject = phone(address)
        subject.session.overlap = True
        subject.session.taps.append(Replies())
        return subject

    return open_


def test_it_ends_with_the_same_bits(phone, overlapping):
    ends = []
    for open_ in (phone, overlapping):
        with links.served() as (_, server, address):
            subject = open_(address)
            losses = [
                subject.train_on_batch(*links.batch(size))["loss"]
                for size in (8, 8, 5)
            ]
            ends.append(
                [losses, *subject.get_state().values(), *links.state(server)]
            )
            assert subject.step == subject.session.next_step == 3

    assert links.same(*ends)
    assert subject.session.taps[0].kinds.count(Committed) == 3


def test_a_step_that_comes_to_nothing_moves_neither_half(
    overlapping, monkeypatch
):
    with links.served() as (_, server, address):
        subject = overlapping(address)
        subject.train_on_batch(*links.batch(8))
        before, body = subject.get_state(), links.state(server)
        half = server.half

        def refuse(step, smashed, grads, optimizer, rate, early, **rest):
            early(list(smashed))
            half.abandon(step)
            raise ProtocolError("Expected room.", "memory")

        with monkeypatch.context() as patched:
            patched.setattr(half, "backward", refuse)
            with pytest.raises(RefusedError, match="Expected room"):
                subject.train_on_batch(*links.batch(8))
        assert unmoved(before, subject)
        assert links.same(body, links.state(server))
        assert subject.step == 1

        subject.train_on_batch(*links.batch(8))

        assert subject.step == subject.session.next_step == 2
        assert not unmoved(before, subject)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, TransportError])
def test_what_comes_between_both_replies_takes_no_step_twice(
    overlapping, monkeypatch, failure
):
    ends = []
    for disturbed in (False, True):
        with links.served() as (_, server, address):
            subject = overlapping(address)
            subject.session.retry = Retry(give_up_s=10, first_s=0.01)
            subject.train_on_batch(*links.batch(8))
            if disturbed:
                transport = subject.session.connection.transport
                failing = Mock(side_effect=failure("now"))
                monkeypatch.setattr(transport, "collect", failing)
            if disturbed and failure is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt):
                    subject.train_on_batch(*links.batch(8))
            else:
                subject.train_on_batch(*links.batch(8))
            subject.train_on_batch(*links.batch(8))  # finishes what is open
            assert subject.step == subject.session.next_step == 3
            ends.append([*subject.get_state().values(), *links.state(server)])

    failing.assert_called_once()
    assert links.same(*ends)
