from collections import deque

import numpy as np
import pytest

from keras_split.utils.arena import SLAB_BYTES
from keras_split.utils.arena import Arena


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype="uint8").reshape(3, 4),
        np.arange(5.0, dtype="float16"),
        np.arange(24.0).reshape(2, 3, 4).T,
        np.zeros((0, 3), "int8"),
        np.array(2.5, "float32"),
        np.ones(SLAB_BYTES // 4 + 1, "uint8"),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}"[:20],
)
def test_a_copy_is_like_its_array_and_not_the_same(array):
    made = Arena().copy(array)

    assert (made.dtype, made.shape) == (array.dtype, array.shape)
    assert np.array_equal(made, array)
    assert not np.shares_memory(made, array)


def test_copies_do_not_overlap():
    slabs = Arena()
    arrays = [np.full(n, n % 251, "uint8") for n in range(1, 4000)]

    made = [slabs.copy(array) for array in arrays]

    assert all(map(np.array_equal, made, arrays))


def test_many_slabs_are_used():
    slabs = Arena()

    made = [slabs.copy(np.full(3 << 20, n, "uint8")) for n in range(20)]

    assert [int(a[0]) for a in made] == list(range(20))
    assert [int(a[-1]) for a in made] == list(range(20))
    assert len({id(a.base) for a in made}) == 4


def test_a_slab_is_used_again_when_the_last_of_its_arrays_is_gone():
    slabs = Arena()
    arrays = [slabs.copy(np.zeros(4 << 20, "uint8")) for _ in range(5)]
    first = arrays[0].ctypes.data
    one, *arrays = arrays[3:]

    def fill():
        return [slabs.copy(np.ones(4 << 20, "uint8")) for _ in range(4)]

    arrays += fill()
    kept = not one.any()
    del one
    arrays += fill()

    assert kept
    assert first in [array.ctypes.data for array in arrays]


def test_memory_is_bounded_by_what_is_kept():
    slabs = Arena()
    kept = deque(maxlen=8)
    places = set()

    for _ in range(200):
        kept.append(slabs.copy(np.zeros(4 << 20, "uint8")))
        places.add(kept[-1].ctypes.data)

    assert len(places) <= 4 * 4
