import threading
from dataclasses import replace

import numpy as np
import pytest

from keras_split.aggregation.secure_phone import SecurePhone
from keras_split.compression import codecs
from keras_split.errors import ProtocolError
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.messages import Refusal
from keras_split.protocol.vectors import from_tensors
from keras_split.protocol.vectors import to_tensors
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.server.cohorts import aggregations
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.config import MOST_SECURE
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.plain import Plain
from keras_split.server.cohorts.secure import Secure

WAIT_S = 30.0
NAME = "ab" * 16
SIZE = 4


class Averaged:
    """A `Secure`, what its mode hears, and phones that say what is due."""

    def __init__(self, phones=4, deadline_s=WAIT_S, bits=64):
        self.averages, self.given_up = [], threading.Event()
        task = Task(
            NAME,
            7,
            SIZE,
            frozenset(range(phones)),
            self._finish,
            self.given_up.set,
        )
        config = CohortConfig(
            phones=max(phones, 3), bits=bits, round_deadline_s=deadline_s
        )
        self.secure = Secure(config, task)
        self.bits = bits
        self.phones = {m: self.phone(m) for m in range(phones)}
        self.last = {}

    def phone(self, member):
        vector = np.full(SIZE, member, np.float32)
        return SecurePhone(NAME, 7, member, vector, 1.0, self.bits)

    def _finish(self, average):
        self.averages.append(average)
        tensors = to_tensors(average.vector)
        members = average.members
        return Gathered(7, "value", members, 8, average.weight, tensors)

    def message(self, member, stage):
        """What a phone gives, by what it was told before."""
        phone, told = self.phones[member], self.last.get(member)
        what = {}
        if stage == "keys":
            what["blobs"] = {member: phone.keys()}
        elif stage == "shares":
            what["blobs"] = phone.shares(told.blobs)
        elif stage == "value":
            masked = phone.value(told.members, told.blobs)
            what["tensors"] = to_tensors(masked)
        else:
            what["blobs"] = phone.unmask(told.members)
        return Contribution("s", 7, stage, **what)

    def stage(self, stage, *members):
        """Some phones give; the replies, when they are there."""
        futures = {
            member: self.secure.give(member, self.message(member, stage))
            for member in members
        }
        replies = {
            member: future.result(WAIT_S) for member, future in futures.items()
        }
        self.last.update(replies)
        return replies


def test_a_config_says_which_aggregation_it_is():
    assert aggregations.of(CohortConfig(phones=3)) is Secure
    assert aggregations.of(CohortConfig(phones=2)) is Plain
    plain = CohortConfig(phones=3, plain_aggregation=True)
    assert aggregations.of(plain) is Plain


@pytest.mark.parametrize("bits", [32, 64])
def test_phones_go_through_the_stages_and_get_the_average(bits):
    made = Averaged(bits=bits)

    for stage in ("keys", "shares", "value"):
        replies = made.stage(stage, 0, 1, 2, 3)
        assert {reply.stage for reply in replies.values()} == {stage}
    replies = made.stage("unmask", 0, 1, 2, 3)

    for reply in replies.values():
        assert (reply.round, reply.stage, reply.version) == (7, "unmask", 8)
        assert reply.members == (0, 1, 2, 3) and reply.weight == 4
        assert (from_tensors(reply.tensors, SIZE) == 1.5).all()
    assert len(made.averages) == 1 and not made.given_up.is_set()


def test_who_is_late_at_a_stage_is_left_out():
    made = Averaged(deadline_s=1.0)

    made.stage("keys", 0, 1, 2, 3)
    made.stage("shares", 0, 1, 2)
    with pytest.raises(ProtocolError) as late:
        made.stage("shares", 3)
    made.stage("value", 0, 1, 2)
    replies = made.stage("unmask", 0, 1, 2)

    assert late.value.reason == "late"
    assert (from_tensors(replies[0].tensors, SIZE) == 1.0).all()


def test_who_is_gone_after_the_shares_is_left_out_and_not_waited_for():
    made = Averaged()

    made.stage("keys", 0, 1, 2, 3)
    made.stage("shares", 0, 1, 2, 3)
    made.secure.lose(3)
    made.stage("value", 0, 1, 2)
    replies = made.stage("unmask", 0, 1, 2)

    assert replies[0].members == (0, 1, 2)
    assert (from_tensors(replies[0].tensors, SIZE) == 1.0).all()


def test_who_is_lost_in_a_stage_it_has_given_to_is_not_waited_for_later():
    made = Averaged()
    messages = {m: made.message(m, "keys") for m in range(4)}
    first = {m: made.secure.give(m, messages[m]) for m in range(3)}
    made.secure.lose(0)
    first[3] = made.secure.give(3, messages[3])
    made.last = {m: future.result(WAIT_S) for m, future in first.items()}

    made.stage("shares", 1, 2, 3)
    made.stage("value", 1, 2, 3)

    assert made.last[1].members == (1, 2, 3)
    assert made.stage("unmask", 1, 2, 3)[1].members == (1, 2, 3)


def test_a_stage_that_is_given_again_has_the_same_reply():
    made = Averaged()
    messages = {m: made.message(m, "keys") for m in range(4)}
    first = {m: made.secure.give(m, messages[m]) for m in range(4)}

    again = made.secure.give(2, messages[2])

    assert again is first[2]
    assert again.result(WAIT_S).stage == "keys"


