"""`keras-split simulate`."""

import json

import pytest

from tests.cli import commands
from tests.cli.commands import run


def test_two_ways_to_deal_out_images_are_refused():
    done = run("simulate", "mobilenet_v2", "--alpha", "1", "--iid")

    assert done.returncode == 1
    assert "--alpha and --iid" in done.stderr


def test_more_phones_of_a_round_than_there_are_are_refused():
    done = run(
        *("simulate", "mobilenet_v2", "--phones", "3"),
        *("--participation", "4"),
    )

    assert done.returncode == 1
    assert "at most 3" in done.stderr


def test_phones_of_a_step_that_no_mode_merges_are_refused():
    done = run(
        *("simulate", "mobilenet_v2", "--mode", "shared"),
        *("--phones-per-step", "4"),
    )

    assert done.returncode == 1
    assert "--mode merged" in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "--engine ray beside --workers"),
        (["--engine", "ray"], "Received: merged."),
        (
            ["--engine", "ray", "--mode", "private", "--mode", "shared"],
            "Received: shared.",
        ),
    ],
)
def test_engines_that_would_do_nothing_are_refused(options, said):
    done = run("simulate", "mobilenet_v2", *options)

    assert done.returncode == 1
    assert said in done.stderr.replace("\n", " ")


def test_what_is_no_preset_is_refused():
    done = run("simulate", "mobilenet")

    assert done.returncode == 1
    assert "Expected a preset: " in done.stderr


@pytest.mark.slow
def test_two_modes_are_compared_in_a_table_a_picture_and_numbers(
    tmp_path, monkeypatch
):
    commands.installed(monkeypatch)
    picture, numbers = tmp_path / "phones.png", tmp_path / "phones.json"

    done = run(
        *("simulate", "tiny", "--phones", "1000", "--rounds", "1"),
        *("--participation", "3", "--mode", "merged", "--mode", "shared"),
        *("--plot", picture, "--json", numbers),
    )

    assert done.returncode == 0, done.stderr
    assert "1000 phones" in done.stdout
    assert "| merged |" in done.stdout and "| shared |" in done.stdout
    assert picture.stat().st_size > 1000
    found = json.loads(numbers.read_text("utf-8"))
    assert [one["name"] for one in found] == ["merged", "shared"]
    assert found[0]["settings"]["phones"] == 1000


@pytest.mark.slow
@pytest.mark.long
def test_processes_of_ray_make_the_numbers_of_one(tmp_path, monkeypatch):
    commands.installed(monkeypatch)
    options = ["--phones", "40", "--rounds", "1", "--participation", "4"]
    found = []

    for engine in (["process"], ["ray", "--workers", "2"]):
        numbers = tmp_path / f"{engine[0]}.json"
        done = run(
            *("simulate", "tiny", "--mode", "private", *options),
            *("--engine", *engine, "--json", numbers),
        )
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(numbers.read_text("utf-8"))
        (last,) = result["rounds"]
        del last["seconds"]
        metrics = last.pop("metrics")
        found.append((last | {"score": metrics["loss"]}, result["settings"]))

    (one, settings), (other, same) = found
    assert settings == same
    # A worker has one thread, which adds up in another order.
    assert one == pytest.approx(other, rel=1e-4)
