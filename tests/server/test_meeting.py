from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline
from keras_split.server.meeting import notice

OURS = Moment("ab" * 16, 10)
THEIRS = Moment("cd" * 16, 4)


def test_who_may_go_on_without_a_word():
    assert notice(Moment(), Timeline(OURS)) == ""
    assert notice(Moment(), Timeline()) == ""
    assert notice(OURS, Timeline(OURS)) == ""
    assert notice(Moment(OURS.run, 3), Timeline(OURS)) == ""
    assert notice(OURS, Timeline(THEIRS, (OURS,))) == ""


def test_a_body_of_elsewhere_is_named_with_what_to_do():
    text = notice(OURS, Timeline(THEIRS))

    assert "run abababab, step 10" in text and "run cdcdcdcd, step 4" in text
    assert "not trained together" in text and "--checkpoints" in text


def test_a_body_that_has_not_trained_or_went_back_is_told_so():
    back = Timeline(Moment(OURS.run, 7))

    assert "this body has not trained" in notice(OURS, Timeline())
    assert "this body is of step 7 of it" in notice(OURS, back)
    assert "went back" in notice(OURS, back)
    assert notice(OURS, Timeline(THEIRS, (back.moment,)))
