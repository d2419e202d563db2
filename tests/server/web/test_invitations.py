import pytest

from keras_split.server.web.invitations import Invitations
from keras_split.server.web.refusals import HttpError


def test_a_code_ends():
    now = [0.0]
    invitations = Invitations(600, lambda: now[0])
    code = invitations.make()
    now[0] = 599.0
    assert invitations.is_open(code)

    now[0] = 600.0

    with pytest.raises(HttpError, match="has ended") as error:
        invitations.use(code)
    assert error.value.status == 410
    assert not invitations.was_used(code)


def test_a_code_of_which_nothing_came_is_good_again():
    invitations = Invitations()
    code = invitations.make()
    invitations.use(code)

    invitations.give_back(code)

    assert invitations.is_open(code)


def test_not_more_than_some_are_remembered():
    invitations = Invitations()
    first, *_, last = [invitations.make() for _ in range(300)]

    assert invitations.is_open(last)
    with pytest.raises(HttpError) as error:
        invitations.use(first)
    assert error.value.status == 401
