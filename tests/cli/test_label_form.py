import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split_cli.label_form import LabelForm

SPARSE = LabelForm("sparse", sparse=True, shape=(3,))
ONE_HOT = LabelForm("one-hot", sparse=False, shape=(3,))
BINARY = LabelForm("binary", sparse=False, shape=(1,), binary=True)


@pytest.mark.parametrize("labels", [[0, 2], [[0], [2]], [0.0, 2.0]])
def test_a_sparse_loss_gets_class_numbers(labels):
    made = SPARSE.take(np.array(labels))

    assert (made.dtype, made.tolist()) == (np.int32, [0, 2])


@pytest.mark.parametrize("labels", [[0, 2], [[1, 0, 0], [0, 0, 1]]])
def test_a_loss_over_all_classes_gets_one_hot_rows(labels):
    made = ONE_HOT.take(np.array(labels))

    assert (made.dtype, made.tolist()) == (np.float32, [[1, 0, 0], [0, 0, 1]])


def test_a_loss_of_one_number_gets_a_column():
    made = BINARY.take(np.array([0, 1]))

    assert (made.dtype, made.tolist()) == (np.float32, [[0], [1]])


def test_labels_of_each_pixel_keep_their_shape():
    form = LabelForm("sparse", sparse=True, shape=(4, 4, 3))

    assert form.take(np.ones((2, 4, 4))).shape == (2, 4, 4)


def test_a_class_that_does_not_count_may_have_any_number():
    form = LabelForm("sparse", sparse=True, shape=(3,), ignored=255)

    assert form.take(np.array([0, 255])).tolist() == [0, 255]


def test_an_output_elsewhere_gets_as_many_columns_as_there_are_classes():
    form = LabelForm("one-hot", sparse=False)

    assert form.take(np.array([0, 1]), 4).shape == (2, 4)


def test_it_is_known_how_many_classes_there_are():
    forms = (SPARSE, ONE_HOT, BINARY, LabelForm("mse", False, (1,)))
    elsewhere = LabelForm("sparse", sparse=True)

    assert [form.classes for form in forms] == [3, 3, 2, None]
    assert elsewhere.classes is None


@pytest.mark.parametrize(
    ("form", "labels", "words"),
    [
        (SPARSE, [0, 3], "from 0 to 2, .* Received: 3.* --classes 4"),
        (SPARSE, [0, -1], "Received: -1. Number the classes"),
        (SPARSE, [0.5], "such as 0.5"),
        (SPARSE, [[1, 0, 0]], "--loss categorical_crossentropy"),
        (ONE_HOT, [3], "from 0 to 2"),
        (ONE_HOT, [[1, 0]], r"shape \(examples, 3\)"),
        (BINARY, [0, 2], "from 0 to 1"),
        (LabelForm("own", False, (3,), known=False), [1], "own. Give labels"),
        (LabelForm("mse", False, (4, 4, 3)), [1], r"\(examples, 4, 4, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(form, labels, words):
    with pytest.raises(DataError, match=words):
        form.take(np.array(labels))
