import json

import pytest

from keras_split.errors import DataError
from keras_split.planner.candidates import Candidates
from keras_split.planner.candidates import Entry
from keras_split.planner.candidates import Part
from keras_split.planner.work import Amount
from keras_split.planner.work import Work


def made():
    work = Work({("dense", 4): Amount(calls=1, multiply_adds=10, weights=11)})
    atoms = tuple(Part(1, 10 * n, 100 * n, n > 1, work) for n in range(1, 5))
    entries = (
        Entry((("a",), ("b", "c")), (0,), (3,), ((2, 2),), ((3,),)),
        Entry((("a",),), (0, 1), (), ((2, 2),), ((3,),), "mine", True),
    )
    return Candidates("net", atoms, entries, (4, 4, 3), 3)


def test_parts_are_sums_of_atoms():
    first, second = made().cuts

    assert first.head.parameters == 10
    assert first.body.parameters == 20 + 30
    assert first.body.work.multiply_adds == 20
    assert first.tail.parameters == 40
    assert second.tail == Part()
    assert made().depth(second) == 300 / 1000


def test_a_cut_is_what_compile_takes():
    first, second = made().cuts

    assert first.layers == ["a", ["b", "c"]]
    assert second.layers == ["a"]


def test_labels_show_where_the_tail_has_no_weights():
    first, second = made().cuts

    assert not first.labels_show
    assert second.labels_on_server and second.labels_show


def test_json_keeps_everything():
    config = json.loads(json.dumps(made().get_config()))

    assert Candidates.from_config(config) == made()


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"atoms": [{}]},
        {"cuts": [{"cut": []}]},
        {"cuts": 3},
        {"classes": None},
    ],
)
def test_a_damaged_config_is_refused(damage):
    with pytest.raises(DataError, match="Expected the candidates"):
        Candidates.from_config({**made().get_config(), **damage})


def test_atoms_that_are_not_there_are_refused():
    config = made().get_config()
    config["cuts"][0]["head"] = "0-9"

    with pytest.raises(DataError, match="atoms"):
        Candidates.from_config(config)
