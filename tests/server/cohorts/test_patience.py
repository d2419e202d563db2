import logging
import threading
import time

import pytest

from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.patience import Patience
from keras_split.server.cohorts.patience import tell_silent


@pytest.fixture
def over():
    return threading.Event()


@pytest.fixture
def patience(over):
    config = CohortConfig(step_deadline_s=0.3, round_deadline_s=30)
    made = Patience(config, over.set)
    yield made
    made.stop()


def test_it_has_an_end_which_is_that_of_the_first_call(patience, over):
    began = time.monotonic()
    patience.wait(long=False)
    patience.wait(long=True)

    assert over.wait(5) and time.monotonic() - began >= 0.3


def test_it_is_longer_between_epochs_until_who_was_there_is_gone(
    patience, over
):
    patience.wait(long=True)
    assert not over.wait(0.6)

    patience.wait(long=False)
    assert over.wait(5)


def test_nothing_comes_when_all_are_there(patience, over):
    patience.wait(long=False)
    patience.stop()

    assert not over.wait(0.6)


def test_the_log_says_who_is_not_waited_for(caplog):
    with caplog.at_level(logging.WARNING, "keras_split.server"):
        tell_silent("step 3", {2, 1})
        tell_silent("step 4", set())

    (record,) = caplog.records
    assert "step 3 begins without phones 1, 2" in record.getMessage()
