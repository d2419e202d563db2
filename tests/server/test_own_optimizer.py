"""One optimizer updates a body for phones that take their steps together."""

import pytest

from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.protocol.timeline import Timeline
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.service import TrainingService
from tests import links


@pytest.fixture
def half():
    half = links.halves()[1].half
    yield half
    half.timeline = Timeline()


def greet(host, half, optimizer):
    return host.handle(links.hello(half.contract, optimizer))


def adam(**fields):
    config = ", ".join(f'"{k}": {v}' for k, v in fields.items())
    return f'{{"class_name": "Adam", "config": {{{config}}}}}'


def test_who_took_no_step_decides_nothing_when_it_is_gone(half):
    host = TrainingService(half, cohort=CohortConfig(phones=2))
    gone = greet(host, half, links.SGD).session
    assert greet(host, half, links.MOMENTUM).reason == "cohort"
    host.handle(Goodbye(gone))

    for rate in range(12):  # however often they think better of it
        asked = adam(beta_1=rate / 12)
        welcome = greet(host, half, asked)
        assert isinstance(welcome, Welcome), welcome
        host.handle(Goodbye(welcome.session))


def test_who_took_a_step_has_decided(half):
    host = TrainingService(half, cohort=CohortConfig(phones=2))
    gone = greet(host, half, links.MOMENTUM).session
    half.timeline = half.timeline.stepped()
    host.handle(Goodbye(gone))

    reply = greet(host, half, links.SGD)

    assert isinstance(reply, Refusal) and reply.reason == "cohort"
    assert isinstance(greet(host, half, links.MOMENTUM), Welcome)
