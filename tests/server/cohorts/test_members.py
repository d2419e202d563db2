import pytest

from keras_split.errors import ProtocolError
from keras_split.server.cohorts.members import Members
from tests.server.cohorts.fakes import enroll


def test_those_without_a_name_are_told_apart_by_session():
    members = Members()

    one = members.enroll("s0", enroll("s0"))
    other = members.enroll("s1", enroll("s1"))

    assert (one.number, other.number) == (0, 1)
    assert members.of("s1") is other and members.of("s2") is None


def test_there_is_an_end_to_them_and_those_whose_session_ended_go_first():
    members = Members(most=2)
    for name in ("s0", "s1"):
        members.enroll(name, enroll(name))
    with pytest.raises(ProtocolError) as raised:
        members.enroll("s2", enroll("s2"))
    assert raised.value.reason == "busy"

    members.end("s0")
    for i in range(3, 100):
        members.enroll(f"s{i}", enroll(f"s{i}"))
        members.end(f"s{i}")

    assert len(members) == 2
    assert members.of("s1").number == 1
    assert [m.number for m in members] == [1, 98]  # numbers are not used twice


def test_the_older_session_of_a_client_is_nobodys():
    members = Members()
    members.enroll("bob", enroll("s0")).present = False  # it was killed

    member = members.enroll("bob", enroll("s1"))
    members.end("s0")

    assert members.of("s0") is None and member.number == 0
    assert member.present and member.session == "s1"


def test_phones_that_share_a_name_do_not_take_each_others_place():
    members = Members()
    one = members.enroll("bob", enroll("s0"))
    other = members.enroll("bob", enroll("s1"))

    again = members.enroll("bob", enroll("s0"))  # its reply was lost
    members.end("s1")
    back = members.enroll("bob", enroll("s2"))
    restarted = Members()
    restarted.load(members.state())

    assert (one.number, other.number, len(members)) == (0, 1, 2)
    assert again is one and members.of("s0") is one
    assert back is other and back.session == "s2"
    assert [m.session for m in restarted] == ["s0", "s2"]
    assert [m.owner for m in restarted] == ["bob", "bob"]
