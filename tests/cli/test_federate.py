"""Phones of the command line train one model: each a process of its own."""

import os
import re
import subprocess
import sys

import pytest

from tests.cli import commands

_CLI = [sys.executable, "-u", "-m", "keras_split_cli"]
PHONES = 3


def start(*arguments):
    return subprocess.Popen(
        [*_CLI, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )


@pytest.mark.slow
def test_three_processes_train_one_model(tmp_path):
    compiled = {
        "optimizer": "sgd",
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    }
    client, server = commands.halves(compiled=compiled)
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    data = commands.archive(tmp_path / "data.npz", [30, 30])
    body = start(
        *("serve", tmp_path / "server.keras", "--port", 0),
        *("--save", tmp_path / "trained.keras", "--cohort", "merged"),
        *("--phones", PHONES, "--batch", 8),
    )
    phones = []
    try:
        said = ""
        while (found := re.search(r"Serving .* on (\S+:\d+)", said)) is None:
            line = body.stdout.readline()
            assert line, said
            said += line
        phones = [
            start(
                *("train", tmp_path / "client.keras", "--server", found[1]),
                *("--data", data, "--part", f"{i}/{PHONES}"),
                *("--validation-data", data, "--epochs", 2),
                *("--federate", 4, "--save", tmp_path / f"{i}.keras"),
            )
            for i in range(1, PHONES + 1)
        ]
        told = [phone.communicate(timeout=280)[0] for phone in phones]
        body.terminate()
        body.communicate(timeout=60)
    finally:
        for process in (body, *phones):
            process.kill()
            process.wait()

    assert [phone.returncode for phone in phones] == [0] * PHONES, told
    assert body.returncode == 0
    validated = {tuple(re.findall(r"val_loss [\d.]+", text)) for text in told}
    assert len(validated) == 1 and len(*validated) == 2, told
    for text in told:
        assert "adds up halves that it cannot read" in text
        assert "Traceback" not in text and "The body stays" not in text
    wholes = []
    for i in range(1, PHONES + 1):
        joined = commands.run(
            *("join", tmp_path / f"{i}.keras", tmp_path / "trained.keras"),
            *("-o", tmp_path / f"whole{i}.keras"),
        )
        assert joined.returncode == 0, joined.stderr
        scored = commands.run(
            *("evaluate", tmp_path / f"whole{i}.keras", "--data", data)
        )
        assert scored.returncode == 0, scored.stderr
        wholes.append(scored.stdout)
    assert len(set(wholes)) == 1
