import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_split.compression import codecs
from keras_split.errors import CodecError

every_codec = pytest.mark.parametrize("name", codecs.names())


@every_codec
@given(data=st.binary(max_size=2000))
def test_decoding_gives_back_the_same_bytes(name, data):
    codec = codecs.get(name)

    decoded = codec.decode(codec.encode(data), len(data))

    assert bytes(decoded) == data


@every_codec
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_an_array_of_any_width_is_counted_in_bytes(name, dtype):
    codec = codecs.get(name)
    codes = np.arange(60).reshape(3, 20).astype(dtype)

    decoded = codec.decode(codec.encode(codes.data), codes.nbytes)

    assert bytes(decoded) == codes.tobytes()


@every_codec
@pytest.mark.parametrize("nbytes", [0, 4, 6, 10**12])
def test_another_size_than_expected_is_refused(name, nbytes):
    codec = codecs.get(name)
    encoded = codec.encode(b"codes")

    with pytest.raises(CodecError, match="Received: 5 bytes"):
        codec.decode(encoded, nbytes)


@every_codec
def test_a_codec_is_found_by_its_name_or_passed_on(name):
    codec = codecs.get(name)

    assert codec.name == name
    assert codecs.get(codec) is codec


@pytest.mark.parametrize("identifier", ["brotli", "", None, 3, ["raw"]])
def test_an_unknown_codec_is_refused_with_the_names_of_all(identifier):
    with pytest.raises(CodecError, match="raw, zstd"):
        codecs.get(identifier)


def test_codecs_need_neither_tensorflow_nor_keras():
    code = (
        "import sys, keras_split.compression.codecs; "
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )

    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=codecs.__path__[0] + "/../..",
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert output.strip() == "set()"


class Flipped(codecs.Codec):
    """As another package would bring it: every bit the other way."""

    name = "flipped"

    def encode(self, data):
        return bytes(255 - byte for byte in memoryview(data).cast("B"))

    def decode(self, data, nbytes):
        self._check_size(memoryview(data).nbytes, nbytes)
        return self.encode(data)


@pytest.fixture
def flipped():
    """A codec whose name is free again in the end."""
    yield Flipped()
    codecs._REGISTRY._items.pop("flipped", None)


def test_a_registered_codec_is_found_by_its_name(flipped):
    codecs.register(flipped)

    assert codecs.get("flipped") is flipped
    assert codecs.names()[-1] == "flipped"
    assert flipped.decode(flipped.encode(b"codes"), 5) == b"codes"


def test_another_codec_under_a_taken_name_is_refused():
    class Other(Flipped):
        name = "zstd"

    with pytest.raises(CodecError, match="name of its own. Received: 'zstd'"):
        codecs.register(Other())
    with pytest.raises(CodecError, match="name of its own"):
        codecs.adopt(Other())

    assert isinstance(codecs.get("zstd"), codecs.Zstd)


@pytest.mark.parametrize("codec", ["raw", None, Flipped])
def test_what_is_no_codec_is_not_registered(codec):
    with pytest.raises(CodecError, match="Expected a Codec to register"):
        codecs.register(codec)


def test_a_codec_without_a_name_is_refused():
    class Nameless(Flipped):
        name = ""

    for take in (codecs.register, codecs.get, codecs.adopt):
        with pytest.raises(CodecError, match="1 to 32 letters"):
            take(Nameless())


def test_an_adopted_codec_is_known_by_its_name_where_that_leads_to_it(flipped):
    nine = codecs.Zstd(level=9)

    assert codecs.adopt("raw") == "raw"
    assert codecs.adopt(codecs.get("zstd")) == "zstd"
    assert codecs.adopt(nine) is nine
    assert codecs.adopt(flipped) == "flipped"
    assert codecs.get("flipped") is flipped
