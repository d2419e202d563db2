import logging
import time

import numpy as np
import pytest

from keras_split.client.retry import Retry
from keras_split.errors import RefusedError
from keras_split.errors import TransportError

QUICK = Retry(give_up_s=10, first_s=0.001, longest_s=0.002)


class Failing:
    """Fails so many times, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_it_tries_until_there_is_an_answer(caplog):
    caplog.set_level(logging.INFO, "keras_split")
    function = Failing(*[TransportError("gone.")] * 3)

    assert QUICK.call(function) == "answer"

    assert function.calls == 4
    assert caplog.messages[0] == "gone. Trying again for 10 s."
    assert caplog.messages[-1] == "The server answers again."


def test_it_gives_up_with_the_last_error():
    function = Failing(*[TransportError(str(n)) for n in range(1000)])
    retry = Retry(give_up_s=0.05, first_s=0.001, longest_s=0.002)

    with pytest.raises(TransportError) as info:
        retry.call(function)

    assert str(info.value) == str(function.calls - 1) != "0"


def test_the_time_is_counted_from_the_first_failure():
    function = Failing(TransportError("late"))

    def slow():
        time.sleep(0 if function.calls else 0.3)
        return function()

    retry = Retry(give_up_s=0.2, first_s=0.001, longest_s=0.002)
    assert retry.call(slow) == "answer"


@pytest.mark.parametrize("reason", ["busy", "memory", "rate", "stopping"])
def test_a_server_that_says_later_is_asked_again(reason):
    assert QUICK.call(Failing(RefusedError("later", reason))) == "answer"


@pytest.mark.parametrize(
    "error",
    [RefusedError("no", "shape"), ValueError("bug"), KeyboardInterrupt()],
    ids=repr,
)
def test_anything_else_is_raised_at_once(error):
    function = Failing(error)

    with pytest.raises(type(error)):
        QUICK.call(function)

    assert function.calls == 1


@pytest.mark.parametrize("retry", [None, Retry(give_up_s=0)])
def test_without_retry_the_first_failure_is_raised(retry):
    function = Failing(TransportError("gone"))

    with pytest.raises(TransportError):
        Retry.get(retry).call(function)

    assert function.calls == 1


def test_it_comes_back_from_its_config():
    assert Retry.get(QUICK.get_config()) == QUICK == Retry.get(QUICK)


def test_negative_times_are_refused():
    with pytest.raises(ValueError, match="give_up_s of 0 or more. Received: -"):
        Retry(give_up_s=-1)


def test_pauses_grow_to_the_longest_and_no_two_clients_pause_alike(
    monkeypatch,
):
    def pauses():
        slept = []
        monkeypatch.setattr(time, "sleep", slept.append)
        retry = Retry(give_up_s=60, first_s=1.0, longest_s=8.0)
        retry.call(Failing(*[TransportError("gone")] * 7))
        return np.array(slept)

    one, other = pauses(), pauses()

    least = np.minimum(2.0 ** np.arange(len(one)), 8.0)
    assert len(one) == 6  # the first try comes again at once
    assert (least <= one).all() and (one <= least + 1.0).all()
    assert (one != other).all()
