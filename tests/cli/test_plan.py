import json
import shlex
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from keras_split import zoo
from keras_split.errors import CutError
from keras_split.errors import DataError
from keras_split.errors import SplitError
from keras_split.errors import ZooError
from keras_split.planner import probe
from keras_split.planner import server_probe
from keras_split_cli.plan import plan
from tests import nets
from tests.cli import commands
from tests.planner import profiles

PRESET = """
import sys
from keras_split_cli.main import main
try:
    main(["plan", "inception_resnet_v2", "--json", sys.argv[1]])
finally:
    print(" ".join(sys.modules), file=sys.stderr)
"""


def run(*arguments):
    return CliRunner().invoke(plan, [str(a) for a in arguments])


@pytest.fixture
def machines(tmp_path):
    profiles.PHONE.save(tmp_path / "phone.json")
    profiles.SERVER.save(tmp_path / "server.json")
    return (
        *("--phone", tmp_path / "phone.json"),
        *("--server", tmp_path / "server.json"),
    )


def test_a_preset_is_planned_without_keras(tmp_path):
    path = tmp_path / "plan.json"

    done = subprocess.run(
        [sys.executable, "-c", PRESET, path], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert not {"keras", "tensorflow"} & set(done.stderr.split())
    assert "not measured" in done.stdout
    told = json.loads(path.read_text())
    assert told["cut"] == told["cuts"][0]["cut"]
    assert told["cuts"][0]["seconds"] is None


def test_profiles_limits_and_goals_are_taken(machines, tmp_path):
    result = run(
        *("mobilenet_v2", *machines, "--link", "5M,1M/40ms"),
        *("--max-memory", "300M", "--min-depth", "0.05"),
        *("--json", tmp_path / "plan.json", "--plot", tmp_path / "plan.png"),
    )

    assert result.exit_code == 0, result.output
    assert "link 5M,1M/40ms, phone slow, server fast; best time" in (
        result.output
    )
    told = json.loads((tmp_path / "plan.json").read_text())
    seconds = [cut["seconds"] for cut in told["cuts"]]
    assert seconds == sorted(seconds)
    assert all(cut["depth"] >= 0.05 for cut in told["cuts"])
    assert all(cut["memory_bytes"] <= 300e6 for cut in told["cuts"])
    assert (tmp_path / "plan.png").stat().st_size > 1000


def test_this_machine_is_measured_where_that_is_asked_for(monkeypatch):
    order = []

    def measured(who, made):
        def probe(*, name, seconds, progress):
            order.append(who)
            progress(1.0)
            return replace(made, name=name)

        return probe

    monkeypatch.setattr(probe, "probe", measured("phone", profiles.PHONE))
    monkeypatch.setattr(
        server_probe, "probe_server", measured("server", profiles.SERVER)
    )

    result = run("mobilenet_v2", "--phone", "probe", "--server", "probe")

    assert result.exit_code == 0, result.output
    assert "phone this machine, server this machine; best time first" in (
        result.output
    )
    assert order == ["phone", "server"]


@pytest.mark.slow
@pytest.mark.long
def test_this_machine_is_measured_and_planned_for(tmp_path):
    done = commands.run(
        *("plan", "mobilenet_v2", "--phone", "probe", "--server", "probe"),
        *("--json", tmp_path / "plan.json"),
    )

    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "plan.json").read_text())
    for figure in ("seconds", "server_seconds", "memory_bytes"):
        assert all(cut[figure] > 0 for cut in told["cuts"]), figure


def test_cuts_are_compared_by_what_smashed_data_tells(tmp_path, monkeypatch):
    commands.installed(monkeypatch)
    x = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(32) % 10)

    result = run(
        *("tiny", "--input-size", 32, "--classes", 10),
        *("--data", tmp_path / "images.npz", "--optimize", "leakage"),
        *("--json", tmp_path / "plan.json"),
    )

    assert result.exit_code == 0, result.output
    assert "best leakage first" in result.output
    told = json.loads((tmp_path / "plan.json").read_text())
    values = [cut["leakage"] for cut in told["cuts"]]
    assert values == sorted(values)
    assert all(0 < value < 1 for value in values)


def test_any_cut_of_a_preset_is_a_command(tmp_path):
    result = run(
        *("mobilenet_v2", "--quantization", "int4"),
        *("--json", tmp_path / "plan.json"),
    )

    line = result.output.partition("Or: ")[2].partition("\n")[0]
    words = shlex.split(line)
    assert words[:3] == ["keras-split", "serve", "mobilenet_v2"]
    assert words[-2:] == ["--quantization", "int4"]
    told = json.loads((tmp_path / "plan.json").read_text())
    cut = words[words.index("--cut") + 1]
    assert zoo.get("mobilenet_v2").layers(cut) == told["cut"]


def test_a_named_cut_that_is_best_is_a_command():
    result = run("inception_resnet_v2")

    assert "keras-split serve inception_resnet_v2 --cut deep" in result.output


def test_a_model_in_a_file_is_planned(tmp_path):
    nets.unet().save(tmp_path / "unet.keras")

    result = run(tmp_path / "unet.keras", "--labels-on-server")

    assert result.exit_code == 0, result.output
    assert "Next: keras_split.compile(model, cut=" in result.output


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        (("alexnet",), ZooError, "mobilenet_v2"),
        (("none.keras",), DataError, "is no file"),
        (("none.keras", "--classes", 3), DataError, "preset alone"),
        (("vgg19", "--link", "5"), SplitError, "20M/30ms"),
        (("vgg19", "--phone", "none.json"), DataError, "none.json"),
        (("vgg19", "--server", "none.json"), DataError, "with --server"),
        (("vgg19", "--plot", "plan.doc"), DataError, "--plot"),
        (("vgg19", "--max-memory", "1M"), SplitError, "profile of the phone"),
        (("vgg19", "--min-depth", 1), CutError, "The nearest is"),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, word):
    result = run(*arguments)

    assert isinstance(result.exception, error)
    assert word in str(result.exception)


def test_a_damaged_model_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK nothing")

    result = run(path)

    assert isinstance(result.exception, DataError)
    assert "Expected a Keras model" in str(result.exception)


def test_a_model_that_cannot_be_cut_says_why(tmp_path):
    x = keras.Input((2,))
    keras.Model(x, keras.layers.Dense(1)(x)).save(tmp_path / "small.keras")

    result = run(tmp_path / "small.keras")

    assert isinstance(result.exception, CutError)
    assert "can be cut somewhere" in str(result.exception)