@pytest.mark.parametrize("stage", ["keys", "shares", "value", "unmask"])
def test_too_few_at_a_stage_are_told_so_and_there_is_no_average(stage):
    made = Averaged(deadline_s=0.5)
    for before in ("keys", "shares", "value"):
        if before == stage:
            break
        made.stage(before, 0, 1, 2, 3)

    replies = made.stage(stage, 0)

    assert isinstance(replies[0], Refusal) and replies[0].reason == "late"
    assert made.given_up.wait(WAIT_S) and not made.averages
    with pytest.raises(ProtocolError) as late:
        made.secure.give(1, Contribution("s", 7, "unmask"))
    assert late.value.reason == "late"


@pytest.mark.parametrize("left", [range(4), range(0)])
def test_a_round_that_all_leave_or_are_silent_in_is_given_up(left):
    made = Averaged(deadline_s=WAIT_S if left else 0.3)
    made.stage("keys", 0, 1, 2, 3)

    for member in left:
        made.secure.lose(member)

    assert made.given_up.wait(WAIT_S)


def test_a_stage_that_is_to_come_is_refused_and_keys_are_asked_for():
    made = Averaged()

    with pytest.raises(ProtocolError, match="Begin with keys") as told:
        made.secure.give(0, Contribution("s", 7, "value"))

    assert told.value.reason == "order"


def test_another_round_is_late_and_an_unknown_stage_is_refused():
    made = Averaged()

    with pytest.raises(ProtocolError) as late:
        made.secure.give(0, Contribution("s", 6, "keys"))
    with pytest.raises(ProtocolError, match="Expected a stage of keys, sh"):
        made.secure.give(0, Contribution("s", 7, "x" * 100_000))

    assert late.value.reason == "late"


@pytest.mark.parametrize(
    ("stage", "what"),
    [
        ("keys", {"blobs": {0: b"short"}}),
        ("keys", {"blobs": {1: bytes(97)}}),
        ("shares", {"blobs": {1: b"short"}}),
        ("value", {"tensors": to_tensors(np.zeros(SIZE + 1, np.float32))}),
        ("value", {"tensors": to_tensors(np.zeros(SIZE, np.uint64))}),
        ("value", {}),
        ("unmask", {"blobs": {1: bytes(16)}}),
    ],
)
def test_a_phone_that_gives_rubbish_is_left_out_at_once(stage, what):
    made = Averaged()
    due = ("keys", "shares", "value", "unmask")
    for before in due[: due.index(stage)]:
        made.stage(before, 0, 1, 2, 3)

    with pytest.raises(ProtocolError) as told:
        made.secure.give(0, Contribution("s", 7, stage, **what))
    for rest in due[due.index(stage) :]:
        replies = made.stage(rest, 1, 2, 3)

    assert told.value.reason != "late" and len(str(told.value)) < 500
    assert replies[1].stage == "unmask" and len(made.averages) == 1


def test_who_takes_the_keys_of_another_is_refused_with_a_reason():
    made = Averaged()
    keys = {m: made.message(m, "keys") for m in range(4)}
    stolen = Contribution("s", 7, "keys", blobs={3: keys[0].blobs[0]})

    futures = [made.secure.give(m, keys[m]) for m in range(3)]
    refused = made.secure.give(3, stolen).result(WAIT_S)

    assert isinstance(refused, Refusal) and "those of another" in refused.text
    assert futures[0].result(WAIT_S).members == (0, 1, 2)


def test_who_seals_rubbish_is_named_in_the_log(caplog):
    made = Averaged()
    made.stage("keys", 0, 1, 2, 3)
    futures = {}
    for member in range(4):
        message = made.message(member, "shares")
        if member == 0:
            wrong = dict.fromkeys(message.blobs, bytes(112))
            message = replace(message, blobs=wrong)
        futures[member] = made.secure.give(member, message)
    made.last = {m: future.result(WAIT_S) for m, future in futures.items()}
    made.stage("value", 0, 1, 2, 3)

    replies = made.stage("unmask", 0, 1, 2, 3)

    assert {reply.reason for reply in replies.values()} == {"late"}
    assert "members [0]" in caplog.text and made.given_up.is_set()


def test_a_mode_that_refuses_the_average_tells_all_and_is_not_told_twice():
    made = Averaged(phones=3)

    def finish(average):
        raise ProtocolError("Not that one.", "norm")

    object.__setattr__(made.secure._task, "finish", finish)
    for stage in ("keys", "shares", "value"):
        made.stage(stage, 0, 1, 2)
    replies = made.stage("unmask", 0, 1, 2)

    assert {reply.reason for reply in replies.values()} == {"norm"}
    assert not made.given_up.is_set()


@pytest.mark.parametrize(("stage", "nbytes"), [("keys", 97), ("shares", 112)])
def test_what_most_phones_tell_each_other_fits_a_message(stage, nbytes):
    numbers = range(100_000, 100_000 + MOST_SECURE)  # others came before
    blobs = dict.fromkeys(numbers, bytes(nbytes))
    members = tuple(numbers)

    for message in (
        Contribution("0" * 32, 1, stage, blobs=blobs),
        Gathered(1, stage, members, blobs=blobs),
    ):
        codec = codecs.get("raw")
        (arrived,) = frames.join(
            frames.split(*convert.to_wire(message, codec)), 1 << 20
        )
        assert convert.from_wire(*arrived, codec, 1 << 20) == message
