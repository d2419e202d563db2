import pytest

from keras_split.protocol.row_cache import ENTRY_BYTES
from keras_split.protocol.row_cache import RowCache


def cache_of(rows, nbytes=10):
    return RowCache(rows * (ENTRY_BYTES + nbytes))


def test_what_was_not_used_for_longest_goes_first():
    cache = cache_of(2)
    for name in (b"a", b"b"):
        cache.put(name, name, 10)

    cache.put(b"a", b"a", 10)  # once more is a use, and no second entry
    cache.put(b"c", b"c", 10)

    assert [cache.get(name) for name in (b"a", b"b", b"c")] == [
        *(b"a", None, b"c")
    ]
    assert cache.evicted == 1


def test_the_bytes_are_counted_and_not_the_rows():
    cache = cache_of(3)
    for name in (b"a", b"b", b"c"):
        cache.put(name, name, 10)

    cache.put(b"long", b"long", 2 * 10 + ENTRY_BYTES)

    assert len(cache) == 2 and cache.get(b"c") == b"c"


@pytest.mark.parametrize("limit", [0, ENTRY_BYTES + 9])
def test_a_row_over_the_limit_pushes_nothing_out(limit):
    cache = RowCache(limit)
    cache.put(b"small", b"small", 5)
    before = len(cache)

    cache.put(b"a", b"a", 10)

    assert cache.get(b"a") is None
    assert (len(cache), cache.evicted) == (before, 0)
