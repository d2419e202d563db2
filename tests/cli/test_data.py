import os
import shutil

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_split import datasets
from keras_split.datasets import folder
from keras_split.errors import DataError
from keras_split_cli.data import check_classes
from keras_split_cli.data import data_options
from keras_split_cli.data import first
from keras_split_cli.data import read_data

FASHION = datasets.class_names("fashion_mnist")


@pytest.fixture
def photos(tmp_path):
    for name, shade in (("bee", 10), ("cow", 20), ("dog", 30)):
        (tmp_path / name).mkdir()
        for number in range(4):
            image = Image.new("L", (4, 4), shade)
            image.save(tmp_path / name / f"{number}.png")
    return tmp_path


def ask(*arguments):
    """What a command with the options gets."""
    got = {}

    @click.command()
    @data_options
    def command(**options):
        got.update(options)

    result = CliRunner().invoke(command, [*map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return got or result.output


def test_a_folder_gives_pairs_and_the_names_of_its_classes(photos):
    train, validation, names = read_data(str(photos), (4, 4, 1), 0.25, 0)

    assert names == ("bee", "cow", "dog")
    assert len(train[0]) == len(train[1]) == 9
    assert len(validation[0]) == len(validation[1]) == 3


def test_nothing_held_back_is_no_validation(photos):
    assert read_data(str(photos), (4, 4, 1), 0.0, 0).validation is None


def test_the_first_of_streamed_images_stay_in_their_files(photos):
    files = sorted(photos.glob("*/*.png"))
    x = datasets.Photos(files, (4, 4, 1))

    few, y = first((x, np.arange(12)), 5)

    assert isinstance(few, datasets.Photos)
    assert np.asarray(few)[:, 0, 0, 0].tolist() == [10] * 4 + [20]
    assert y.tolist() == [0, 1, 2, 3, 4]
    assert first((np.arange(3), y[:3]), 2)[0].tolist() == [0, 1]
    assert len(first((x, y), None)[0]) == 12


def test_images_are_counted_as_one_says_it(photos, capsys):
    for path in photos.glob("*/[2-3].png"):
        path.unlink()
    read_data(str(photos), (4, 4, 1), 0.0, 0, ("bee", "cow", "dog"))
    for path in (*photos.glob("*/1.png"), *photos.glob("[cd]*/0.png")):
        path.unlink()
    read_data(str(photos), (4, 4, 1), 0.0, 0, ("bee", "cow", "dog"))

    said = capsys.readouterr().out.splitlines()
    assert said == ["6 images of bee, cow, dog", "1 image of bee, cow, dog"]


def test_one_folder_does_not_say_which_classes_there_are(photos):
    check_classes(str(photos))
    check_classes("fashion_mnist")
    for name in ("cow", "dog"):
        shutil.rmtree(photos / name)

    with pytest.raises(DataError, match="Received: one, 'bee'. Add a folder"):
        check_classes(str(photos))


def test_a_folder_is_numbered_by_the_given_names(photos):
    names = ("ant", "dog", "cow", "bee")

    data = read_data(str(photos), (4, 4, 1), 0.0, 0, names)

    x, y = data.train
    assert data.class_names == names
    np.testing.assert_array_equal(40 - y * 10, x[:, 0, 0, 0])


def test_a_built_in_set_knows_its_names():
    data = read_data("fashion_mnist", (28, 28, 1), 0.1, 0)

    assert data.class_names == FASHION


def test_a_built_in_set_is_numbered_by_the_given_names():
    names = ("Hat", *reversed(FASHION))

    given = read_data("fashion_mnist", (28, 28, 1), 0.1, 0, names)

    plain = read_data("fashion_mnist", (28, 28, 1), 0.1, 0)
    for pair, other in zip(given[:2], plain[:2], strict=True):
        np.testing.assert_array_equal(pair[1], 10 - other[1])


def test_a_built_in_set_of_other_classes_is_refused():
    with pytest.raises(
        DataError, match="in fashion_mnist. Rec.* 'T-shirt/top'"
    ):
        read_data("fashion_mnist", (28, 28, 1), 0.1, 0, ("cat", "dog"))


def test_labels_beyond_the_given_names_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4, 4)), y=np.arange(3))

    with pytest.raises(DataError, match=r"from 0 to 1 in .*Received: 2"):
        read_data(str(tmp_path / "a.npz"), (4, 4, 1), 0.0, 0, ("a", "b"))


def test_names_come_from_the_command_line_or_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("cat, big\ndog\n")

    assert ask()["class_names"] == ()
    assert ask("--class-names", "cat, dog")["class_names"] == ("cat", "dog")
    found = ask("--classes-from", tmp_path / "names.txt")
    assert found["class_names"] == ("cat, big", "dog")


def test_how_to_read_reaches_the_data_without_the_command(photos):
    (photos / "bee" / "0.png").write_bytes(b"")
    got = []

    @click.command()
    @data_options
    def command(data, validation_split, class_names):
        got.append(read_data(data, (4, 4, 1), validation_split, 0, class_names))

    def call(*arguments):
        CliRunner().invoke(
            command, ["--data", str(photos), *arguments], catch_exceptions=False
        )

    with pytest.raises(DataError, match=r"0\.png: it is empty"):
        call()
    call("--skip-unreadable")
    call("--skip-unreadable", "--stream", "--validation-split", "0.5")

    held, streamed = got
    assert isinstance(held.train[0], np.ndarray) and len(held.train[0]) == 11
    assert isinstance(streamed.train[0], datasets.Photos)
    assert isinstance(streamed.validation[0], datasets.Photos)


def test_what_is_large_is_streamed(photos, monkeypatch):
    monkeypatch.setattr(folder, "IN_MEMORY_BYTES", 0)

    data = read_data(str(photos), (8, 8, 1), 0.25, 0)

    assert isinstance(data.train[0], datasets.Photos)


def test_one_file_is_not_streamed(tmp_path):
    @click.command()
    @data_options
    def command(data, validation_split, class_names):
        read_data(data, (4, 4, 1), validation_split, 0, class_names)

    result = CliRunner().invoke(command, ["--stream"])

    assert "--data fashion_mnist, which is one file" in result.output


def test_train_and_val_are_training_and_validation(photos):
    for name in ("bee", "cow"):
        os.renames(photos / name, photos / "train" / name)
    os.renames(photos / "dog", photos / "val" / "dog")

    train, validation, names = read_data(str(photos), (4, 4, 1), 0.5, 0)

    assert names == ("bee", "cow", "dog")
    assert np.bincount(train[1]).tolist() == [4, 4]
    assert validation[1].tolist() == [2] * 4


def test_names_from_both_are_refused(tmp_path):
    (tmp_path / "names.txt").write_text("cat\n")

    said = ask("--classes-from", tmp_path / "names.txt", "--class-names", "a")

    assert "Received: both" in said


def test_names_that_repeat_are_refused():
    with pytest.raises(DataError, match="each class once"):
        ask("--class-names", "cat,dog,cat")
