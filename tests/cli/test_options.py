"""What a Network says on a command line is what a command makes of it."""

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

import keras_split
from keras_split.errors import DataError
from keras_split_cli.options import CLIENT
from keras_split_cli.options import SERVER
from keras_split_cli.options import Network
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options
from tests.cli import commands

WHOLE = Network(
    preset="tiny",
    cut="deep",
    input_size=32,
    classes=7,
    weights=None,
    batchnorm_momentum=0.9,
    seed=3,
    quantization="int4",
    codec="zstd",
    bottleneck=2,
)


@pytest.mark.parametrize("fused", [True, False])
def test_arguments_make_the_same_network(fused, monkeypatch):
    commands.installed(monkeypatch)
    network = replace(WHOLE, fused_batchnorm=fused)
    received = []

    @click.command()
    @click.argument("preset")
    @network_options
    def command(preset, **options):
        received.append(Network(preset, **options))

    result = CliRunner().invoke(command, network.arguments())

    assert result.exit_code == 0, result.output
    assert received == [network]
    _, server = network.load()
    assert server.contract.fused_batchnorm is fused


@pytest.mark.parametrize(
    "cut, layers", [("norm,pool", ["norm", "pool"]), ("deep", None)]
)
def test_a_cut_is_a_name_or_two_layers(cut, layers, monkeypatch):
    commands.installed(monkeypatch)
    received = []

    @click.command()
    @network_options
    def command(**options):
        received.append(Network("tiny", **options))

    result = CliRunner().invoke(
        command, ["--cut", cut, "--input-size", "32", "--classes", "2"]
    )

    assert result.exit_code == 0, result.output
    client, server = received[0].load()
    assert list(client.contract.cut) == (layers or ["norm", "pool"])


@pytest.mark.parametrize("cut", ["nowhere", "norm,", "+,pool", ""])
def test_what_is_no_cut_is_refused(cut):
    @click.command()
    @network_options
    def command(**options):
        raise AssertionError(options)

    result = CliRunner().invoke(command, ["--cut", cut])

    assert result.exit_code == 2
    assert "or two layers, as in A,B" in result.output


def test_the_other_half_is_named_and_which_one_is_wanted(tmp_path):
    client, server = commands.halves()
    files = {name: str(tmp_path / f"{name}.keras") for name in ("c", "s", "w")}
    client.save(files["c"])
    server.save(files["s"])
    keras_split.join(client, server).save(files["w"])

    for source, which, text in (
        ("c", SERVER, "which is the phone's half. Name the server.keras that"),
        ("s", CLIENT, "which is the server's half. Name the client.keras that"),
        ("w", CLIENT, "Expected the phone's half. Received: a Functional in"),
    ):
        with pytest.raises(DataError) as info:
            load_half(files[source], {}, which)
        assert text in str(info.value)
