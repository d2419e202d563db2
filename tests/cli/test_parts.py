import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_split import datasets
from keras_split.errors import DataError
from keras_split_cli.data import Data
from keras_split_cli.parts import part_of
from keras_split_cli.parts import part_options

DATA = Data(
    (np.arange(12), np.arange(12) % 4), (np.arange(3), np.arange(3)), ()
)


def part(*arguments, data=DATA):
    """What is a phone's with these options."""
    found = []

    @click.command()
    @part_options
    def command():
        found.append(part_of(data))

    result = CliRunner().invoke(command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return found[0] if found else result.output


def test_each_image_is_in_one_part():
    parts = [part("--part", f"{i}/5").train for i in (1, 2, 3, 4, 5)]

    assert sorted(np.concatenate([x for x, _ in parts])) == list(range(12))
    assert {len(x) for x, _ in parts} == {2, 3}
    assert all((x % 4 == y).all() for x, y in parts)


def test_only_the_images_of_some_classes_are_a_phones():
    named = DATA._replace(class_names=("ant", "bee", "cow", "dog"))

    assert set(part("--only-classes", "0,3").train[1]) == {0, 3}
    assert set(part("--only-classes", "bee, 3", data=named).train[1]) == {1, 3}


def test_a_part_is_one_of_some_classes_where_both_are_said():
    x, _ = part("--only-classes", "0", "--part", "1/3").train

    assert len(x) == 1 and x[0] % 4 == 0


def test_all_phones_validate_with_the_same():
    assert part("--part", "1/3").validation is DATA.validation


def test_without_options_everything_is_a_phones():
    assert part() is DATA


def test_photos_stay_in_their_files(tmp_path):
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.new("L", (2, 2), number * 10).save(path)
    photos = datasets.Photos(sorted(tmp_path.iterdir()), (2, 2, 1))
    data = Data((photos, np.array([0, 1, 0, 1])), None, ())

    x, _ = part("--only-classes", "1", data=data).train

    assert isinstance(x, datasets.Photos)
    assert np.asarray(x)[:, 0, 0, 0].tolist() == [10, 30]


@pytest.mark.parametrize("text", ["3", "0/3", "4/3", "a/b", "-1/3"])
def test_what_is_no_part_is_refused(text):
    assert "such as 1/3" in part("--part", text)


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="--only-classes"):
        part("--only-classes", "7")


def test_a_part_without_images_is_refused():
    few = Data((np.arange(2), np.arange(2)), None, ())

    with pytest.raises(DataError, match="--part"):
        part("--part", "3/3", data=few)
