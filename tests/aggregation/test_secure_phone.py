import numpy as np
import pytest

from keras_split.aggregation.secure_phone import SecurePhone
from keras_split.errors import ProtocolError
from keras_split.errors import QuantizationError
from tests.aggregation.secure_round import COHORT
from tests.aggregation.secure_round import SecureRound

VALUES = {m: (np.full(3, m, np.float32), 1 + m) for m in range(5)}


@pytest.fixture
def secure():
    return SecureRound(VALUES)


def test_it_says_once_who_is_gone(secure):
    secure.keys()
    secure.shares()
    secure.values()
    phone = secure.phones[0]

    first = phone.unmask((0, 1, 2, 3))

    assert phone.unmask((3, 2, 1, 0)) == first  # the reply was lost
    for members in ((0, 1, 2, 4), (0, 1, 2), (0, 1, 2, 3, 4)):
        with pytest.raises(ProtocolError, match="members that are in the sum"):
            phone.unmask(members)


def test_it_unmasks_no_sum_of_few(secure):
    secure.keys()
    secure.shares()
    secure.values()

    for members in ((0, 1), (0,), ()):
        with pytest.raises(ProtocolError, match="Expected 3 phones") as told:
            secure.phones[0].unmask(members)
        assert told.value.reason == "late"


def test_it_unmasks_no_sum_without_its_own_value(secure):
    secure.keys()
    secure.shares()
    secure.values()

    with pytest.raises(ProtocolError, match="this one among them"):
        secure.phones[0].unmask((1, 2, 3, 4))


def test_it_unmasks_nobody_that_gave_no_shares(secure):
    secure.keys()
    secure.shares((4,))
    secure.values()

    with pytest.raises(ProtocolError, match="members of this sum"):
        secure.phones[0].unmask((0, 1, 2, 4))


def test_it_masks_nothing_for_few_or_for_others(secure):
    secure.keys()
    secure.shares()

    with pytest.raises(ProtocolError, match="Expected 3 phones"):
        secure.phones[0].value((0, 1), {})
    with pytest.raises(ProtocolError, match="members of this sum"):
        secure.phones[0].value((0, 1, 2, 9), {})


def test_a_roster_with_another_key_of_its_own_is_not_its_round(secure):
    secure.keys()
    other = SecureRound(VALUES).phones[0].keys()

    for roster in ({**secure.roster, 0: other}, {1: other, 2: other}):
        with pytest.raises(ProtocolError, match="this phone gave") as told:
            secure.phones[0].shares(roster)
        assert told.value.reason == "late"


def test_a_roster_of_one_or_with_a_key_twice_is_refused(secure):
    secure.keys()
    keys = secure.roster

    with pytest.raises(ProtocolError, match="whose sum tells of none"):
        secure.phones[0].shares({0: keys[0]})
    with pytest.raises(ProtocolError, match="Received: one twice"):
        secure.phones[0].shares({**keys, 9: keys[1]})


@pytest.mark.parametrize("keys", [b"", bytes(96), bytes(100_000)])
def test_keys_of_a_wrong_length_are_refused(secure, keys):
    secure.keys()

    with pytest.raises(ProtocolError, match="97 bytes"):
        secure.phones[0].shares({**secure.roster, 3: keys})


def test_phones_that_saw_other_rosters_cannot_open_each_others_shares(secure):
    secure.keys()
    other = SecureRound(VALUES).phones[4].keys()
    seen = {**secure.roster, 4: other}

    shares = secure.phones[0].shares(seen)
    secure.phones[1].shares(secure.roster)
    secure.phones[1].value((0, 1, 2), {0: shares[1]})

    assert list(secure.phones[1]._shares) == [1]


def test_stages_come_in_their_order_and_once(secure):
    phone = secure.phones[0]
    with pytest.raises(ProtocolError, match="Expected shares once"):
        phone.value((0, 1, 2), {})
    with pytest.raises(ProtocolError, match="Expected values behind shares"):
        phone.unmask((0, 1, 2))

    secure.keys()
    secure.shares()
    with pytest.raises(ProtocolError, match="Expected keys once"):
        phone.shares(secure.roster)
    secure.values()
    with pytest.raises(ProtocolError, match="Expected shares once"):
        phone.value((0, 1, 2, 3), {})


def test_a_vector_that_does_not_fit_is_refused_before_anything_is_told():
    with pytest.raises(QuantizationError, match="masks of 32 bits"):
        SecurePhone(COHORT, 0, 0, np.full(2, 17.0, np.float32), 1, bits=32)
    with pytest.raises(QuantizationError, match="Expected a weight"):
        SecurePhone(COHORT, 0, 0, np.zeros(2, np.float32), -1)
