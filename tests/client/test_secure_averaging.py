import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_split.client.cohort import CohortClient
from keras_split.client.secure_averaging import SecureAveraging
from keras_split.client.session import ClientSession
from keras_split.errors import ProtocolError
from keras_split.errors import QuantizationError
from keras_split.errors import RefusedError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.messages import Refusal
from keras_split.protocol.vectors import to_tensors
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.secure import Secure
from keras_split.transports import Route
from keras_split.transports import Transport

WAIT_S = 30.0
PHONES = 4
NAME = "cd" * 16
INFO = CohortInfo(NAME, "private", PHONES, secure=True)
VECTORS = [np.full(3, member, np.float32) for member in range(PHONES)]


class Server:
    """A `Secure` for a round, that may be killed and come back."""

    def __init__(self, deadline_s=WAIT_S):
        self.averages, self.told = [], []
        self._config = CohortConfig(phones=PHONES, round_deadline_s=deadline_s)
        self.start()

    def start(self):
        members = frozenset(range(PHONES))
        task = Task(NAME, 2, 3, members, self._finish, lambda: None)
        self.secure = Secure(self._config, task)

    def _finish(self, average):
        self.averages.append(average)
        tensors = to_tensors(average.vector)
        return Gathered(2, "value", average.members, 3, 1.0, tensors)


class Wire(Transport):
    """Hands a phone's contributions to the server."""

    def __init__(self, server, member):
        self.server = server
        self.member = member
        self.sent = []
        self.before = lambda message: None

    def carry(self, message):
        self.sent.append(message)
        reply = self.before(message)
        if reply is not None:
            return reply
        try:
            return self.server.secure.give(self.member, message).result(WAIT_S)
        except ProtocolError as error:
            return Refusal(error.reason, str(error))

    def close(self):
        pass


def phones(server, info=INFO, **options):
    made = []
    for member in range(PHONES):
        wire = Wire(server, member)
        session = ClientSession(Route.to(transport=wire), retry=None)
        session.connection.transport = wire
        session.connection.session = "s"
        session.connection.cohort = info
        client = CohortClient(session, AveragingTerms(), None, 5, **options)
        client.member, client.version = member, 2
        client.wire = wire
        made.append(client)
    return made


def average(clients, vectors=VECTORS):
    """What each phone gets; errors as they are."""

    def run(client):
        try:
            return client.average(2, vectors[client.member], 1.0)
        except ProtocolError as error:
            return error

    with ThreadPoolExecutor(PHONES) as pool:
        return list(pool.map(run, clients))


def test_phones_average_and_no_message_has_a_vector_that_one_could_read():
    server = Server()
    clients = phones(server)

    means = average(clients)

    assert all((mean == 1.5).all() for mean in means)
    for client in clients:
        assert client.version == 3
        stages = [message.stage for message in client.wire.sent]
        assert stages == ["keys", "shares", "value", "unmask"]
        for message in client.wire.sent:
            assert message.weight == 0  # it is in the vector
            assert all(t.codes.dtype == "uint64" for t in message.tensors)


def test_a_phone_that_is_killed_after_its_shares_is_left_out():
    server = Server()
    clients = phones(server)

    def die(message):
        if message.stage == "value":
            server.secure.lose(1)
            return Refusal("late", "killed")

    clients[1].wire.before = die

    means = average(clients)

    expected = np.float32((0 + 2 + 3) / 3)
    for member in (0, 2, 3):
        assert (means[member] == expected).all()
    assert means[1].reason == "late"
    assert clients[1].version == -1  # it needs the half of the others


@pytest.mark.parametrize("stage", ["keys", "shares", "value", "unmask"])
def test_a_server_that_is_killed_at_a_stage_makes_all_begin_again(stage):
    server = Server()
    clients = phones(server)
    killed = threading.Lock()

    def kill(message):
        if message.stage == stage and killed.acquire(blocking=False):
            server.start()

    # It dies as the last one comes, with what the others gave.
    barrier = threading.Barrier(PHONES)
    for client in clients:

        def before(message, seen=[]):  # noqa: B006
            if message.stage == stage and len(seen) < PHONES:
                seen.append(message)
                barrier.wait(WAIT_S)
                kill(message)
                barrier.wait(WAIT_S)

        client.wire.before = before

    means = average(clients)

    assert all((mean == 1.5).all() for mean in means), means
    assert len(server.averages) == 1


def test_a_phone_unmasks_no_second_sum_of_a_round_over_others():
    averaging = SecureAveraging(None)
    averaging._check_same(4, (0, 1, 2))
    averaging._check_same(4, (2, 1, 0))

    with pytest.raises(RefusedError, match="one sum in round 4") as told:
        averaging._check_same(4, (0, 1))
    averaging._check_same(5, (0, 1))

    assert told.value.reason == "late"


def test_a_phone_can_refuse_a_server_that_would_read_its_half():
    plain = CohortInfo(NAME, "private", PHONES, secure=False)

    with pytest.raises(RefusedError, match="could read") as told:
        phones(Server(), plain, require_secure=True)

    assert told.value.reason == "cohort"
    assert phones(Server(), plain)
    assert phones(Server(), require_secure=True)


def test_a_server_that_was_secure_gets_no_plain_vector_later():
    clients = phones(Server())
    client = clients[0]
    client._session.connection.cohort = CohortInfo(NAME, "private", PHONES)

    with pytest.raises(RefusedError, match="could read"):
        client.average(2, VECTORS[0], 1.0)

    assert client.wire.sent == []


def test_a_vector_that_does_not_fit_is_refused_before_anything_is_sent():
    client = phones(Server())[0]

    with pytest.raises(QuantizationError, match="under masks of 64"):
        client.average(2, np.full(3, 1e7, np.float32), 1.0)

    assert client.wire.sent == []


def test_a_server_that_came_back_with_the_average_is_not_asked_for_another():
    clients = phones(Server())
    known = Gathered(2, "shares", (0, 1), 3, 2.0, to_tensors(VECTORS[2]))

    def know(message):
        return known if message.stage == "shares" else None

    for client in clients:
        client.wire.before = know
    means = average(clients)

    assert (means[0] == 2).all() and client.version == 3
    assert client.wire.sent[-1].stage == "shares"


def test_a_reply_to_another_stage_is_refused():
    client = phones(Server())[0]
    client.wire.before = lambda message: Gathered(2, "unmask", (0,))

    with pytest.raises(RefusedError, match="Expected a reply to keys"):
        client.average(2, VECTORS[0], 1.0)


def test_a_server_that_leaves_out_a_phone_after_its_value_is_noticed():
    server = Server(deadline_s=1.0)
    clients = phones(server)
    client = clients[0]

    def lie(message):
        if message.stage == "value":
            return Gathered(2, "value", (1, 2, 3))

    client.wire.before = lie
    results = average(clients)

    assert isinstance(results[0], RefusedError) and results[0].reason == "late"
    assert client.wire.sent[-1].stage == "value"
