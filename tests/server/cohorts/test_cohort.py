from concurrent.futures import Future

import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Enrolled
from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.cohort_messages import Leave
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.server.cohorts import absences
from keras_split.server.cohorts import cohort as cohorts
from tests.server.cohorts import fakes
from tests.server.cohorts.fakes import enroll
from tests.server.cohorts.fakes import half
from tests.server.cohorts.fakes import phone

WAIT_S = 30.0


@pytest.fixture
def alarm(monkeypatch):
    """Time goes on when a test says so."""
    made = fakes.Alarm()
    monkeypatch.setattr(absences, "ALARM", made)
    monkeypatch.setattr(absences.workers, "start", lambda call: call())
    return made


def reason(call, *values):
    with pytest.raises(ProtocolError) as raised:
        call(*values)
    return raised.value.reason


def test_the_first_phone_gives_its_half_and_others_receive_it():
    cohort = fakes.cohort()

    first = cohort.answer(enroll("a"), phone("a"))
    second = cohort.answer(enroll("b"), phone("b"))
    assert first == Enrolled(0, 0, give_half=True)
    assert isinstance(second, Future) and not second.done()
    assert cohort.answer(half("a", 2.0), phone("a")) == Done()

    reply = second.result(WAIT_S)
    assert (reply.member, reply.version) == (1, 0)
    np.testing.assert_array_equal(reply.tensors[0].codes, [[2.0] * fakes.SIZE])
    assert cohort.mode.here == [0, 1]


@pytest.mark.parametrize(
    "message", [Forward("a", 0, []), Backward("a", 0, [], 0.1)]
)
def test_who_has_not_enrolled_trains_nothing(message):
    cohort = fakes.begun(fakes.cohort(), "b")

    assert reason(cohort.answer, message, phone("a")) == "cohort"


@pytest.mark.parametrize("message", [Infer("a", []), Snapshot("a")])
def test_who_has_not_enrolled_may_predict_and_keep_copies(message):
    assert fakes.cohort().answer(message, phone("a")) is None


def test_one_phone_does_not_turn_the_body_back():
    restore = Restore("a", "tag")

    assert reason(fakes.cohort().answer, restore, phone("a")) == "cohort"


def test_a_half_that_nobody_asked_for_is_refused():
    """It would be the start of all that come later."""
    cohort = fakes.begun(fakes.cohort(), "a")
    cohort.answer(enroll("b"), phone("b"))

    assert reason(cohort.answer, half("b", 9.0), phone("b")) == "late"
    assert reason(cohort.answer, half("a", 9.0, 7), phone("a")) == "late"
    assert reason(cohort.answer, half("c", 9.0), phone("c")) == "late"

    assert cohort.half.vector.max() == 1.0


def test_a_half_that_is_given_again_changes_nothing():
    """Its connection was lost before the reply came."""
    cohort = fakes.begun(fakes.cohort(), "a")

    assert cohort.answer(half("a", 9.0), phone("a")) == Done()

    assert cohort.half.vector.max() == 1.0


def test_when_the_first_phone_is_gone_for_good_another_one_gives():
    cohort = fakes.cohort()
    cohort.answer(enroll("a", AveragingTerms(every=3)), phone("a"))
    waits = cohort.answer(enroll("b", AveragingTerms(every=3)), phone("b"))

    cohort.left("a", ended=True)

    assert waits.result(WAIT_S) == Later()
    again = cohort.answer(enroll("b"), phone("b"))  # with terms of its own
    assert again == Enrolled(1, 0, give_half=True)


def test_the_first_phone_may_lose_its_connection(alarm):
    cohort = fakes.cohort(return_deadline_s=30)
    cohort.answer(enroll("a"), phone("a"))
    waits = cohort.answer(enroll("b"), phone("b"))

    cohort.left("a")
    alarm.sleep(29)
    cohort.came("a")
    alarm.sleep(60)

    assert not waits.done()
    assert cohort.answer(half("a"), phone("a")) == Done()


def test_the_first_phone_is_not_waited_for_without_end(alarm):
    cohort = fakes.cohort(return_deadline_s=30)
    cohort.answer(enroll("a"), phone("a"))
    waits = cohort.answer(enroll("b"), phone("b"))

    cohort.left("a")
    alarm.sleep(31)

    assert waits.result(WAIT_S) == Later()


