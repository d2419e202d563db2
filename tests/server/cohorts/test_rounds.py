import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.messages import Refusal
from keras_split.protocol.moment import Moment
from keras_split.server.callbacks import ServerCallback
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.plain import Plain
from keras_split.server.cohorts.rounds import Rounds

WAIT_S = 30.0  # far more than anything here takes
SIZE = 3


class Keeper:
    """Keeps states in memory; a turn is one thread's at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.written = []
        self.moment = Moment("0" * 32, 7)
        self.capture = lambda: None

    def turn(self):
        return self.lock

    def write_cohort(self):
        assert self.lock.locked()
        self.written.append(self.capture())


class Events(ServerCallback):
    def __init__(self):
        self.ended = []

    def round_ended(self, ended):
        self.ended.append(ended)


class Server:
    """Rounds, and phones that speak to them without a network."""

    def __init__(self, phones=2, **config):
        config.setdefault("plain_aggregation", True)
        self.config = CohortConfig("shared", phones, seed=1, **config)
        self.members, self.half = Members(), CohortHalf()
        self.half.put(0, np.zeros(SIZE))
        self.keeper, self.events = Keeper(), Events()
        self.rounds = Rounds(
            self.config, self.members, self.half, self.keeper, self.events
        )
        self.keeper.capture = self.rounds.state

    def enroll(self, *names, terms=None):
        for name in names:
            said = Enroll(name, terms or AveragingTerms(), SIZE, "", 10)
            self.rounds.came(self.members.enroll(name, said))

    def begin(self, name, version=0):
        return self.rounds.answer(
            BeginRound(name, version), self.members.of(name)
        )

    def give(self, name, round, value, weight=1.0):
        vector = np.full(SIZE, value, np.float32)
        message = Contribution(
            name, round, "value", weight, vectors.to_tensors(vector)
        )
        return self.rounds.answer(message, self.members.of(name))

    def cut(self, *names):
        """They are gone, and may be back."""
        for name in names:
            member = self.members.of(name)
            member.present = False
            self.rounds.left(member)

    def come(self, *names):
        """They are back."""
        for name in names:
            member = self.members.of(name)
            member.present = member.awaited = True
            self.rounds.came(member)

    def leave(self, *names):
        """They are gone, and nobody waits for them any more."""
        self.cut(*names)
        for name in names:
            member = self.members.of(name)
            member.awaited = False
            self.rounds.lost(member)

    def killed(self):
        """Another server, which goes on where this one was; nobody is there."""
        other = Server(self.config.phones)
        other.keeper.moment = Moment("1" * 32, 7)
        other.members.load(self.members.state())
        other.half.put(self.half.version, self.half.vector)
        other.rounds.load(self.keeper.written[-1])
        return other

    def begun(self, *names):
        """All of them begin a round, which is returned."""
        replies = [self.begin(name) for name in names]
        return [result(reply) for reply in replies][0].round


def result(reply):
    return reply.result(WAIT_S) if isinstance(reply, Future) else reply


def values(half):
    return half.vector.tolist()


def test_the_first_round_waits_for_all_that_are_expected():
    server = Server(phones=2)
    server.enroll("a")
    first = server.begin("a")
    assert not first.done()

    server.enroll("b")
    assert not first.done()  # it is there, and has yet to ask
    second = server.begin("b")

    assert result(first) == result(second) == RoundBegun(0, 0)


def test_a_round_averages_by_examples_and_everybody_is_told():
    server = Server()
    server.enroll("a", "b")
    round = server.begun("a", "b")

    replies = [server.give("a", round, 1.0, 3), server.give("b", round, 5.0, 1)]

    told = [result(reply) for reply in replies]
    assert told[0] == told[1]
    assert (told[0].version, told[0].weight, told[0].members) == (1, 4, (0, 1))
    np.testing.assert_array_equal(
        vectors.from_tensors(told[0].tensors, SIZE), [2, 2, 2]
    )
    assert values(server.half) == [2, 2, 2] and server.half.version == 1
    assert server.events.ended[0].members == (0, 1)


def test_the_half_comes_with_a_round_for_who_has_an_older_one():
    server = Server()
    server.enroll("a", "b")
    round = server.begun("a", "b")
    for reply in [server.give("a", round, 1), server.give("b", round, 1)]:
        result(reply)

    old, new = server.begin("a", version=0), server.begin("b", version=1)

    assert vectors.from_tensors(result(old).tensors, SIZE).tolist() == [1] * 3
    assert result(new).tensors == []


def test_nobody_waits_for_a_phone_that_is_killed_in_mid_round():
    server = Server(phones=3)
    server.enroll("a", "b", "c")
    round = server.begun("a", "b", "c")
    replies = [server.give("a", round, 1), server.give("b", round, 3)]

    server.leave("c")

    assert [result(reply).members for reply in replies] == [(0, 1), (0, 1)]
    assert values(server.half) == [2, 2, 2]
    assert server.events.ended[0].dropped == [2]


def test_a_connection_that_was_cut_for_a_moment_costs_nothing():
    server = Server(phones=2)
    server.enroll("a", "b")
    round = server.begun("a", "b")
    reply = server.give("a", round, 1)

    server.cut("b")
    server.come("b")
    server.give("b", round, 3)

    assert result(reply).members == (0, 1)


@pytest.mark.parametrize("before", ["first", "next", "killed"])
@pytest.mark.parametrize("back", [True, False])
def test_who_comes_back_first_does_not_begin_without_the_others(before, back):
    server = Server(phones=3)
    server.enroll("a", "b", "c")
    if before != "first":
        round = server.begun("a", "b", "c")
        for name in "abc":
            reply = server.give(name, round, 1.0)
        result(reply)
    if before == "killed":
        server = server.killed()
    server.begin("b", 1)  # and the reply is lost
    server.cut("a", "b", "c")

    server.come("a")
    replies = [server.begin("a", 1)]
    waits = [not replies[0].done()]
    if back:
        server.come("c", "b")
        replies += [server.begin("c", 1)]
        waits += [not replies[0].done()]
        replies += [server.begin("b", 1)]
    elif before == "first":
        server.leave("b", "c")
        server.enroll("d", "e")  # as many as are expected
        replies += [server.begin(name) for name in "de"]
    else:
        server.leave("b", "c")

    assert all(waits)
    rounds = {result(reply).round for reply in replies}
    assert rounds == {0 if before == "first" else 1}
    assert len(server.rounds.running) == len(replies)


def test_what_a_phone_gave_counts_when_it_is_gone():
    server = Server(phones=2)
    server.enroll("a", "b")
    round = server.begun("a", "b")
    server.give("a", round, 1)
    server.leave("a")
    time.sleep(0.1)

    assert result(server.give("b", round, 3)).members == (0, 1)


def test_who_comes_after_the_deadline_is_in_the_next_round():
    server = Server(phones=2, round_deadline_s=0.5)
    server.enroll("a", "b")
    round = server.begun("a", "b")
    assert result(server.give("a", round, 1)).members == (0,)

    with pytest.raises(ProtocolError) as raised:
        server.give("b", round, 3)
    assert raised.value.reason == "late"
    first, second = server.begin("a", 1), server.begin("b", 0)

    assert result(first).round == round + 1
    if not second.done():  # `a` had begun when it asked
        result(server.give("a", round + 1, 0))
        result(server.begin("a", 2))
    assert result(second).tensors


def test_one_that_is_silent_is_not_waited_for_twice():
    server = Server(phones=2, round_deadline_s=1.0)
    server.enroll("a", "b")
    began = time.monotonic()

    assert result(server.begin("a")).round == 0
    assert time.monotonic() - began >= 1.0
    result(server.give("a", 0, 1))
    began = time.monotonic()
    assert result(server.begin("a")).round == 1
    assert time.monotonic() - began < 1.0


def test_a_round_that_all_have_left_ends_without_an_average():
    server = Server(phones=2)
    server.enroll("a", "b")
    server.begun("a", "b")
    server.leave("a", "b")
    for _ in range(100):
        if server.rounds.number == 1:
            break
        time.sleep(0.05)

    server.enroll("c")

    assert (
        result(server.begin("c"))
        == RoundBegun(1, 0, vectors.to_tensors(np.zeros(SIZE, np.float32)))
        or result(server.begin("c")).round == 1
    )
    assert server.half.version == 0


def test_who_is_left_alone_under_masks_is_told_so_and_does_not_wait_for_ever():
    server = Server(3, plain_aggregation=False, round_deadline_s=0.1)
    server.enroll("a", "b", "c")
    server.rounds.number = 1  # at first it would wait for the others
    for name in ("b", "c"):
        server.members.end(name)

    reply = result(server.begin("a"))

    assert isinstance(reply, Refusal) and reply.reason == "cohort"
    assert "2 phones or more" in reply.text


def test_a_round_behind_a_death_waits_for_who_is_not_back_yet():
    first = Server(2)
    first.enroll("a", "b")
    first.begun("a", "b")
    for name in "ab":
        reply = first.give(name, 0, 1.0)
    result(reply)
    other = first.killed()

    other.come("a")
    reply = other.begin("a", 1)
    waits = not reply.done()
    other.come("b")
    other.begin("b", 1)

    assert waits
    assert result(reply).round == 1
    assert other.rounds.running == {0, 1}


def test_one_that_joins_late_trains_in_the_next_round():
    server = Server(phones=1)
    server.enroll("a")
    round = server.begun("a")
    server.enroll("b")
    late = server.begin("b", -1)
    assert not late.done()

    result(server.give("a", round, 4))
    assert not late.done()
    server.begin("a", 1)

    assert result(late).round == 1
    assert vectors.from_tensors(result(late).tensors, SIZE)[0] == 4


def test_all_train_equally_often():
    names = "abcdef"
    server = Server(phones=6, round_phones=2)
    server.enroll(*names)
    waiting = {name: server.begin(name) for name in names}
    counts = dict.fromkeys(names, 0)

    for round in range(9):
        drawn = [name for name in names if waiting[name].done()]
        assert len(drawn) == 2
        replies = [server.give(name, round, 0) for name in drawn]
        for name, reply in zip(drawn, replies, strict=True):
            counts[name] += 1
            result(reply)
        for name in drawn:
            waiting[name] = server.begin(name, round + 1)

    assert set(counts.values()) == {3}


def test_a_reply_that_was_lost_is_given_again():
    server = Server(phones=2)
    server.enroll("a", "b")
    round = server.begun("a", "b")
    assert server.begin("a") == RoundBegun(0, 0)
    told = [server.give("a", round, 1), server.give("b", round, 3)]

    again = server.give("a", round, 1)

    assert result(again) == result(told[0])


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_number_of_examples_is_refused(weight):
    server = Server(phones=1)
    server.enroll("a")
    round = server.begun("a")

    with pytest.raises(ProtocolError, match="weight of a contribution"):
        server.give("a", round, 1, weight)

    assert result(server.give("a", round, 1, 1)).version == 1


def test_an_average_that_overflows_is_refused_and_the_next_round_begins():
    server = Server(phones=1)
    server.enroll("a")
    server.half.put(0, np.full(SIZE, 3e38))
    round = server.begun("a")

    refusal = result(server.give("a", round, 3e38))

    assert refusal.reason == "not-finite"
    assert result(server.begin("a")).round == round + 1
    assert values(server.half) == [np.float32(3e38)] * SIZE


def test_a_server_that_was_killed_goes_on_with_the_round():
    dead = Server(phones=2)
    dead.enroll("a", "b")
    round = dead.begun("a", "b")
    server = Server(phones=2)
    for name in "ab":
        server.enroll(name)
        server.members.of(name).present = False
    server.rounds.load(dead.keeper.written[-1])
    for name in "ab":
        server.enroll(name)

    replies = [server.give("a", round, 1), server.give("b", round, 3)]

    assert [result(reply).members for reply in replies] == [(0, 1)] * 2
    assert values(server.half) == [2, 2, 2]


def test_who_lost_the_end_of_a_round_with_the_server_is_told_by_the_next():
    dead = Server(phones=2)
    dead.enroll("a", "b")
    round = dead.begun("a", "b")
    for reply in [dead.give("a", round, 1), dead.give("b", round, 3)]:
        told = result(reply)
    server = dead.killed()

    again = result(server.give("a", round, 1))
    assert isinstance(again, Gathered)
    assert again.moment == told.moment == dead.keeper.moment
    assert (again.version, tuple(again.members)) == (told.version, (0, 1))
    np.testing.assert_array_equal(again.tensors[0].codes, [[2, 2, 2]])


def test_a_liar_does_not_lead_where_the_median_is_taken():
    server = Server(phones=3, mean="median")
    server.enroll("a", "b", "c")
    round = server.begun("a", "b", "c")

    replies = [server.give(*v) for v in (("a", round, 1), ("b", round, 2))]
    replies.append(server.give("c", round, -1e9, 1e9))

    assert all(result(reply).version == 1 for reply in replies)
    assert values(server.half) == [1, 1, 1]


def test_nothing_is_kept_of_phones_that_have_made_room():
    server = Server()
    server.members._most = 2

    for name in "abcdefghi":
        server.enroll(name)
        server.leave(name)
        server.members.end(name)

    assert len(server.rounds.state()["draws"]["counts"]) == 2


def test_no_more_train_in_a_round_than_can_be_added_up(monkeypatch):
    monkeypatch.setattr(Plain, "most", 3)
    server = Server(phones=4)
    names = "abcd"
    server.enroll(*names)

    waiting = [server.begin(name) for name in names]

    assert sum(reply.done() for reply in waiting) == 3


def test_the_optimizer_is_that_of_those_who_have_a_half():
    server = Server()
    server.half.version = -1
    odd = AveragingTerms(optimizer='{"class_name": "SGD", "config": {}}')
    server.enroll("a", terms=odd)  # the first, which is lost before it gives
    server.leave("a")
    server.half.put(0, np.zeros(SIZE))
    server.enroll("b", "c")

    round = server.begun("b", "c")
    replies = [server.give(name, round, 1.0) for name in "bc"]

    for reply in replies:
        assert result(reply).tensors[0].codes.tolist() == [[1.0] * SIZE]
