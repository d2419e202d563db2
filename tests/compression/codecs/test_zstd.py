import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from keras_split.compression.codecs import Zstd
from keras_split.errors import CodecError


def test_sparse_codes_shrink():
    codes = bytes(range(10)) + bytes(10_000)

    assert len(Zstd().encode(codes)) < 100


@pytest.mark.parametrize("level", [1, 3, 19])
def test_the_receiver_need_not_know_the_level(level):
    codes = bytes(range(256)) * 20

    assert Zstd().decode(Zstd(level).encode(codes), len(codes)) == codes


@pytest.mark.parametrize("level", [0, 99, 2.5, "9"])
def test_what_is_no_level_is_refused(level):
    with pytest.raises(CodecError, match="from 1 to 22"):
        Zstd(level)


def test_a_bomb_is_refused_before_anything_is_allocated():
    bomb = Zstd().encode(bytes(50_000_000))
    assert len(bomb) < 10_000

    tracemalloc.start()
    with pytest.raises(CodecError, match="Received: 50000000 bytes"):
        Zstd().decode(bomb, 1000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Threads of other tests may still run, and are traced as well.
    assert peak_bytes < 5_000_000


def test_a_header_that_understates_its_content_is_refused():
    frame = bytearray(Zstd().encode(bytes(100_000)))
    size = frame.index((100_000).to_bytes(4, "little"))
    frame[size : size + 4] = (500).to_bytes(4, "little")

    with pytest.raises(CodecError, match="500"):
        Zstd().decode(bytes(frame), 500)


def test_a_frame_that_does_not_state_its_size_is_refused():
    compressor = zstandard.ZstdCompressor(write_content_size=False)

    with pytest.raises(CodecError, match="does not state its size"):
        Zstd().decode(compressor.compress(b"codes"), 5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda frame: frame[:-1],
        lambda frame: frame + b"x",
        lambda frame: frame + frame,
        lambda frame: b"",
        lambda frame: b"codes",
    ],
)
def test_damaged_data_is_refused(damage):
    frame = Zstd().encode(b"codes")

    with pytest.raises(CodecError, match="Received"):
        Zstd().decode(damage(frame), 5)


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_arbitrary_bytes_are_decoded_or_refused(data, nbytes):
    try:
        assert len(Zstd().decode(data, nbytes)) == nbytes
    except CodecError:
        pass


def test_threads_may_share_a_codec():
    codec = Zstd()
    tensors = [bytes([i]) * 10_000 + bytes(range(i)) for i in range(100)]

    with ThreadPoolExecutor(8) as pool:
        decoded = pool.map(
            lambda x: codec.decode(codec.encode(x), len(x)), tensors
        )

        assert list(decoded) == tensors
