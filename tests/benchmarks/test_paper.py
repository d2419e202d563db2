"""The experiments of the paper run, and say what they found."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import nets
from tests.cli import commands

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def paper(monkeypatch):
    """The scripts import each other as they do when they are run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import paper

    return paper


def run(folder, *arguments):
    results = folder / "paper.jsonl"
    return subprocess.run(
        [sys.executable, SCRIPTS / "paper.py", "--networks", "tiny"]
        + ["--size", "32", "--results", results, "--files", folder / "files"]
        + [*map(str, arguments)],
        env=commands.installed_in(folder),
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.long
def test_a_tiny_network_trains_whole_and_split(tmp_path):
    done = run(
        tmp_path,
        *("--only", "memory", "time", "bytes", "--batches", 2),
        *("--limits-mb", 1, 512, "--rounds", 1),
    )

    assert done.returncode == 0, done.stderr
    assert "| **fails** | trains | spliteasy |" in done.stdout
    assert "\n| tiny | 1 | U | int8 |" in done.stdout

    again = subprocess.run(
        [sys.executable, SCRIPTS / "paper.py", "--networks", "tiny"]
        + ["--results", tmp_path / "paper.jsonl", "--table"],
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert again.stdout in done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_whole_and_split_learn_from_the_same_images(tmp_path):
    done = run(
        tmp_path,
        *("--only", "learning", "--learners", "tiny", "--seeds", 1),
        *("--epochs", 1),
    )

    assert done.returncode == 0, done.stderr
    assert "\n| tiny | split, int8 | 1 |" in done.stdout


@pytest.mark.slow
def test_a_whole_step_in_litert_is_the_step_of_keras(tmp_path, paper):
    import _whole_phone
    from ai_edge_litert.interpreter import Interpreter

    model = nets.built(nets.smooth)
    for layer in model.layers:  # chance is not the same in both
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    x, y = nets.images(4)
    path = tmp_path / "whole.tflite"
    _whole_phone.export(model, path, 4, keras.optimizers.SGD(0.1, momentum=0.9))
    step = Interpreter(model_path=str(path)).get_signature_runner("step")
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
    )

    given = {
        "x": x,
        "y": y.astype(np.int32),
        "step": np.int32(0),
        "learning_rate": np.float32(0.1),
    }
    known = step.get_input_details()
    for _ in range(4):
        said = step(**{name: given[name] for name in known})["loss"]
        expected = model.train_on_batch(x, y)

        np.testing.assert_allclose(float(said), float(expected), rtol=1e-4)


def test_a_network_that_is_too_large_is_not_tried_with_more(paper):
    small = paper.Case("memory", "net", limit=1024)
    found = {small: {"trained": False}}

    assert paper.pointless(paper.Case("memory", "net", batch=2), found)
    assert paper.pointless(paper.Case("memory", "net", "light", batch=2), found)
    assert not paper.pointless(paper.Case("memory", "net"), found)
    assert not paper.pointless(paper.Case("memory", "other", batch=2), found)
    assert not paper.pointless(paper.Case("time", "net", batch=2), found)


def test_what_was_measured_is_told(paper, capsys):
    found = paper.known(paper.RESULTS)

    for name, tell in paper._paper_tables.TABLES.items():
        tell(found, paper.Report(f"paper-{name}"))

    said = capsys.readouterr().out
    assert "| six state-of-the-art neural networks |" in said
    assert "\n| mobilenet_v2 | 224 | 1 |" in said
