import csv
import json
import os

import keras
import numpy as np
import pytest
from PIL import Image

from keras_split.errors import DataError
from keras_split.evaluation import LOGITS
from keras_split.evaluation import SCORE
from keras_split.evaluation import UNKNOWN
from keras_split.protocol.data_spec import DataSpec
from keras_split_cli import photo_list
from keras_split_cli import predict
from tests.cli import commands


class Brightness:
    """A scorer whose outputs are how bright an image is, and is not."""

    shape = (4, 4, 3)
    data_spec = DataSpec(class_names=("dark", "bright", "neither"))

    def __init__(self, meaning=UNKNOWN, classes=3):
        self.meaning, self.classes = meaning, classes

    def predict(self, images):
        light = np.asarray(images, float).mean((1, 2, 3)) / 255
        if self.classes is None:
            return light[:, np.newaxis]
        return np.stack([1 - light, light, 0 * light], 1)


@pytest.fixture
def photos(tmp_path):
    """Images as a folder by class, beside one that is none."""
    for name, level in (("a/1.png", 0), ("a/2.png", 255), ("b/3.png", 51)):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (level,) * 3).save(path)
    (tmp_path / "photos" / ".hidden.png").write_bytes(b"")
    return tmp_path / "photos"


def said(capsys, scorer, sources, form="csv", top=1, output=None, names=()):
    found = photo_list.find([*map(str, sources)])
    predict.run(scorer, found, top, form, output, 2, names)
    return capsys.readouterr().out


def test_images_are_said_in_the_order_of_their_names(photos, capsys):
    out = said(capsys, Brightness(), [photos], top=2)

    rows = list(csv.reader(out.splitlines()))
    titles = ["file", "class", "probability", "class_2", "probability_2"]
    assert rows[0] == titles
    assert rows[1][:3] == [str(photos / "a" / "1.png"), "dark", "1.0"]
    assert [row[1] for row in rows[1:]] == ["dark", "bright", "dark"]
    assert float(rows[3][2]) == pytest.approx(0.8)
    assert rows[3][3] == "bright"


def test_json_and_the_table_say_the_same(photos, capsys):
    made = json.loads(said(capsys, Brightness(), [photos], "json", top=9))
    shown = said(capsys, Brightness(), [photos], "table")

    assert made[1]["class"] == "bright"
    assert len(made[1]["top"]) == 3
    assert [line.split()[1] for line in shown.splitlines()] == [
        "class",
        *(item["class"] for item in made),
    ]


def test_numbers_are_named_for_what_they_are(photos, capsys):
    first = [photos / "a" / "2.png"]

    logits = said(capsys, Brightness(LOGITS), first, top=3)
    score = said(capsys, Brightness(SCORE), first)
    value = said(capsys, Brightness(classes=None), first)

    row = list(csv.reader(logits.splitlines()))[1]
    assert sum(map(float, row[2::2])) == pytest.approx(1)
    assert float(row[2]) == pytest.approx(np.e / (np.e + 2))
    assert score.splitlines()[0] == "file,class,score"
    assert value.splitlines() == ["file,value", f"{first[0]},1.0"]


def test_arrays_of_an_archive_are_images_as_well(tmp_path, capsys):
    x = np.zeros((3, 6, 6), np.uint8)
    x[1] = 255
    np.savez(tmp_path / "data.npz", x=x)

    rows = said(capsys, Brightness(), [tmp_path / "data.npz"]).splitlines()

    assert [row.split(",")[1] for row in rows[1:]] == ["dark", "bright", "dark"]
    assert rows[1].startswith(f"{tmp_path / 'data.npz'}[0],")


def test_names_are_the_models_or_given(photos, capsys, monkeypatch):
    first = [photos / "a" / "2.png"]
    given = ("night", "day", "neither")

    with pytest.raises(DataError, match="was trained with: dark, bright"):
        said(capsys, Brightness(), first, names=given)
    monkeypatch.setattr(Brightness, "data_spec", DataSpec())
    with pytest.raises(DataError, match="3 classes.*Received: 2"):
        said(capsys, Brightness(), first, names=given[:2])

    assert ",day," in said(capsys, Brightness(), first, names=given)
    assert predict.given_names(" a, b ", None) == ("a", "b")


@pytest.mark.parametrize(
    "name, text",
    [
        ("absent.png", "which is not there"),
        ("absent.npz", "There is no such file"),
        ("empty", "Received: none"),
        ("wrong.npz", "an array x"),
        ("none.npz", "Received: shape (0, 4, 4)"),
        ("broken.npz", "cannot be read"),
    ],
)
def test_what_has_no_images_is_an_error_before_the_model(tmp_path, name, text):
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "wrong.npz", images=np.zeros(3))
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 4, 4)))
    (tmp_path / "broken.npz").write_bytes(b"x")

    result = commands.run("predict", "absent.keras", tmp_path / name)

    assert result.returncode == 1
    assert text in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "whole.tflite"
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.export(path, format="litert", verbose=False)
    return path


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_said(
    whole, photos, tmp_path
):
    (photos / "a" / "broken.png").write_bytes(b"no image")
    output = tmp_path / "out.csv"

    result = commands.run("predict", whole, photos, "--output", output)
    alone = commands.run("predict", whole, photos / "a" / "broken.png")

    assert result.returncode == alone.returncode == 1
    assert "broken.png" in result.stderr
    assert "Received: 1 of 4 that cannot" in result.stderr
    assert len(output.read_text().splitlines()) == 4
    assert alone.stdout == ""


def test_a_file_that_is_there_stays_if_nothing_can_be_said(whole, tmp_path):
    output = tmp_path / "out.json"
    output.write_text("before")
    (tmp_path / "broken.png").write_bytes(b"no image")

    result = commands.run(
        *("predict", whole, tmp_path / "broken.png", "--output", output)
    )

    assert result.returncode == 1
    assert output.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "broken.png",
        "out.json",
    ]


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_a_name_that_is_no_utf_8_is_written_with_escapes(
    whole, photos, tmp_path, form
):
    """As of photos out of an old archive."""
    odd = os.fsencode(photos) + b"/caf\xe9.png"
    (photos / "a" / "1.png").rename(os.fsdecode(odd))
    output = tmp_path / f"out.{form}"
    to = () if form == "table" else ("--output", output)

    result = commands.python(
        *("-m", "keras_split_cli", "predict", whole, photos),
        *("--format", form, *to),
    )

    assert result.returncode == 0, result.stderr
    said = output.read_text() if to else result.stdout
    assert {"csv": "caf\\udce9", "json": "caf\\udce9"}.get(form, "caf?") in said


def test_names_are_printed_where_the_terminal_has_no_such_letters(
    whole, photos
):
    (photos / "a").rename(photos / "кошка")

    result = commands.python(
        *("-m", "keras_split_cli", "predict", whole, photos),
        *("--format", "csv"),
        PYTHONIOENCODING="latin-1",
    )

    assert result.returncode == 0, result.stderr
    assert "\\u043a\\u043e\\u0448\\u043a\\u0430/1.png" in result.stdout
