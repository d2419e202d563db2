import itertools

import pytest

from keras_split.aggregation import secret_sharing

SECRET = bytes(range(16))
KEY = bytes(32)


def test_any_so_many_shares_have_the_secret():
    shares = secret_sharing.split(SECRET, 3, 5)

    for places in itertools.combinations(range(5), 3):
        some = {place: shares[place] for place in places}
        assert secret_sharing.combine(some) == SECRET


def test_fewer_have_another_number():
    shares = secret_sharing.split(SECRET, 3, 5)

    assert secret_sharing.combine({0: shares[0], 1: shares[1]}) != SECRET
    assert SECRET not in shares


def test_a_known_secret_for_phones_in_other_languages():
    """`1 + x` at the places 0 and 1: `c0 + c1 * (i + 1)`, c0 = 1, c1 = 1."""
    one, shares = (1).to_bytes(16, "big"), {}
    for place in (0, 1):
        shares[place] = (1 ^ (place + 1)).to_bytes(16, "big")

    assert secret_sharing.combine(shares) == one


def test_an_envelope_opens_with_its_key_only():
    sealed = secret_sharing.seal(KEY, SECRET)

    assert len(sealed) == secret_sharing.sealed_bytes(len(SECRET))
    assert secret_sharing.unseal(KEY, sealed) == SECRET
    assert secret_sharing.unseal(bytes([1]) + KEY[1:], sealed) is None


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(32), bytes(100_000)])
def test_what_is_no_envelope_has_nothing_in_it(sealed):
    assert secret_sharing.unseal(KEY, sealed) is None


@pytest.mark.parametrize("place", [0, 15, 16, 31])
def test_an_envelope_that_was_tampered_with_has_nothing_in_it(place):
    sealed = bytearray(secret_sharing.seal(KEY, SECRET))
    sealed[place] ^= 1

    assert secret_sharing.unseal(KEY, bytes(sealed)) is None
