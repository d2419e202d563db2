"""`keras-split show`: what a file is, as people read it."""

import json

import pytest

import keras_split
from keras_split.defenses import Chain
from keras_split.defenses import Clip
from keras_split.defenses import GradientNoise
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment
from keras_split_cli import show
from tests import nets
from tests.cli import commands


def test_a_half_is_described_for_people_and_for_programs(tmp_path):
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    client.moment = Moment("0123456789abcdef" * 2, 1234)
    client.save(tmp_path / "client.keras")

    told = commands.run("show", tmp_path / "client.keras")
    plain = commands.run("show", tmp_path / "client.keras", "--json")

    for word in ("a, b", "int8", "1,234", "phone to server", "46 (head 25"):
        assert word in told.stdout
    assert json.loads(plain.stdout)["step"] == 1234
    assert told.returncode == plain.returncode == 0


def test_defenses_are_named_and_their_seed_is_not(tmp_path):
    seed = 123456789012345678901
    client, _ = keras_split.compile(
        nets.built(nets.dense),
        ["a", "b"],
        defenses=Chain(["identity", GradientNoise(2), Clip(1)], seed),
    )
    client.save(tmp_path / "client.keras")
    client.export(tmp_path / "client.tflite", mode="infer")

    for name in ("client.keras", "client.json", "client.tflite"):
        told = commands.run("show", tmp_path / name).stdout
        plain = commands.run("show", tmp_path / name, "--json").stdout

        assert str(seed) not in told + plain
        if name != "client.tflite":
            assert "gradient_noise:sigma=2.0; clip:limit=1.0,where=" in told


def test_a_tflite_lists_signatures_and_what_describes_it(tmp_path):
    model = nets.built(nets.dense)
    from keras_split.litert import export_whole

    export_whole(model, tmp_path / "whole.tflite")

    told = commands.run("show", tmp_path / "whole.tflite").stdout
    (tmp_path / "whole.json").write_text("{}")
    other = commands.run("show", tmp_path / "whole.tflite").stdout

    for word in ("a whole model", "serving_default", "FULLY_CONNECTED"):
        assert word in told
    assert "whole.json cannot be read" in other
    assert "serving_default" in other


def test_what_it_does_not_know_is_an_error(tmp_path):
    (tmp_path / "note.txt").write_text("hello")

    result = commands.run("show", tmp_path / "note.txt")

    assert result.returncode == 1
    assert "Expected one of: .keras" in result.stderr


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (([[2 / 255, 0], [0, 2 / 255]], [-1, -1]), "become -1 to 1"),
        (([[1.0, 0], [0, 1.0]], [-9, -8]), "+ [-9, -8]"),
        (([[0, 1.0], [1.0, 0]], [0, 0]), "become x @ [[0, 1.0], [1.0, 0]]"),
    ],
)
def test_preprocessing_is_a_range_where_it_is_one(spec, said):
    value = dict(zip(("matrix", "offset"), spec, strict=True))

    assert said in show._text("preprocessing", value)


def test_names_are_told_as_they_are(tmp_path):
    """Rich takes what stands in brackets for styles."""
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    client.data_spec = DataSpec(("[red]fox", "[/cat]", "dog"))
    client.save(tmp_path / "client.keras")

    told = commands.run("show", tmp_path / "client.keras")

    assert told.returncode == 0, told.stderr
    assert "[red]fox, [/cat]" in told.stdout
