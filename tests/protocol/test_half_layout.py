import numpy as np
import pytest

from keras_split.errors import OptionError
from keras_split.protocol.half_layout import HalfLayout
from keras_split.protocol.half_layout import HalfTensor

TENSORS = [
    HalfTensor("head", "weight", (2, 3), "a/kernel"),
    HalfTensor("head", "weight", (3,), "a_bn/gamma"),
    HalfTensor("head", "statistic", (3,), "a_bn/moving_mean"),
    HalfTensor("tail", "weight", (), "c/scale"),
]


def test_a_vector_has_head_and_tail_and_gives_them_back():
    layout = HalfLayout(TENSORS)
    arrays = [np.full(t.shape, i) for i, t in enumerate(TENSORS)]

    vector = layout.join(arrays)

    assert layout.size == 13 and vector.dtype == "float32"
    for array, back in zip(arrays, layout.split(vector), strict=True):
        np.testing.assert_array_equal(array, back)


def test_local_batch_normalization_is_left_out_whole():
    layout = HalfLayout(TENSORS, "local")

    assert layout.kept == [0, 3]
    assert HalfLayout(TENSORS).statistics and not layout.statistics
    assert layout.size == 7


def test_a_layer_of_that_name_in_the_other_half_is_kept():
    other = HalfTensor("tail", "weight", (3,), "a_bn/kernel")

    assert HalfLayout([*TENSORS, other], "local").kept == [0, 3, 4]


def test_names_that_keras_made_up_do_not_matter():
    renamed = [
        HalfTensor(t.part, t.kind, t.shape, f"x_{t.variable}") for t in TENSORS
    ]

    assert HalfLayout(renamed).digest == HalfLayout(TENSORS).digest


@pytest.mark.parametrize(
    "other",
    [
        HalfLayout(TENSORS, "local"),
        HalfLayout(TENSORS, frozen="ab"),
        HalfLayout(TENSORS[:-1]),
        HalfLayout([HalfTensor("tail", "weight", (7,), "a/kernel")]),
    ],
)
def test_what_differs_has_another_digest(other):
    assert other.digest != HalfLayout(TENSORS).digest


def test_where_nothing_is_trained_nothing_is_averaged():
    with pytest.raises(OptionError, match="Thaw some"):
        HalfLayout([])
    with pytest.raises(OptionError, match="beside batch normalization"):
        HalfLayout(TENSORS[1:3], "local")


def test_batch_normalization_is_averaged_or_local():
    with pytest.raises(OptionError, match="'share'"):
        HalfLayout(TENSORS, "share")
