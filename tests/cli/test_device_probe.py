import os
import sys

import pytest

from keras_split.planner import Profile
from keras_split.planner import Work
from keras_split.planner import probe as probe_module
from keras_split.planner import server_probe
from tests.cli import commands
from tests.cli.test_device import PHONE


@pytest.fixture
def recorded(monkeypatch):
    """What the command asks for; nothing is measured."""
    calls = []

    def measure(who):
        def measured(*, name, progress, **options):
            calls.append((who, options))
            progress(1.0)
            return Profile(name, {})

        return measured

    monkeypatch.setattr(probe_module, "probe", measure("phone"))
    monkeypatch.setattr(server_probe, "probe_server", measure("server"))
    return calls


def test_a_profile_is_written_and_named_after_its_file(tmp_path, recorded):
    path = tmp_path / "pixel.json"

    done = commands.run(
        *("device", "probe", "-o", path, "--seconds", 3, "--threads", 2)
    )

    assert done.returncode == 0
    assert str(path) in done.stdout
    assert Profile.load(path).name == "pixel"
    options = {"seconds": 3.0, "threads": 2, "clock": "wall"}
    assert recorded == [("phone", options)]


def test_a_server_is_measured_with_tensorflow(tmp_path, recorded):
    path = tmp_path / "server.json"

    done = commands.run("device", "probe", "--server", "-o", path)

    assert done.returncode == 0
    assert recorded == [("server", {"seconds": 30.0})]


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "profile.txt"),
        ("-o", "no/such/folder/profile.json"),
        ("--server", "--threads", 2),
        ("--server", "--clock", "cpu"),
    ],
)
def test_what_cannot_be_done_is_refused_first(options, recorded):
    done = commands.run("device", "probe", *options)

    assert done.returncode == 1
    assert "Expected" in done.stderr
    assert not recorded


@pytest.mark.slow
def test_a_phone_without_tensorflow_is_measured(tmp_path):
    path = tmp_path / "phone.json"

    done = commands.python(
        *("-c", PHONE, "device", "probe", "-o", path, "--seconds", "0.1"),
        PYTHONPATH=os.pathsep.join(sys.path),
    )

    assert done.returncode == 0, done.stderr
    profile = Profile.load(path)
    assert profile.phases == ("head_forward", "head_backward", "tail_step")
    assert profile.peak_bytes(Work(), Work(), 1) > 1e7
