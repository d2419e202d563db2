import logging

import numpy as np
import pytest

from keras_split.detection.agreement import Check
from keras_split.detection.verdict import Verdict
from keras_split.errors import HijackError


def check(agreement, kind="before", step=3):
    """A check of that agreement."""
    angle = np.arccos(agreement)
    return Check(
        step, kind, np.array([1.0, 0]), np.array([np.cos(angle), np.sin(angle)])
    )


def test_a_good_check_asks_for_no_other():
    verdict = Verdict()

    verdict.saw([check(0.97)])

    assert verdict.next() == ""


def test_a_bad_check_is_repeated_in_its_kind():
    verdict = Verdict()

    verdict.saw([check(0.2, "after")])

    assert verdict.next() == "after"


def test_two_bad_ones_before_a_step_end_the_training():
    verdict = Verdict()
    verdict.saw([check(0.2)])

    with pytest.raises(HijackError, match="0.20 in step 3.*0.60 in step 4"):
        verdict.saw([check(0.6, step=4)])


def test_who_behaves_in_the_second_check_has_not_made_up_for_the_first():
    verdict = Verdict()
    verdict.saw([check(-0.1)])

    with pytest.raises(HijackError):
        verdict.saw([check(1.0)])


def test_one_that_was_a_little_low_is_no_hijack():
    verdict = Verdict()
    verdict.saw([check(0.7)])

    verdict.saw([check(0.95)])

    assert verdict.next() == ""


def alarmed(verdict=None):
    verdict = verdict or Verdict()
    for _ in range(2):
        verdict.saw([check(0.3, "after")])
    return verdict


def watched(verdict):
    """It agrees in steps that are checked before and after."""
    return [verdict.saw([check(0.99), check(0.98, "after")]) for _ in range(3)]


def test_bad_ones_after_a_step_have_steps_checked_before_and_after():
    assert alarmed().next() == "both"


def test_a_server_that_agrees_only_while_it_is_watched_is_told():
    verdict = alarmed()
    watched(verdict)
    alarmed(verdict)

    with pytest.raises(HijackError, match="honest in steps that it saw"):
        watched(verdict)


def test_a_body_that_moves_far_in_its_first_steps_is_looked_at_again():
    verdict = alarmed()

    assert watched(verdict) == [False, False, True]
    assert verdict.next() == ""
    assert not verdict.saw([check(0.97, "after")])


def test_a_server_that_does_not_agree_while_it_is_watched_is_told():
    with pytest.raises(HijackError):
        alarmed().saw([check(0.3), check(0.98, "after")])


def test_a_body_that_changes_much_in_a_step_is_checked_before_it(caplog):
    verdict = alarmed()

    with caplog.at_level(logging.WARNING, "keras_split"):
        for agreement in (0.9, 0.5, 0.7):
            verdict.saw([check(0.99), check(agreement, "after")])

    assert not verdict.after
    assert verdict.next() == ""
    assert "dropout" in caplog.text


def moved(kind="before"):
    """A check in which the body moved."""
    return Check(5, kind, np.ones(4), -np.ones(4), drift=1.0)


def test_checks_in_which_the_body_moved_are_void_and_said_once(caplog):
    verdict = Verdict()

    with caplog.at_level(logging.WARNING, "keras_split"):
        for _ in range(7):
            verdict.saw([moved()])

    assert verdict.next() == ""
    assert caplog.text.count("If this phone is alone") == 1


def test_a_little_drift_voids_nothing():
    assert not Check(0, "before", np.ones(4), np.ones(4), drift=0.2).void


def test_nothing_claimed_agrees_with_nothing():
    nothing = Check(0, "before", np.zeros(4), np.ones(4))

    assert nothing.agreement == 0.0


def test_a_step_without_gradients_says_nothing():
    verdict = Verdict()
    nothing = Check(3, "after", np.zeros(2), np.zeros(2))

    for _ in range(5):
        assert not verdict.saw([nothing])

    assert verdict.next() == ""


def test_gradients_of_nothing_that_was_measured_are_bad():
    verdict = Verdict()

    verdict.saw([Check(3, "after", np.ones(2), np.zeros(2))])

    assert verdict.next() == "after"
