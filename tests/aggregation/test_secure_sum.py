import numpy as np
import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_split.aggregation import secret_sharing
from keras_split.errors import ProtocolError
from keras_split.errors import QuantizationError
from tests.aggregation.secure_round import SecureRound

THRESHOLDS = {2: 2, 3: 2, 4: 3, 5: 3, 10: 6, 11: 6}


def made(members, size=5, seed=0):
    """Vectors and weights, by member."""
    random = np.random.default_rng(seed)
    return {
        member: (
            random.normal(size=size).astype(np.float32),
            int(random.integers(1, 1000)),
        )
        for member in members
    }


def plain(values, members):
    """The weighted mean in float64, and the weight."""
    weight = sum(values[member][1] for member in members)
    total = sum(
        values[member][0].astype(np.float64) * values[member][1]
        for member in members
    )
    return total / weight, weight


def assert_is_plain_mean(secure, result, values):
    mean, weight, members = result
    expected, weight_of_all = plain(values, members)
    error = secure.sum._roster.format.error(len(members), weight, expected)
    assert weight == weight_of_all
    assert (np.abs(mean - expected) <= error).all()


def gone(phones, seed):
    """Up to a third of those that are there, before each stage."""
    random = np.random.default_rng(seed)
    left, all_gone = list(range(phones)), []
    for _ in range(4):
        count = int(random.integers(0, len(left) // 3 + 1))
        leave = random.choice(left, count, replace=False).tolist()
        left = [member for member in left if member not in leave]
        all_gone.append(leave)
    return all_gone, left


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    phones=st.integers(3, 12),
    seed=st.integers(0, 10_000),
    bits=st.sampled_from([32, 64]),
)
def test_a_sum_is_the_plain_one_if_more_than_half_are_left(phones, seed, bits):
    assert_sums_or_says_why_not(phones, seed, bits)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    phones=st.integers(13, 50),
    seed=st.integers(0, 10_000),
    bits=st.sampled_from([32, 64]),
)
@example(phones=50, seed=3, bits=64)
def test_a_sum_of_many_phones_is_the_plain_one(phones, seed, bits):
    assert_sums_or_says_why_not(phones, seed, bits)


def assert_sums_or_says_why_not(phones, seed, bits):
    leave, left = gone(phones, seed)
    values = made(range(phones), seed=seed)
    secure = SecureRound(values, bits)
    enough = len(left) >= (phones - len(leave[0])) // 2 + 1

    try:
        result = secure.run(*leave)
    except ProtocolError as error:
        assert error.reason == "late" and not enough
    else:
        assert enough
        # Who is gone behind its value is in the sum.
        assert set(result[2]) == set(left) | set(leave[3])
        assert_is_plain_mean(secure, result, values)


