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
