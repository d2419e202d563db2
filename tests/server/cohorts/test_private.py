import time

import numpy as np
import pytest

from keras_split.errors import OptionError
from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import Leave
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.server.callbacks import Caller
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.config import ServerConfig
from keras_split.server.service import TrainingService
from tests import links

WAIT_S = 30.0
SIZE = 2
HALF = vectors.to_tensors(np.zeros(SIZE, np.float32))


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture
def serve(server):
    """Services one after the other, each with the same body to begin with."""
    before = server.half.weights()
    made = []

    def serve(cohort=None, **options):
        server.half.set_weights(before)
        made.append(TrainingService(server.half, cohort=cohort, **options))
        return made[-1]

    yield serve
    for host in made:
        host.close_all()
    server.half.set_weights(before)


class Phone:
    """Speaks with a service; its half is a stand-in of two numbers."""

    def __init__(self, host, server, name="", enroll=True):
        self.host, self.contract = host, server.contract
        hello = links.hello(server.contract)
        self.session = host.handle(hello, Caller(client=name)).session
        self.caller = Caller(client=name)
        found = host._sessions.find(self.session, self.caller)
        self.body = found.body.half
        self.step = 0
        if enroll:
            self.enroll()

    def enroll(self):
        terms = AveragingTerms()
        said = self.ask(Enroll(self.session, terms, SIZE, "0" * 64, 8))
        if said.give_half:
            assert self.ask(PutHalf(self.session, 0, HALF)) == Done()

    def ask(self, message):
        reply = self.host.handle(message, self.caller)
        return reply.result(WAIT_S) if hasattr(reply, "result") else reply

    def train(self, *seeds):
        """Takes a step of 8 examples for each seed."""
        for seed in seeds:
            links.take_step(
                self.ask, self.session, self.contract, self.step, seed
            )
            self.step += 1

    def begin(self, version=0):
        message = BeginRound(self.session, version)
        return self.host.handle(message, self.caller)

    def give(self, round, weight=1.0):
        message = Contribution(self.session, round, "value", weight, HALF)
        return self.host.handle(message, self.caller)


def cohort(phones, **options):
    return CohortConfig("private", phones, plain_aggregation=True, **options)


def begin(*phones, version=0):
    """All begin a round, which is returned."""
    replies = [phone.begin(version) for phone in phones]
    return [reply.result(WAIT_S) for reply in replies][0].round


def give(*phones, round):
    replies = [phone.give(round) for phone in phones]
    return [reply.result(WAIT_S) for reply in replies]


def floats(arrays):
    return [array for array in arrays if array.dtype.kind == "f"]


def same(one, other):
    return all(map(np.array_equal, floats(one), floats(other)))


def train_a_round(a, b):
    """The first one takes three steps, the other one; which round it is."""
    round = begin(a, b)
    a.train(0, 1, 2)
    b.train(3)
    return round


def assert_mean(bodies, weights, made):
    for *each, value in zip(*bodies, floats(made), strict=True):
        expected = np.average([v.astype(float) for v in each], 0, weights)
        np.testing.assert_allclose(value, expected, atol=1e-6)


