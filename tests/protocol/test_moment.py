"""Which moment of which training a half is of."""

from keras_split.protocol.moment import Moment


def test_a_half_that_never_trained_has_no_moment():
    assert not Moment()
    assert str(Moment()) == "not trained yet"
    assert Moment.get(None) == Moment()


def test_it_survives_its_config():
    moment = Moment("ab" * 16, 1200)

    assert Moment.get(moment.get_config()) == moment
    assert Moment.get(moment) is moment
    assert str(moment) == "run abababab, step 1,200"
