"""Phones average under masks over sockets, one killed in the middle."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_split.client.cohort import CohortClient
from keras_split.client.session import ClientSession
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.vectors import to_tensors
from keras_split.server.cohorts import aggregations
from keras_split.server.cohorts import modes
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.mode import Mode
from keras_split.transports import Route
from tests import links

PHONES = 4
WAIT_S = 60.0


class OneRound(Mode):
    """Nothing but one round, of all phones."""

    def __init__(self, config, members, half):
        self._members, self._half, self._config = members, half, config
        self._lock = threading.Lock()
        self._aggregation = None

    def answer(self, message, member, session):
        if isinstance(message, BeginRound):
            return RoundBegun(0, self._half.version)
        if not isinstance(message, Contribution):
            return None
        with self._lock:
            if self._aggregation is None:
                kind = aggregations.of(self._config)
                self._aggregation = kind(self._config, self._task())
        return self._aggregation.give(member.number, message)

    def _task(self):
        size = self._half.vector.size
        members = frozenset(range(PHONES))
        name = self._members.cohort
        return Task(name, 0, size, members, self._finish, lambda: None)

    def _finish(self, average):
        tensors = to_tensors(average.vector)
        return Gathered(0, "value", average.members, 1, average.weight, tensors)

    def came(self, member):
        pass

    def left(self, member):
        if self._aggregation is not None:
            self._aggregation.lose(member.number)

    def lost(self, member):
        pass


class Half:
    layout = "0" * 64

    def __init__(self, vector):
        self.vector, self.size = vector, vector.size

    def get(self):
        return self.vector.copy()

    def set(self, vector):
        self.vector = vector.copy()


class Killed(Exception):
    pass


class Killer:
    """Dies before a phone gives its value."""

    def sent(self, message):
        if isinstance(message, Contribution) and message.stage == "value":
            raise Killed

    def received(self, message, reply):
        pass


def open_phone(address, contract, weight, taps=()):
    session = ClientSession(Route.to(address), taps=taps)
    session.connect(contract, links.SGD)
    half = Half(np.zeros(31, "float32"))
    phone = CohortClient(
        session, AveragingTerms(), half, weight, require_secure=True
    )
    return session, phone


@pytest.mark.parametrize("bits", [32, 64])
def test_one_of_four_phones_is_killed_after_its_shares(monkeypatch, bits):
    monkeypatch.setitem(
        modes._MODES,
        "shared",
        lambda config, members, half, *rest: OneRound(config, members, half),
    )
    config = CohortConfig(mode="shared", phones=PHONES, bits=bits)
    random = np.random.default_rng(0)
    changes = random.normal(size=(PHONES, 31)).astype("float32")
    weights = [10, 600, 35, 1]
    enrolled = threading.Barrier(PHONES)

    def run(place):
        taps = [Killer()] if place == 1 else []
        session, phone = open_phone(
            address, client.contract, weights[place], taps
        )
        try:
            phone.enroll()
            enrolled.wait(WAIT_S)
            number = phone.begin_round()
            return phone.average(number, changes[place], weights[place])
        except Killed:
            session.connection.hang_up()
            return None
        finally:
            if place != 1:
                session.close()

    with links.served(cohort=config) as (client, _, address):
        with ThreadPoolExecutor(PHONES) as pool:
            means = list(pool.map(run, range(PHONES)))

    left = [0, 2, 3]
    expected = np.average(
        changes[left].astype("float64"), 0, [weights[m] for m in left]
    )
    # Most of the weight is gone with one phone, and numbers are as coarse.
    error = len(left) * (3e-8 if bits == 32 else 2e-12) * sum(weights) / 46
    assert means[1] is None
    for place in left:
        np.testing.assert_allclose(
            means[place], expected, rtol=error + 2**-23, atol=error
        )


@pytest.mark.slow
def test_a_phone_killed_between_stages_is_in_the_next_round_again():
    config = CohortConfig(mode="shared", phones=PHONES, return_deadline_s=2.0)
    changes = np.arange(1, PHONES + 1, dtype="float32")
    enrolled = threading.Barrier(PHONES)

    def average(phone, place):
        number = phone.begin_round()
        vector = np.full(31, changes[place], "float32")
        return number, float(phone.average(number, vector, 5)[7])

    def run(place):
        taps = [Killer()] if place == 1 else []
        session, phone = open_phone(address, client.contract, 5, taps)
        phone.enroll()
        enrolled.wait(WAIT_S)
        try:
            found = [average(phone, place)]
        except Killed:
            session.connection.hang_up()
            found = []
            session, phone = open_phone(address, client.contract, 5)
            phone.enroll()
        found.append(average(phone, place))
        session.close()
        return found

    with links.served(cohort=config) as (client, _, address):
        with ThreadPoolExecutor(PHONES) as pool:
            found = list(pool.map(run, range(PHONES)))

    first, second = (0, pytest.approx(8 / 3)), (1, pytest.approx(2.5))
    assert found == [[first, second] if m != 1 else [second] for m in range(4)]
