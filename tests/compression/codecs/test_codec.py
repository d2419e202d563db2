import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_split.compression import codecs
from keras_split.errors import CodecError

every_codec = pytest.mark.parametrize("name", codecs.NAMES)


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
