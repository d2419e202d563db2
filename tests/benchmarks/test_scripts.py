"""The scripts run, as small as they can."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("--presets", "mobilenet_v2", "--size", "32", "--batch", "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("link", ("--rate-mbit", "50", "--pairs", "1")),
        ("networks", ("--profile", "wifi", "5g", "--pairs", "1")),
        ("spliteasy", ("--rate-mbit", "100", "--steps", "1")),
        ("phone_time", ("--rounds", "1")),
    ],
)
def test_a_script_prints_its_table(name, arguments):
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *SMALL, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert "\n| mobilenet_v2 |" in done.stdout


def test_every_script_can_write_its_report():
    scripts = [p for p in SCRIPTS.glob("*.py") if not p.name.startswith("_")]

    assert len(scripts) > 5
    for script in scripts:
        text = script.read_text("utf-8")
        assert "write_option(parser)" in text, script.name
        assert "report.close()" in text, script.name
