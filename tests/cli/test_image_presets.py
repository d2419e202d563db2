"""Presets of texts, where a command brings images."""

import json
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from keras_split import zoo
from keras_split_cli.options import SERVER
from keras_split_cli.options import Network
from keras_split_cli.options import load_half
from tests.cli import commands

PROJECT = Path(__file__).parents[2]
NETWORK = {
    "cut": "spliteasy",
    "input_size": None,
    "classes": None,
    "weights": None,
    "batchnorm_momentum": None,
    "seed": 0,
    "quantization": "int8",
    "codec": None,
}
TINY = ("--sequence-length", 6, "--vocabulary-size", 20)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The presets that pyproject.toml declares, installed or not."""
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = about["entry-points"][zoo.GROUP]
    entries = [EntryPoint(n, v, zoo.GROUP) for n, v in declared.items()]
    monkeypatch.setattr(zoo, "entry_points", lambda group: entries)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("train", "bert_tiny"), "zoo.load('bert_tiny', share=['padding_mask'"),
        (("simulate", "gpt2"), "In Python it trains"),
        (("audit", "gpt2"), "Nothing attacks networks with several inputs"),
        (("plan", "gpt2", "--classes", 3), "plan with --input-size"),
        (("serve", "bert_tiny", "--web", 0), "keras-split export"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_that_brings_images_names_another_way(arguments, advice):
    done = commands.run(*arguments)

    assert done.returncode == 1
    assert "Expected a preset of images" in done.stderr
    assert "mobilenet_v2, resnet50" in done.stderr
    assert "which takes texts" in done.stderr
    assert advice in done.stderr


@pytest.mark.parametrize("command", ["serve", "export"])
@pytest.mark.parametrize(
    ("preset", "option"),
    [
        ("bert_tiny", ("--input-size", 96)),
        ("gpt2", ("--batchnorm-momentum", 0.9)),
        ("vgg19", ("--sequence-length", 9)),
    ],
)
def test_options_of_other_networks_are_refused(
    command, preset, option, tmp_path
):
    place = ("-o", tmp_path) if command == "export" else ()

    done = commands.run(command, preset, *option, *place)

    assert done.returncode == 1
    assert f"Received: {option[0]}. Leave {option[0]} out" in done.stderr


def test_an_export_without_consent_is_refused(tmp_path):
    done = commands.run("export", "bert_tiny", *TINY, "-o", tmp_path / "out")

    assert done.returncode == 1
    assert "--share padding_mask" in done.stderr


def test_a_network_of_texts_is_called_again_with_the_same_options():
    network = Network("gpt2", **NETWORK, sequence_length=9, share=("a", "b"))

    words = " ".join(network.arguments())

    assert "--sequence-length 9" in words
    assert "--share a --share b" in words


def test_a_server_agrees_to_what_phones_send_in_named_cuts_alone():
    named = Network("gpt2", **NETWORK).agreed()
    layers = Network("gpt2", **NETWORK | {"cut": "a,b"}).agreed()
    image = Network("vgg19", **NETWORK).agreed()

    assert named.share == ("padding_mask",)
    assert layers.share == image.share == ()


@pytest.mark.slow
def test_a_text_preset_is_exported_and_served(tmp_path):
    pytest.importorskip("keras_hub")
    given = {"sequence_length": 6, "vocabulary_size": 20}
    done = commands.run(
        *("export", "bert_tiny", *TINY, "--share", "padding_mask"),
        *("--batch-size", 2, "-o", tmp_path),
    )
    server = load_half("bert_tiny", NETWORK | given, SERVER)

    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "client.json").read_text())
    assert about["contract"]["fingerprint"] == server.contract.fingerprint
    (shared,) = about["contract"]["shared"]
    assert shared["name"] == "padding_mask"
    assert (tmp_path / "server.keras").is_file()


@pytest.mark.slow
def test_the_costs_of_other_lengths_are_computed():
    pytest.importorskip("keras_hub")
    done = commands.run("zoo", "show", "bert_tiny", *TINY, "--json")

    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout[done.stdout.index("{") :])
    assert (entry["sequence_length"], entry["vocabulary_size"]) == (6, 20)
    assert entry["cuts"]["light"]["smashed"] == [[6, 128]]
    assert entry["cuts"]["light"]["shared_bytes"] == 1
