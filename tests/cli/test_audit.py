import json

import numpy as np
import pytest

import keras_split
from keras_split import audit
from keras_split_cli import audit_output
from tests import nets
from tests.cli.commands import run


def test_the_help_begins_with_what_matters_and_a_first_look():
    found = run("audit", "--help")
    assert found.returncode == 0
    assert found.stdout.index("--public") < found.stdout.index("--cut")
    assert "keras-split audit  " in found.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mobilenet_v9"], "mobilenet_v9"),
        (["mobilenet_v2", "--data", "nowhere"], "nowhere"),
        (["{folder}/client.keras"], "--server-model SERVER.KERAS"),
    ],
)
def test_what_is_not_there_is_refused(arguments, words, tmp_path):
    (tmp_path / "client.keras").write_bytes(b"")
    arguments = [a.format(folder=tmp_path) for a in arguments]

    found = run("audit", *arguments)

    assert found.returncode == 1
    assert words in found.stderr and "Traceback" not in found.stderr


def test_an_output_that_is_a_file_is_refused_before_any_work(tmp_path):
    (tmp_path / "report").write_text("mine")

    found = run("audit", "-o", tmp_path / "report")

    assert found.returncode in (1, 2)
    assert (tmp_path / "report").read_text() == "mine"


def test_a_model_that_is_cut_once_is_refused(tmp_path):
    client, server = keras_split.compile(nets.built(nets.plain), cut="a_relu")
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    x, y = nets.images()
    np.savez(tmp_path / "data.npz", x=x, y=y)

    found = run(
        *("audit", tmp_path / "client.keras"),
        *("--data", tmp_path / "data.npz"),
    )

    assert found.returncode == 1
    assert "sent the labels, no attack needed" in found.stderr


def test_a_missing_package_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr(
        audit_output.importlib.util,
        "find_spec",
        lambda name: None if name == "sklearn" else True,
    )

    found = run("audit")

    assert found.returncode == 1
    assert "no sklearn" in found.stderr and "audit" in found.stderr


@pytest.mark.slow
def test_a_first_look_prints_tables_and_writes_three_files(tmp_path):
    folder = tmp_path / "new" / "report"

    found = run(
        *("audit", "--minutes", 0.05, "--images", 64, "-o", folder),
        *("--defense", "gaussian_noise:stddev=0.5"),
    )

    assert found.returncode == 0, found.stderr
    assert "half of the images are the attacker's: 64" in found.stderr
    assert "clustering of features gradients" in found.stdout
    assert "cut short" in found.stdout
    assert "gets more" in found.stdout
    assert {path.name for path in folder.iterdir()} == {
        "reconstructions.png",
        "report.html",
        "report.json",
    }
    report = audit.Report.from_json((folder / "report.json").read_text())
    assert [t.name for t in report.trials] == [
        "no defense",
        "gaussian_noise:stddev=0.5",
    ]
    assert report.setting.private == report.setting.public == 64
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1 + 2 * 3
    assert (folder / "reconstructions.png").read_bytes()[1:4] == b"PNG"
    json.loads((folder / "report.json").read_text())


@pytest.mark.slow
def test_saved_halves_are_audited_and_their_files_stay(tmp_path):
    client, server = keras_split.compile(
        nets.built(nets.plain), cut=["a_relu", "b_drop"]
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    x, y = nets.images(128, channels=2)
    np.savez(tmp_path / "data.npz", x=x, y=y)

    found = run(
        *("audit", tmp_path / "client.keras", "--minutes", 0.05),
        *("--data", tmp_path / "data.npz", "--batch-size", 8),
        *("--drill", "-o", tmp_path / "report"),
    )

    assert found.returncode == 0, found.stderr
    assert "known head" in found.stdout
    # Two channels are no image to look at.
    assert "match" in found.stdout and "SSIM" not in found.stdout
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content
    assert "FSHA, lying" in found.stdout
    assert "told 100 % of 1 hijackers" in " ".join(found.stdout.split())
    text = (tmp_path / "report" / "report.json").read_text()
    alarms = json.loads(text)["trials"][0]["alarms"]
    assert alarms["true_positive_rate"] == 1
    assert alarms["false_positive_rate"] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "does a phone tell a server that lies?" in page
