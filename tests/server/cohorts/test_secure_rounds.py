import numpy as np

from keras_split.aggregation.secure_phone import SecurePhone
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.vectors import to_tensors
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.rounds import Rounds
from tests.server.cohorts import fakes

WAIT_S = 30.0
SIZE = fakes.SIZE


def test_a_phone_started_again_between_stages_is_not_waited_for():
    members, half = Members(), CohortHalf()
    half.put(0, np.zeros(SIZE))
    rounds = Rounds(CohortConfig("shared", 3), members, half, fakes.Bodies())
    here = [
        members.enroll(name, fakes.enroll(name)) for name in ("a", "b", "c")
    ]
    for member in here:
        rounds.came(member)

    def say(member, message):
        return rounds.answer(message, here[member])

    def give(stage, what):
        """Messages by member, for the replies."""
        futures = {
            member: say(member, Contribution("", 0, stage, **given))
            for member, given in what.items()
        }
        return {m: future.result(WAIT_S) for m, future in futures.items()}

    begun = [say(member, BeginRound("", 0)) for member in range(3)]
    assert all(future.result(WAIT_S).round == 0 for future in begun)
    phones = [
        SecurePhone(
            members.cohort, 0, member, np.full(SIZE, member, np.float32), 1
        )
        for member in range(3)
    ]
    keys = give("keys", {m: {"blobs": {m: phones[m].keys()}} for m in range(3)})

    again = say(0, BeginRound("", 0))  # it has forgotten its keys
    shares = give(
        "shares",
        {m: {"blobs": phones[m].shares(keys[m].blobs)} for m in (1, 2)},
    )
    masked = {
        m: phones[m].value(told.members, told.blobs)
        for m, told in shares.items()
    }
    told = give(
        "value", {m: {"tensors": to_tensors(masked[m])} for m in (1, 2)}
    )
    means = give(
        "unmask",
        {m: {"blobs": phones[m].unmask(told[m].members)} for m in told},
    )

    assert means[1].members == (1, 2) and means[1].version == 1
    assert (half.vector == 1.5).all()
    assert not again.done()  # it waits for the others to begin the next
    for member in (1, 2):
        say(member, BeginRound("", 1))
    assert again.result(WAIT_S).round == 1
