import contextlib
from functools import partial

from keras_split.server.guests import Guests


def ended(guests, *hosts):
    """Whose calls are ended when calls of these hosts come and stay."""
    gone = []
    with contextlib.ExitStack() as stack:
        for number, host in enumerate(hosts):
            end = partial(gone.append, f"{host}{number}")
            stack.enter_context(guests.take(f"ipv4:{host}:{number}", end))
    return gone


def test_the_oldest_of_the_host_that_has_most_goes_first():
    assert ended(Guests(4), *"abbbc") == ["b1"]


def test_a_host_that_has_all_it_may_have_ends_its_own():
    assert ended(Guests(8, of_a_host=2), *"abbba") == ["b1"]


def test_places_are_free_again():
    guests = Guests(1)

    assert ended(guests, "a") == ended(guests, "b") == []
