import pytest

from keras_split.device.clock import Clock


def test_it_adds_up_calls_and_seconds():
    clock = Clock()

    for _ in range(3):
        with clock.measure("a"):
            pass

    assert clock.laps["a"].calls == 3
    assert clock.laps["a"].seconds > 0


def test_what_fails_is_not_counted():
    clock = Clock()

    with pytest.raises(OSError), clock.measure("a"):
        raise OSError

    assert clock.laps == {}
