import json
import math

import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.evaluation import Report

# "never" has no images, and nothing is taken for "shy".
CONFUSION = np.array([[6, 0, 2, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 4, 0, 0]])
NAMES = ("cat", "dog", "never", "shy")
REPORT = Report(CONFUSION, NAMES, {"loss": 0.5, "auc": math.nan})


def test_figures_of_each_class_are_those_of_the_definitions():
    cat, dog, never, shy = REPORT.classes

    assert (cat.precision, cat.recall, cat.support) == (6 / 7, 6 / 8, 8)
    assert cat.f1 == pytest.approx(2 / (7 / 6 + 8 / 6))
    assert (dog.precision, dog.recall) == (3 / 7, 3 / 4)
    assert (never.precision, never.support, never.f1) == (0, 0, 0)
    assert math.isnan(never.recall)
    assert math.isnan(shy.precision)
    assert (shy.recall, shy.f1, shy.support) == (0, 0, 4)
    assert REPORT.images == 16


def test_averages_are_over_classes_and_over_images():
    assert REPORT.macro.recall == pytest.approx((6 / 8 + 3 / 4) / 4)
    assert REPORT.macro.precision == pytest.approx((6 / 7 + 3 / 7) / 4)
    assert REPORT.weighted.recall == pytest.approx(9 / 16)


def test_a_class_of_which_nothing_is_known_is_in_no_average():
    seen = Report(np.diag([2, 3]))
    more = Report(np.diag([2, 3, 0]))

    assert seen.macro == more.macro
    assert math.isnan(more.classes[2].f1)
    assert more.class_names == ("0", "1", "2")


def test_what_is_confused_most_comes_first():
    assert REPORT.confused == [
        ("shy", "dog", 4),
        ("cat", "never", 2),
        ("dog", "cat", 1),
    ]


def test_json_can_hold_it_and_has_none_for_what_is_not_defined():
    made = json.loads(json.dumps(REPORT.to_dict(), allow_nan=False))

    assert made["metrics"] == {"loss": 0.5, "auc": None}
    assert made["classes"][3]["precision"] is None
    assert made["confusion"] == CONFUSION.tolist()
    assert made["confused"][0] == {
        "class": "shy",
        "taken_for": "dog",
        "images": 4,
    }


def test_a_model_that_tells_no_classes_apart_has_its_metrics_alone():
    report = Report(None, metrics={"loss": 1.0}, images=7)

    assert report.to_dict() == {"images": 7, "metrics": {"loss": 1.0}}
    assert report.classes == report.confused == []


def test_names_of_other_classes_are_refused():
    with pytest.raises(DataError, match="each of 4 classes. Received: 2"):
        Report(CONFUSION, ("cat", "dog"))
