import pytest

from keras_split.errors import RefusedError
from keras_split.server.places import Places


def test_who_finds_no_place_is_told_so_at_once():
    places = Places(2)

    with places.take(), places.take():
        with pytest.raises(RefusedError) as info:
            with places.take():
                raise AssertionError("not reached")

    assert info.value.reason == "busy"
    assert str(info.value) == (
        "Expected fewer calls at a time. Received: one more than this server "
        "answers."
    )


def test_a_place_is_given_back_whatever_happens():
    places = Places(1)

    for _ in range(3):
        with pytest.raises(KeyError):
            with places.take():
                raise KeyError

    with places.take():
        pass
