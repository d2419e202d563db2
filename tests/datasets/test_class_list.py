import json
import zipfile

import numpy as np
import pytest

from keras_split.datasets import class_list
from keras_split.datasets import read_class_names
from keras_split.errors import DataError


def keras_file(path, config):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": config}))
    return path


def test_a_saved_client_says_its_classes(tmp_path):
    spec = {"class_names": ["cat", "dog"], "matrix": [], "offset": []}

    file = keras_file(tmp_path / "client.keras", {"data_spec": spec})

    assert read_class_names(file) == ("cat", "dog")


@pytest.mark.parametrize(
    "content", [["cat", "dog"], {"class_names": ["cat", "dog"]}]
)
def test_a_description_and_a_list_say_their_classes(tmp_path, content):
    (tmp_path / "client.json").write_text(json.dumps(content))

    assert read_class_names(tmp_path / "client.json") == ("cat", "dog")


def test_a_text_file_has_a_name_a_line(tmp_path):
    text = "\ufeffcat, tabby\r\n\r\ncaf\u0065\u0301 dog \n"
    (tmp_path / "labels.txt").write_text(text, "utf-8")

    names = read_class_names(tmp_path / "labels.txt")

    assert names == ("cat, tabby", "caf\u00e9 dog")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.txt", None),
        ("client.keras", b"no zip"),
        ("client.json", b"{"),
        ("names.txt", b"\xff\xfe\x00"),
        ("a.txt", b"\n"),
        ("old.json", b'{"version": 1}'),
        ("number.json", b'{"class_names": 3}'),
        ("deep.json", b"[" * 100_000),
        ("numbers.json", b"[1, 2]"),
        ("twice.txt", b"cat\ndog\ncat\n"),
    ],
)
def test_a_file_without_names_is_refused_with_advice(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match="Expected .* Received|Give a client"):
        read_class_names(tmp_path / name)


@pytest.mark.parametrize(
    "config",
    [{}, {"data_spec": {"class_names": []}}, {"data_spec": None}, []],
)
def test_a_model_that_knows_no_classes_is_refused(tmp_path, config):
    file = keras_file(tmp_path / "server.keras", config)

    with pytest.raises(DataError, match=r"server\.keras\. It holds none"):
        read_class_names(file)


@pytest.mark.parametrize(
    "names", ["cat", [""], [" "], [3], ["a", "b", "a"], ["\udcff"]]
)
def test_names_that_number_nothing_are_refused(names):
    with pytest.raises(DataError, match="Received: "):
        class_list.check_class_names(names)


def test_labels_move_to_the_places_of_other_names():
    y = np.array([0, 1, 1], np.uint8)

    moved = class_list.renumber(y, ("b", "a"), ("a", "x", "b"), "data")

    assert moved.tolist() == [2, 0, 0] and moved.dtype == np.uint8
