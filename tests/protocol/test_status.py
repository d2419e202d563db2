import dataclasses

import pytest

from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus


def test_a_server_that_did_nothing_has_nothing_to_tell():
    status = ServerStatus("f")

    assert status.sessions == () and status.refusals == {}
    assert status.checkpoint_age_s is None


@pytest.mark.parametrize("status", [ServerStatus("f"), SessionStatus("s")])
def test_a_status_does_not_change_after_it_was_taken(status):
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.steps = 1


def test_two_statuses_do_not_share_their_refusals():
    assert ServerStatus("f").refusals is not ServerStatus("f").refusals