def test_who_is_gone_is_waited_for_until_it_has_been_gone_for_too_long(alarm):
    cohort = fakes.begun(fakes.cohort(return_deadline_s=30), "a")
    cohort.answer(enroll("b"), phone("b"))

    cohort.left("b")
    alarm.sleep(20)
    cohort.came("b")
    cohort.left("b")
    alarm.sleep(20)  # 40 since it was gone first
    assert [m.number for m in cohort.members.awaited] == [0, 1]
    assert cohort.mode.lost_ones == []

    alarm.sleep(11)
    assert [m.number for m in cohort.members.awaited] == [0]
    assert cohort.mode.lost_ones == [1]
    cohort.came("b")
    assert [m.number for m in cohort.members.awaited] == [0, 1]


def test_a_goodbye_is_heard_at_once_and_also_of_one_that_is_away(alarm):
    cohort = fakes.begun(fakes.cohort(), "a")
    cohort.answer(enroll("b"), phone("b"))

    cohort.left("a", ended=True)
    cohort.left("b")
    assert cohort.mode.lost_ones == [0]
    cohort.left("b", ended=True)

    assert cohort.mode.lost_ones == [0, 1]
    assert cohort.members.awaited == []
    alarm.sleep(100)
    assert cohort.mode.lost_ones == [0, 1]


def test_who_says_that_it_leaves_is_waited_for_no_longer(alarm):
    cohort = fakes.begun(fakes.cohort(), "a")
    cohort.answer(enroll("b"), phone("b"))

    assert cohort.answer(Leave("a"), phone("a")) == Done()
    cohort.left("a")  # the connection ends as well
    assert [m.number for m in cohort.members.awaited] == [1]
    assert cohort.mode.lost_ones == [0] and cohort.mode.here == [1]
    alarm.sleep(100)
    assert cohort.mode.lost_ones == [0]

    cohort.came("a")  # it is connected, but to predict
    assert [m.number for m in cohort.members.awaited] == [1]
    cohort.answer(enroll("a"), phone("a"))
    assert [m.number for m in cohort.members.awaited] == [0, 1]


def test_behind_a_death_all_with_a_session_are_waited_for_and_no_longer(alarm):
    cohort = fakes.begun(fakes.cohort(), "a")
    cohort.answer(enroll("b"), phone("b"))
    cohort.answer(enroll("c"), phone("c"))
    other = fakes.cohort(return_deadline_s=30)

    other.load(cohort.state(), ["a", "b"])
    other.came("a")
    assert [m.number for m in other.members.awaited] == [0, 1]
    alarm.sleep(31)

    assert [m.number for m in other.members.awaited] == [0]
    assert other.mode.lost_ones == [1]


def test_nobody_is_lost_to_a_server_that_has_stopped(alarm):
    """Others might go on then, and write where another server does."""
    cohort = fakes.begun(fakes.cohort(), "a")
    cohort.answer(enroll("b"), phone("b"))

    cohort.left("a")
    cohort.close()
    cohort.left("b")
    alarm.sleep(100)

    assert cohort.mode.lost_ones == []


def test_who_comes_back_is_there_again_and_has_its_number():
    cohort = fakes.begun(fakes.cohort(events=(heard := fakes.Heard())), "a")
    cohort.answer(enroll("b"), phone("b"))

    cohort.answer(enroll("b"), phone("b"))  # again: nobody new
    cohort.mode.here = [0, 1]

    cohort.left("a")
    assert cohort.mode.here == [1]
    cohort.came("a")
    cohort.came("a")

    assert cohort.mode.here == [1, 0]
    assert heard.told == [
        ("enrolled", 0),
        ("enrolled", 1),
        ("away", 0),
        ("enrolled", 0),
    ]


def test_a_client_with_a_name_finds_its_number_with_another_session():
    cohort = fakes.begun(fakes.cohort(), "a")
    for session in ("b", "c"):
        reply = cohort.answer(enroll(session), phone(session, "bob"))
        cohort.left(session, ended=True)

        assert reply.member == 1
    assert len(cohort.members) == 2


def test_other_terms_and_other_halves_are_refused():
    cohort = fakes.begun(fakes.cohort(), "a")

    for message in (
        enroll("b", AveragingTerms(every=5)),
        enroll("b", size=fakes.SIZE + 1),
        enroll("b", layout="0" * 64),
    ):
        assert reason(cohort.answer, message, phone("b")) == "cohort"

    assert len(cohort.members) == 1


