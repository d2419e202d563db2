import importlib.util
from pathlib import Path

import pytest

import keras_split
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.litert.contents import operations
from keras_split.planner import Profile
from keras_split.planner import bodies
from keras_split.planner import probes
from keras_split.planner import runs
from keras_split.planner import server_probe
from keras_split.planner.probe import probe
from keras_split.planner.probe_files import opened
from keras_split.planner.probe_files import pack
from keras_split.planner.server_probe import make_bodies
from keras_split.planner.server_probe import probe_server
from tests import nets

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_probes.py"


def make_probes():
    spec = importlib.util.spec_from_file_location("make_probes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """An archive with one small probe."""
    folder = tmp_path_factory.mktemp("probes")
    client, _ = keras_split.compile(
        nets.dense(), ["a", "b"], quantization="int8"
    )
    file = make_probes().export(client, 2, folder / "00.tflite")
    pack(folder / "probes.tar.xz", [file])
    return folder / "probes.tar.xz", file


def test_an_archive_gives_back_what_was_packed(packed):
    path, packed_file = packed

    with opened(path) as (file,):
        assert file.path.read_bytes() == packed_file.path.read_bytes()
        assert (file.batch, file.head, file.tail) == (
            packed_file.batch,
            packed_file.head,
            packed_file.tail,
        )
    assert not file.path.exists()


def test_what_is_no_archive_is_refused(tmp_path, packed):
    broken = tmp_path / "broken.tar.xz"
    broken.write_bytes(packed[0].read_bytes()[:500])

    for path in (broken, tmp_path / "none.tar.xz"):
        with pytest.raises(DataError, match="make_probes"), opened(path):
            pass


def test_a_probe_of_this_machine_predicts_what_it_was_measured_with(packed):
    path, file = packed
    parts = []

    made = probe(seconds=0.4, clock="cpu", source=path, progress=parts.append)

    assert made.phases == ("head_forward", "head_backward", "tail_step")
    assert parts == [0.5, 1.0]
    assert made.about["threads"] == "1"
    took = runs.run(file.path, seconds=0.1, threads=1).seconds
    for phase, work in (("head_forward", file.head), ("tail_step", file.tail)):
        ratio = made.seconds(work, file.batch, phase) / took[phase]
        assert 0.01 < ratio < 100  # seconds, not milliseconds
    # The process that measures has TensorFlow here, and so much memory.
    assert made.peak_bytes(file.head, file.tail, file.batch) > 1e7


def test_every_pass_runs_a_few_times_and_then_until_time_is_up(packed):
    counts = runs.run(packed[1].path, seconds=0.0).counts

    assert set(counts.values()) == {runs.FEWEST}
    seconds = 0.1  # a busy machine has no more than the fewest in that time
    while min(counts.values()) == runs.FEWEST:
        assert seconds < 60
        counts = runs.run(packed[1].path, seconds=seconds).counts
        seconds *= 3


def test_a_file_that_litert_cannot_run_is_refused(tmp_path):
    path = tmp_path / "client.tflite"
    path.write_bytes(b"nothing")

    with pytest.raises(DataError, match="head_forward"):
        runs.run(path, seconds=0.0)


@pytest.mark.parametrize(
    "options",
    [
        {"clock": "sundial"},
        {"seconds": 0},
        {"clock": "cpu", "threads": 2},
    ],
)
def test_what_cannot_be_measured_is_refused(options):
    with pytest.raises(OptionError):
        probe(**options)


def test_probes_are_the_same_for_everybody():
    assert probes.probes(5) == probes.probes(12)[:5]
    assert {p.batch for p in probes.shipped()} == {1, 4, 8}


def test_a_body_takes_as_many_steps_as_there_is_time_for(monkeypatch):
    monkeypatch.setattr(server_probe, "_wait", lambda: None)
    body, _ = make_bodies(nets.dense(), ["a", "b"], (2, 1))

    for _ in range(300):  # weights that move would be NaN before
        body.step()


def test_a_body_takes_steps_and_its_work_has_both_crossings():
    body, _ = make_bodies(nets.dense(), ["a", "b"], (2, 1))

    assert min(body.step()) > 0
    assert body.work.by_kind["crossing"].elements == 5 + 6
    assert body.work.by_kind["dense"].multiply_adds == 30


@pytest.mark.slow
def test_a_server_is_measured_like_a_phone():
    made = probe_server(seconds=0.2, chosen=bodies.bodies()[:1])

    assert made.phases == ("body_forward", "body_backward")
    assert Profile.from_config(made.get_config()) == made
    assert made.memory is None


@pytest.mark.slow
def test_the_probes_that_are_shipped_are_those_of_the_script():
    script = make_probes()
    with opened() as files:
        for file, wanted in zip(files, probes.shipped(), strict=True):
            made = script.described(
                script.client_of(wanted), wanted.batch, file.path
            )

            assert file == made
        chosen = probes.shipped()[7]  # a small one
        shipped = files[7].path.read_bytes()
        anew = files[0].path.with_name("anew.tflite")
        script.export(script.client_of(chosen), chosen.batch, anew)

        assert operations(anew.read_bytes()) == operations(shipped)