@pytest.mark.parametrize("phones", [3, 9, 15])
@pytest.mark.parametrize("stage", range(4))
def test_a_third_may_drop_at_any_one_stage(phones, stage):
    values = made(range(phones))
    leave = [[], [], [], []]
    leave[stage] = list(range(0, phones, 3))[: phones // 3]
    secure = SecureRound(values)

    result = secure.run(*leave)

    assert_is_plain_mean(secure, result, values)


@pytest.mark.parametrize(("phones", "threshold"), THRESHOLDS.items())
def test_more_than_half_must_be_left_in_the_end(phones, threshold):
    values = made(range(phones), size=2)
    few, enough = SecureRound(values), SecureRound(values)

    assert_is_plain_mean(
        enough, enough.run((), (), (), range(threshold, phones)), values
    )
    with pytest.raises(ProtocolError, match=f"Expected {threshold} phones"):
        few.run((), (), (), range(threshold - 1, phones))


def test_one_phone_is_not_added_up():
    with pytest.raises(ProtocolError, match="whose sum tells of none") as told:
        SecureRound(made([0])).run()

    assert told.value.reason == "late"


def test_numbers_of_members_need_not_be_in_a_row():
    values = made([4, 1, 70_000, 9])
    secure = SecureRound(values)

    assert_is_plain_mean(secure, secure.run((), (9,)), values)


def test_who_listens_changes_nothing():
    values = made(range(4))
    values[1] = (np.full(5, 9.0, np.float32), 0)
    secure = SecureRound(values)

    result = secure.run()

    assert result[2] == (0, 1, 2, 3)
    assert_is_plain_mean(secure, result, values)


# -- what the server sees ------------------------------------------------------


def bytes_of(secure, member):
    return np.frombuffer(secure.masked[member].tobytes(), np.uint8)


def masked(values, bits=64, number=5):
    secure = SecureRound(values, bits, number)
    secure.keys()
    secure.shares()
    secure.values()
    return secure


@pytest.fixture
def seeded(monkeypatch):
    """Secrets that are the same in each run, and no two alike."""
    random = np.random.default_rng(11)
    monkeypatch.setattr("secrets.token_bytes", random.bytes)


def assert_even(counts):
    """Chi-square of 256 bins: 255 degrees, mean 255, deviation 22.6."""
    expected = counts.sum() / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 165 < chi_square < 350  # p > 1e-4 at either end


@pytest.mark.parametrize("bits", [32, 64])
def test_all_bytes_from_a_phone_are_alike_often(seeded, bits):
    zeros = {m: (np.zeros(100_000, np.float32), 1) for m in range(3)}
    secure = masked(zeros, bits)

    for place in range(bits // 8):
        there = bytes_of(secure, 1)[place :: bits // 8]
        assert_even(np.bincount(there, minlength=256))


def assert_differ_whole(one, other):
    """One byte in 256 is the same by chance; about half of all bits flip."""
    same = (one == other).mean()
    flipped = np.unpackbits(one ^ other).mean()
    assert abs(same - 1 / 256) < 5 * np.sqrt(1 / 256 / one.size)
    assert abs(flipped - 0.5) < 5 * 0.5 / np.sqrt(8 * one.size)
    assert_even(np.bincount(one - other, minlength=256))


@pytest.mark.parametrize("bits", [32, 64])
def test_one_weight_that_changes_changes_all_bytes(seeded, bits):
    values = made(range(3), size=50_000)
    changed = {**values, 1: (values[1][0].copy(), values[1][1])}
    vector = changed[1][0]
    vector[17] = np.nextafter(vector[17], np.float32(np.inf))

    before, after = masked(values, bits), masked(changed, bits)

    assert_differ_whole(bytes_of(before, 1), bytes_of(after, 1))


def test_the_same_vector_in_two_rounds_is_not_known_again(seeded):
    values = made(range(3), size=50_000)

    first, second = masked(values, number=5), masked(values, number=6)

    assert_differ_whole(bytes_of(first, 1), bytes_of(second, 1))


def test_keys_and_shares_of_two_rounds_have_nothing_in_common():
    first, second = masked(made(range(3))), masked(made(range(3)))

    for member in range(3):
        for place in (0, 32, 64):
            part = slice(place, place + 32)
            assert first.roster[member][part] != second.roster[member][part]
        sealed = set(first.sealed[member].values())
        assert not sealed & set(second.sealed[member].values())


def test_of_one_phone_the_server_gets_one_secret_only():
    secure = masked(made(range(5)))
    members = (0, 1, 2)  # 3 and 4 are gone since
    secure.sum.values({m: secure.masked[m] for m in members})

    told = [secure.phones[member].unmask(members) for member in members]

    for owner in range(5):
        shares = {
            secure.sum._roster.places[member]: shares[owner]
            for member, shares in zip(members, told, strict=True)
        }
        secret = secret_sharing.combine(shares)
        phone = secure.phones[owner]
        assert secret == (phone._own if owner in members else phone._mask)


# -- members that are not as they should be ------------------------------------


def flip(data, place):
    wrong = bytearray(data)
    wrong[place] ^= 1
    return bytes(wrong)


@pytest.mark.parametrize("place", [0, 47, 48, 100])
def test_an_envelope_that_does_not_open_is_a_share_less(place):
    values = made(range(5))
    secure = SecureRound(values)
    secure.keys()
    secure.shares()
    for member in (0, 2):  # of member 1: three shares are enough
        blob = secure.sealed[member][1]
        secure.sealed[member] = {**secure.sealed[member], 1: flip(blob, place)}
    secure.values()

    assert_is_plain_mean(secure, secure.unmask(), values)


@pytest.mark.parametrize("goes", [False, True])
def test_who_seals_rubbish_for_all_is_named_and_nobody_crashes(goes):
    secure = SecureRound(made(range(4)))
    secure.keys()
    secure.shares()
    for member in (0, 2, 3):
        sealed = secure.sealed[member]
        secure.sealed[member] = {**sealed, 1: bytes(len(sealed[1]))}
    secure.values((1,) if goes else ())

    with pytest.raises(ProtocolError, match=r"wrong shares of \[1\]") as told:
        secure.unmask()

    assert told.value.reason == "late" and secure.sum.spoilers == {1}


def test_a_forged_share_is_refused_before_it_counts():
    secure = masked(made(range(4)))
    shares = secure.phones[0].unmask((0, 1, 2, 3))

    for wrong in (flip(shares[1], 3), b"", bytes(100)):
        with pytest.raises(ProtocolError, match="share that member 1 gave"):
            secure.sum.check_unmask(0, {**shares, 1: wrong})
    with pytest.raises(ProtocolError, match="share that member 9 gave"):
        secure.sum.check_unmask(0, {**shares, 9: shares[1]})


def test_the_share_of_the_other_secret_is_refused():
    secure = masked(made(range(4)))
    of_mask_key = secure.phones[0]._shares[1][:16]

    with pytest.raises(ProtocolError, match="share that member 1 gave"):
        secure.sum.check_unmask(0, {1: of_mask_key})


@pytest.mark.parametrize("length", [0, 1, 96, 98, 100_000])
def test_keys_of_a_wrong_length_are_refused(length):
    with pytest.raises(ProtocolError, match="97 bytes") as told:
        SecureRound(made(range(3))).sum.check_keys(bytes(length))

    assert len(str(told.value)) < 400


def test_keys_of_small_order_are_refused():
    secure = SecureRound(made(range(3)))
    keys = secure.phones[0].keys()

    for start in (0, 32):
        wrong = keys[:start] + bytes(32) + keys[start + 32 :]
        with pytest.raises(ProtocolError, match="Expected a public X25519"):
            secure.sum.check_keys(wrong)


def test_an_exponent_that_is_none_is_refused():
    keys = SecureRound(made(range(3))).phones[0].keys()

    with pytest.raises(ProtocolError, match="exponent of its weight"):
        SecureRound(made(range(3)), bits=32).sum.check_keys(
            keys[:-1] + bytes([21])
        )


def test_who_takes_the_keys_of_another_is_left_out():
    secure = SecureRound(made(range(4)))
    given = {member: phone.keys() for member, phone in secure.phones.items()}
    given[3] = given[0][:32] + given[3][32:]

    roster = secure.sum.keys(given)

    assert list(roster) == [0, 1, 2]


@pytest.mark.parametrize("wrong", ["missing", "own", "short", "long"])
def test_shares_that_are_not_for_all_are_refused(wrong):
    secure = SecureRound(made(range(4)))
    secure.keys()
    shares = secure.phones[0].shares(secure.roster)
    if wrong == "missing":
        del shares[2]
    elif wrong == "own":
        shares[0] = shares[1]
    else:
        shares[1] = bytes(10) if wrong == "short" else bytes(100_000)

    with pytest.raises(ProtocolError, match="Expected shares of 112 bytes"):
        secure.sum.check_shares(0, shares)


def test_too_many_examples_for_32_bits_are_said_at_once():
    values = {m: (np.zeros(2, np.float32), 2**20) for m in range(65)}

    with pytest.raises(QuantizationError, match="masks of 64 bits"):
        SecureRound(values, bits=32).keys()