def test_all_average_as_many_gradients_and_one_that_comes_back_too():
    bodies = fakes.Bodies()
    terms = AveragingTerms(1, "gradients")
    said = {"terms": terms, "averaged": 2}

    def begun():
        return fakes.cohort(bodies=bodies, mode="merged")

    cohort = begun()
    cohort.answer(enroll("a", **said), phone("a"))
    cohort.answer(half("a"), phone("a"))
    other = begun()
    other.load(cohort.state(), ["a"])

    for made in (cohort, other):
        for session in ("a", "b"):  # a client of it, and a newcomer
            odd = enroll(session, terms, averaged=1)
            assert reason(made.answer, odd, phone(session)) == "cohort"
        assert made.answer(enroll("a", **said), phone("a")).member == 0
        assert made.answer(enroll("b", **said), phone("b")).member == 1


def test_what_a_phone_is_told_outlives_the_server():
    bodies = fakes.Bodies()
    cohort = fakes.begun(fakes.cohort(bodies=bodies), "a")
    assert bodies.written == 1
    cohort.answer(enroll("b"), phone("b", "bob"))
    assert bodies.written == 2
    cohort.answer(enroll("b"), phone("b", "bob"))  # known: nothing to write
    assert bodies.written == 2
    cohort.mode.progress = {"round": 4}

    other = fakes.cohort()
    other.load(cohort.state(), ["a"])

    assert other.info == cohort.info
    assert other.mode.progress == {"round": 4}
    assert other.members.present == []
    assert [m.session for m in other.members] == ["a", ""]
    other.came("a")
    assert other.mode.here == [0]
    assert other.answer(half("a", 9.0), phone("a")) == Done()
    reply = other.answer(enroll("c"), phone("c", "bob"))
    assert (reply.member, reply.version) == (1, 0)
    assert reply.tensors[0].codes.max() == 1.0
    assert other.answer(enroll("d"), phone("d")).member == 2


def test_a_cohort_of_another_mode_is_not_taken_over():
    with pytest.raises(DataError, match="--cohort shared"):
        fakes.cohort(mode="private").load(fakes.cohort().state(), [])


@pytest.mark.parametrize(
    "optimizer",
    [
        '{"class_name": "LossScaleOptimizer", "config": {"inner_optimizer": '
        '{"class_name": "SGD", "config": {}}}}',
        '{"class_name": "SGD", "config": {"clipnorm": 1, "clipvalue": 1}}',
    ],
)
def test_an_optimizer_that_cannot_be_is_agreed_on_by_nobody(optimizer):
    cohort = fakes.cohort()
    terms = AveragingTerms(optimizer=optimizer)

    assert reason(cohort.answer, enroll("a", terms), phone("a")) == "optimizer"

    assert cohort.answer(enroll("b"), phone("b")).give_half


def test_a_first_phone_that_stays_and_is_silent_is_not_waited_for(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(cohorts.time, "monotonic", lambda: now[0])
    cohort = fakes.cohort(round_deadline_s=60)
    cohort.answer(enroll("a"), phone("a"))
    assert isinstance(cohort.answer(enroll("b"), phone("b")), Future)

    now[0] += 61  # a phone without a stream is never known to be gone
    again = cohort.answer(enroll("b"), phone("b"))

    assert again == Enrolled(1, 0, give_half=True)
    assert reason(cohort.answer, half("a"), phone("a")) == "late"
    assert cohort.answer(half("b"), phone("b")) == Done()


def test_who_said_otherwise_before_there_was_a_half_is_none_of_the_others(
    alarm,
):
    cohort = fakes.cohort(return_deadline_s=30)
    cohort.answer(enroll("a", AveragingTerms(every=3)), phone("a"))
    cohort.left("a")  # it is asked for its half, and its connection is cut
    alarm.sleep(31)
    fakes.begun(cohort, "b")

    cohort.came("a")  # it is back in its session

    assert cohort.mode.here == [1]
    assert reason(cohort.answer, half("a"), phone("a")) == "late"
    assert reason(cohort.answer, BeginRound("a", 0), phone("a")) == "cohort"
    again = enroll("a", AveragingTerms(every=3))
    assert reason(cohort.answer, again, phone("a")) == "cohort"
    reply = cohort.answer(enroll("a"), phone("a"))
    assert (reply.member, reply.version) == (0, 0)
    assert cohort.mode.here == [1, 0]
