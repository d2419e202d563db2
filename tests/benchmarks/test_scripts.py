"""The scripts run, as small as they can."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import commands
from tests.planner import profiles

ROOT = Path(__file__).parents[2]
SCRIPTS, DOCS = ROOT / "benchmarks", ROOT / "docs"
SMALL = ("--presets", "tiny", "--size", "32", "--batch", "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param(
            "link",
            (
                *("--rate-mbit", "50", "--pairs", "1"),
                *("--microbatches", "1", "2", "--quantization", "int8"),
            ),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("networks", ("--profile", "wifi", "5g", "--pairs", "1")),
            marks=pytest.mark.long,
        ),
        pytest.param(
            "spliteasy",
            ("--rate-mbit", "100", "--steps", "1", "--their-steps", "1"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("phone_time", ("--rounds", "1")), marks=pytest.mark.long
        ),
    ],
)
def test_a_script_prints_its_table(name, arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *SMALL, *arguments],
        env=commands.installed_in(tmp_path),
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert "\n| tiny |" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("planned_steps", ("--cut", "tiny", "32", "first", "pool")),
        pytest.param(
            "planned_choice",
            ("--networks", "tiny", "--size", "32", "--top", "1")
            + ("--random", "1"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_was_planned_is_trained(name, arguments, tmp_path):
    results = tmp_path / "results.jsonl"
    folder = tmp_path / "files"
    folder.mkdir()
    profiles.PHONE.save(folder / "phone.json")  # else it is measured
    profiles.SERVER.save(folder / "server.json")

    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *arguments]
        + ["--steps", "1", "--results", results, "--files", folder],
        env=commands.installed_in(tmp_path),
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert "\n| tiny | 32 |" in done.stdout
    for line in results.read_text().splitlines():
        row = json.loads(line)
        sides = row["predicted"], row["measured"]
        one, other = (side["bytes"] for side in sides)
        assert one < other < one + 3000  # what frames messages
        # Two round trips, and no less than the line takes.
        for link, seconds in row["measured"]["steps"].items():
            assert seconds > 2e-3 * float(link.split("/")[1][:-2])


def test_secure_aggregation_prints_its_table():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "secure_aggregation.py", "--rounds", "1"]
        + ["--sizes", "1000", "--phones", "3"],
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert "\n| 1,000 | 3 | 64 bits |" in done.stdout


@pytest.mark.slow
def test_a_thousand_idle_phones_cost_no_thread_and_less_than_1_mb_each():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "idle_phones.py", "--seconds", "2"],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.long
def test_phones_whose_steps_are_merged_give_all_that_they_have():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "merged.py", "--phones", "4"]
        + ["--processes", "2", "--steps", "2", "--rounds", "1"],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_script_can_write_its_report():
    scripts = [p for p in SCRIPTS.glob("*.py") if not p.name.startswith("_")]

    pages = [page.read_text("utf-8") for page in DOCS.rglob("*.md")]
    assert len(scripts) > 5
    for script in scripts:
        text = script.read_text("utf-8")
        assert "write_option(parser)" in text, script.name
        assert "report.close()" in text, script.name
        for name in re.findall(r'\bReport\(\s*"([^"]+)"', text):
            place = f"<!-- {name} -->"
            assert any(place in page for page in pages), (script.name, name)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "arguments", "row"),
    [
        (
            "ray_simulation",
            ("--phones", "6", "--images", "20", "--rounds", "1")
            + ("--repeats", "1"),
            "| ratio |",
        ),
        (
            "replicas",
            (
                *("--replicas", "1", "--sessions", "2"),
                *("--seconds", "2", "--warm-up", "2", "--repeats", "1"),
            ),
            "\n| 1 | ",
        ),
        (
            "replicas",
            (
                *("--replicas", "1", "--sessions", "2", "--wait-ms", "50"),
                *("--seconds", "2", "--warm-up", "2", "--repeats", "1"),
            ),
            "A body that waits for 50 ms",
        ),
        (
            "local_sgd",
            (
                *("--every", "4", "--phones", "2", "--steps", "10"),
                *("--seeds", "1", "--subset"),
            ),
            "\n| 4 | ",
        ),
    ],
)
def test_processes_of_ray_are_measured(name, arguments, row):
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert row in done.stdout


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["10", "1"])
def test_replicas_and_their_front_die_and_each_step_is_taken_once(
    mode, tmp_path
):
    results = tmp_path / "results.jsonl"

    done = subprocess.run(
        [sys.executable, SCRIPTS / "ray_chaos.py", "--modes", mode]
        + ["--seeds", "0", "--steps", "16", "--kills", "1", "--subset"]
        + ["--results", results],
        env=commands.installed_in(tmp_path),
        capture_output=True,
        text=True,
        timeout=800,
    )

    assert done.returncode == 0, done.stderr
    assert f"\n| {mode} | 0 | " in done.stdout
    row = json.loads(results.read_text())
    assert ("front" in dict(row["killed"])) and row["left"] == 0
    assert row["once"] and row["finite"] and row["taken"] == 4 * 16
    assert mode == "10" or row["difference"] < 1e-3
