"""What a server knows of the data of its clients."""

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.data_digest import DataDigest

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "theirs",
    [
        DataDigest(),
        DataDigest(A),
        DataDigest(preprocess=B),
        DataDigest(A, B),
    ],
)
def test_who_says_the_same_or_nothing_is_let_in(theirs):
    DataDigest(A, B).check(theirs)
    DataDigest().check(theirs)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (DataDigest(B), "--classes-from"),
        (DataDigest(A, A), "images scaled"),
        (DataDigest("", A), "images scaled"),
    ],
)
def test_who_says_otherwise_is_refused(theirs, words):
    with pytest.raises(ProtocolError, match=words) as caught:
        DataDigest(A, B).check(theirs)

    assert caught.value.reason == "data"
    assert "Expected" in str(caught.value)
    assert "Received" in str(caught.value)


@pytest.mark.parametrize("value", ["cat, dog", "a" * 63, "A" * 64, A + "\n"])
def test_what_is_no_hash_is_refused(value):
    with pytest.raises(ProtocolError, match="64 hexadecimal"):
        DataDigest(value)


def test_what_one_does_not_say_comes_from_the_other():
    assert DataDigest(A).or_else(DataDigest(B, B)) == DataDigest(A, B)


def test_hashes_are_the_same_after_a_file():
    for digest in (DataDigest(), DataDigest(A), DataDigest(A, B)):
        assert DataDigest.get(digest.get_config()) == digest
    assert DataDigest.get(None) == DataDigest()
