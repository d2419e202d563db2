"""scripts/conformance, which drives a client of any language."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import links

SCRIPT = Path(__file__).parents[1] / "scripts" / "conformance"


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("conformance", str(SCRIPT))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("conformance", loader)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setenv("PYTHONPATH", "")
        patch.setitem(sys.modules, "conformance", module)
        loader.exec_module(module)
        yield module


@pytest.fixture
def quiet(script):
    body = {"kernel": np.ones(3)}
    return script.Run(0, "", [[0, 1, 2]], body, 9000, 0, 0, 1.0)


def test_a_client_that_loses_nothing_has_no_faults(script, quiet):
    assert script.faults(quiet, replace(quiet, cuts=2, deaths=1)) == []


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"code": 1, "said": "connection lost"}, "ended with 1.*connection"),
        ({"code": None}, "did not end in time"),
        ({"steps": [[0, 1, 1]]}, r"\[0, 1, 1\], not each once"),
        ({"steps": [[0, 2]]}, r"\[0, 2\], not each once"),
        ({"steps": [[0], [0, 1]]}, r"\[1, 2\] steps, and \[3\]"),
        ({"weights": {"kernel": np.zeros(3)}}, "weights differ.*kernel"),
        ({"weights": {}}, "weights differ"),
        ({"cuts": 0, "deaths": 0}, "nothing happened"),
    ],
)
def test_a_client_that_does_not_is_told_why(script, quiet, change, fault):
    disturbed = replace(quiet, **{"cuts": 2, "deaths": 1} | change)

    (found,) = script.faults(quiet, disturbed)

    assert re.search(fault, found, re.DOTALL)


def test_a_client_that_is_not_told_where_the_server_is_is_an_error():
    ran = subprocess.run(
        [sys.executable, SCRIPT, "server.keras", "--", "true"],
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 2
    assert "Expected a client with {server} in it" in ran.stderr


@pytest.mark.slow
def test_our_client_on_a_device_passes(tmp_path):
    client, server = links.halves("int8")
    links.compile(client, keras.optimizers.SGD(0.05, momentum=0.9))
    client.export(tmp_path / "client.tflite", batch_size=8)
    server.save(tmp_path / "server.keras")
    x, y = links.batch(320)
    np.savez(tmp_path / "data.npz", x=x, y=y)

    ran = subprocess.run(
        [
            *(sys.executable, SCRIPT, tmp_path / "server.keras", "--"),
            *(sys.executable, "-m", "keras_split_cli", "device", "train"),
            *(tmp_path / "client.tflite", "--server", "{server}"),
            *("--data", tmp_path / "data.npz", "--validation-split", "0"),
            *("--epochs", "1"),
        ],
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert ran.stdout.endswith("PASS\n"), ran.stdout + ran.stderr
    assert ran.stdout.count("40 steps") == 2
    assert "cuts: 0" in ran.stdout and "server: 1" in ran.stdout
