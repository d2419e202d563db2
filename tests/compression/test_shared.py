import pytest

from keras_split.compression.shared import SharedSpec
from keras_split.compression.shared import packing_of
from keras_split.compression.shared import packings
from keras_split.errors import OptionError


@pytest.mark.parametrize(
    "name, dtype, asked, packing",
    [
        ("padding_mask", "int32", "", "bits"),
        ("padding_mask", "int32", "int32", "int32"),
        ("flags", "bool", "", "bits"),
        ("segment_ids", "int32", "", "int32"),
        ("segment_ids", "int32", "bits", "bits"),
        ("token_ids", "int32", "uint16", "uint16"),
        ("float_mask", "float32", "", "float32"),
    ],
)
def test_an_input_is_packed_by_its_dtype_its_name_or_as_asked(
    name, dtype, asked, packing
):
    assert packing_of(name, dtype, asked) == packing


@pytest.mark.parametrize(
    "dtype, asked, words",
    [
        ("int32", "float32", "Expected a packing of 'x', which is int32"),
        ("float32", "bits", "Received: 'bits'. Choose one"),
        ("bool", "int32", "which is bool: bits"),
        ("string", "", "Received: 'x' of string"),
        ("float64", "", "Received: 'x' of float64"),
    ],
)
def test_no_packing_loses_anything(dtype, asked, words):
    with pytest.raises(OptionError, match=words):
        packing_of("x", dtype, asked)


@pytest.mark.parametrize("share", ["padding_mask", 3, [3], {3: "bits"}])
def test_a_share_is_names_or_packings_by_name(share):
    with pytest.raises(OptionError, match="Expected share as names"):
        packings(share)


def test_packings_by_name_stay():
    assert packings({"a": "bits"}) == {"a": "bits"}
    assert packings(()) == {}


@pytest.mark.parametrize(
    "packing, codes, nbytes, held",
    [
        ("bits", 2, 2, (0, 1)),
        ("uint8", 12, 12, (0, 255)),
        ("int32", 12, 48, None),
    ],
)
def test_a_spec_knows_what_an_example_takes(packing, codes, nbytes, held):
    spec = SharedSpec("x", (3, 4), "int32", packing)

    assert spec.codes_per_example == codes
    assert spec.bytes_per_example == nbytes
    assert spec.range == held
