"""A partition as people see it: printed, in a notebook, in a list."""

import re

import keras

import keras_split
from tests import nets


def partition(cut=("a", "b")):
    return keras_split.Partition(nets.dense(), list(cut))


def test_a_notebook_shows_the_tables_that_print_shows():
    found = partition()

    cells = re.findall(r"<t[hd]>(.*?)</t[hd]>", found._repr_html_())
    printed = str(found)

    assert cells[:5] == [
        *("segment", "runs on", "layers", "parameters", "multiply-adds")
    ]
    assert "body -&gt; tail" in cells
    for cell in cells:
        assert cell.replace("&gt;", ">").replace("&#x27;", "'") in printed


def test_names_are_no_markup():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="<b>first"),
            layers.Dense(2, name="second"),
            layers.Dense(1),
        ]
    )

    markup = keras_split.Partition(model, ["<b>first", "second"])._repr_html_()

    assert "<b>" not in markup
    assert "&lt;b&gt;first" in markup


def test_a_partition_in_a_list_takes_one_line():
    assert re.fullmatch(
        r"Partition\('[\w]+', cut=\['a', 'b'\]\)", repr(partition())
    )


def test_a_partition_prints_as_two_tables():
    partition = keras_split.Partition(nets.unet(), ["pool1", "mix2"])

    lines = str(partition).splitlines()

    assert lines[0] == "Cut at 'pool1' and 'mix2'"
    table = [re.split(r"\s{2,}", line) for line in lines[2:]]
    assert table[0] == [
        "segment",
        "runs on",
        "layers",
        "parameters",
        "multiply-adds",
    ]
    assert table[2] == ["head", "phone", "2", "30", "1,728"]
    assert table[3] == ["body", "server", "6", "625", "7,632"]
    assert table[4] == ["tail", "phone", "4", "196", "12,288"]
    assert table[6][:2] == ["edge", "tensor"]
    assert table[8] == ["head -> body", "pool1", "(4, 4, 3)", "192", "48"]
    assert table[9] == ["body -> tail", "mix2", "(4, 4, 4)", "256", "64"]
    assert table[10] == [
        "head -> tail",
        "down1",
        "(8, 8, 3)",
        "stays on phone",
    ]


def test_a_partition_with_one_cut_prints_what_comes_back():
    text = str(keras_split.Partition(nets.dense(), "a"))

    assert "tail" not in text
    assert "body -> phone  c" in text