def wait_for(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_phone_trains_the_body_that_it_would_train_alone(serve, server):
    alone = Phone(serve(bodies="private"), server, enroll=False)
    alone.train(0, 1, 2, 3)
    expected = alone.body.weights()

    phone = Phone(serve(cohort(1)), server)
    for round in range(2):
        assert begin(phone, version=round) == round
        phone.train(2 * round, 2 * round + 1)
        give(phone, round=round)

    assert phone.body is not server.half
    assert all(map(np.array_equal, expected, phone.body.weights()))


def test_bodies_are_averaged_by_the_examples_that_the_server_has_seen(
    serve, server
):
    a, b = phones = [Phone(host, server) for host in [serve(cohort(2))] * 2]
    round = begin(a, b)
    a.train(0, 1, 2)
    b.train(3)
    before = [phone.body.weights() for phone in phones]

    give(a, b, round=round)

    for one, other, *made in zip(
        *before,
        a.body.weights(),
        b.body.weights(),
        server.half.weights(),
        strict=True,
    ):
        if one.dtype.kind != "f":
            continue
        expected = (3 * one.astype(float) + other) / 4
        for values in made:
            np.testing.assert_allclose(values, expected, atol=1e-6)
    integers = [v for v in before[0] if v.dtype.kind != "f"]
    kept = [v for v in a.body.weights() if v.dtype.kind != "f"]
    assert integers and all(map(np.array_equal, integers, kept))


def test_who_joins_late_begins_with_the_body_of_the_others(serve, server):
    host = serve(cohort(1))
    first = Phone(host, server)
    round = begin(first)
    first.train(0)
    give(first, round=round)

    late = Phone(host, server)

    assert same(late.body.weights(), first.body.weights())


def test_a_body_that_went_astray_between_rounds_comes_back(serve, server):
    host = serve(cohort(1))
    phone = Phone(host, server)
    round = begin(phone)
    phone.train(0)
    give(phone, round=round)
    average = phone.body.weights()

    phone.train(1)  # in no round
    assert not same(average, phone.body.weights())
    begin(phone, version=1)

    assert same(average, phone.body.weights())


def test_who_gave_and_said_goodbye_is_in_the_average(serve, server):
    host = serve(cohort(2))
    a, b = Phone(host, server), Phone(host, server)
    round = begin(a, b)
    a.train(0)
    b.train(1)
    before = [phone.body.weights() for phone in (a, b)]

    reply = a.give(round)
    a.ask(Goodbye(a.session))
    b.give(round).result(WAIT_S)

    assert reply.result(WAIT_S).members == (0, 1)
    expected = [(x + y) / 2 for x, y in zip(*map(floats, before), strict=True)]
    for made, value in zip(floats(b.body.weights()), expected, strict=True):
        np.testing.assert_allclose(made, value, atol=1e-6)


@pytest.mark.parametrize(
    "mean", [{"mean": "median"}, {"mean": "trimmed-mean", "trim": 0.3}]
)
def test_a_liar_does_not_lead_the_bodies(serve, server, mean):
    host = serve(cohort(3, **mean))
    phones = [Phone(host, server) for _ in range(3)]
    round = begin(*phones)
    for seed, phone in enumerate(phones):
        phone.train(seed)
    honest = [floats(phone.body.weights()) for phone in phones[:2]]
    lie = [
        np.full_like(v, 1e9) if v.dtype.kind == "f" else v
        for v in phones[2].body.weights()
    ]
    phones[2].body.set_weights(lie)

    give(*phones, round=round)

    for values in zip(floats(server.half.weights()), *honest, strict=True):
        assert (values[0] <= np.maximum(values[1], values[2])).all()


def test_a_body_that_moved_too_far_is_pulled_back(serve, server):
    host = serve(cohort(1, clip_update_norm=0.01))
    phone = Phone(host, server)
    before = floats(phone.body.weights())
    round = begin(phone)
    phone.train(0)

    give(phone, round=round)

    moved = [
        a - b for a, b in zip(floats(phone.body.weights()), before, strict=True)
    ]
    norm = np.sqrt(sum(float(np.vdot(m, m)) for m in moved))
    assert norm == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("mode", ["merged", "shared"])
def test_modes_with_one_body_refuse_private_ones(mode):
    with pytest.raises(OptionError, match="bodies='private'"):
        ServerConfig(bodies="private", cohort=CohortConfig(mode))


def test_a_private_cohort_has_private_bodies():
    assert ServerConfig(cohort=CohortConfig("private")).kind_of_bodies == (
        "private"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"mean": "median"},
        {"mean": "trimmed-mean"},
        {"clip_update_norm": 1.0},
    ],
)
def test_means_that_look_at_each_phone_need_plain_aggregation(options):
    with pytest.raises(OptionError, match="--plain-aggregation"):
        CohortConfig(phones=3, **options)

    CohortConfig(phones=2, **options)  # which is plain anyway


@pytest.mark.parametrize(
    "options", [{"trim": 0.5}, {"trim": -0.1}, {"clip_update_norm": 0}]
)
def test_numbers_that_leave_nothing_are_refused(options):
    with pytest.raises(OptionError):
        CohortConfig(phones=2, **options)


def test_a_secure_round_of_two_is_refused():
    with pytest.raises(OptionError, match="round_phones=2"):
        CohortConfig(phones=3, round_phones=2)

    CohortConfig(phones=3, round_phones=2, plain_aggregation=True)


def test_a_phone_that_was_started_again_counts_with_what_it_trained(
    serve, server
):
    host = serve(cohort(2))
    a, b = Phone(host, server, "ann"), Phone(host, server, "ben")
    give(a, b, round=train_a_round(a, b))
    begin(a, b, version=1)
    b.train(4)
    host.leave(a.session)

    again = Phone(host, server, "ann")
    again.begin(1)
    again.train(5, 6, 7)
    before = [floats(phone.body.weights()) for phone in (again, b)]
    give(again, b, round=1)

    assert_mean(before, [3, 1], server.half.weights())


def test_what_an_older_server_kept_of_a_round_still_counts(serve, server):
    host = serve(cohort(2))
    a, b = phones = [Phone(host, server) for _ in range(2)]
    give(a, b, round=train_a_round(a, b))
    begin(a, b, version=1)
    a.train(4, 5)
    b.train(6)
    average = host.cohort.mode._average
    average.load({"0": 24, "1": 8})
    before = [floats(phone.body.weights()) for phone in phones]

    give(a, b, round=1)

    assert_mean(before, [2, 1], server.half.weights())


@pytest.mark.parametrize("how", ["restored", "given up"])
def test_who_begins_a_round_has_the_body_of_the_others(serve, server, how):
    host = serve(cohort(2, allow_restore=True))
    a, b = Phone(host, server, "ann"), Phone(host, server, "ben")
    tag = a.ask(Snapshot(a.session)).tag
    give(a, b, round=train_a_round(a, b))
    average = server.half.weights()

    if how == "restored":
        assert a.ask(Restore(a.session, tag)) == Done()
    else:
        begin(a, b, version=1)
        a.train(5)
        for phone in (a, b):
            phone.ask(Leave(phone.session))
        wait_for(lambda: host.cohort.mode.rounds.number == 2)
        for phone in (a, b):
            phone.enroll()
    begin(a, b, version=1)

    for phone in (a, b):
        assert same(average, phone.body.weights())
