"""Inputs, outputs and labels find their places by name and by number."""

import json

import pytest

from keras_split.models.io_map import Wiring

WIRING = Wiring(
    inputs=["image", "mask", "age"],
    head_inputs=[0, 1],
    tail_inputs=[2],
    skips=[],
    outputs={"boxes": 1, "classes": 0},
    output_names=["classes", "boxes"],
)


def test_inputs_are_sorted_by_number_and_by_name():
    by_name = {"age": 3, "image": 1, "mask": 2}

    assert WIRING.sort([1, 2, 3]) == ([1, 2], [3])
    assert WIRING.sort(by_name) == ([1, 2], [3])


@pytest.mark.parametrize("inputs", [[1, 2], {"image": 1, "age": 3}])
def test_missing_inputs_are_named(inputs):
    with pytest.raises(ValueError, match="Expected.*'mask'.*Received"):
        WIRING.sort(inputs)


def test_outputs_get_back_their_structure():
    assert WIRING.pack(["c", "b"]) == {"classes": "c", "boxes": "b"}


def test_what_is_given_by_name_comes_in_the_order_of_the_outputs():
    assert WIRING.flatten({"boxes": 1, "classes": 2}) == [2, 1]
    assert WIRING.by_output({"boxes": 0.5}, 1.0) == [1.0, 0.5]
    assert WIRING.by_output("mse") == "mse"
    assert WIRING.flatten(None) == []


def test_its_config_is_plain():
    config = json.loads(json.dumps(WIRING.get_config()))

    assert Wiring.get(config) == WIRING
    assert Wiring.get(WIRING) is WIRING
