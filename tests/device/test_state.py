import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_split.device.description import Description
from keras_split.device.state import State
from keras_split.errors import DataError
from keras_split.errors import RefusedError
from keras_split.protocol.moment import Moment
from tests import links

# A phone: nothing of TensorFlow or Keras can be imported.
PHONE = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras"):
            raise ImportError(f"{name} is not on the phone")


sys.meta_path.insert(0, Blocked())
import numpy as np
from keras_split.device import Client, batches

tflite, address, data, epoch, load, save = sys.argv[1:]
arrays = np.load(data)
with Client(tflite, address, num_threads=1) as client:
    feed = batches(arrays["x"], arrays["y"], client.batch_size)
    feed.epoch = int(epoch)
    client.connect()
    if load:
        client.load_state(load)
    client.fit(feed, epochs=2 - int(epoch) if save == "whole.npz" else 1)
    client.save_state(save)
"""


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "tag"}


def phone_process(folder, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", PHONE, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_a_new_process_goes_on_bit_for_bit_on_both_sides(files, tmp_path):
    x, y = links.batch(21)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    tflite = files["int8"]
    bodies = []
    for runs in (
        [(0, "", "whole.npz")],
        [(0, "", "first.npz"), (1, "first.npz", "second.npz")],
    ):
        with links.served("int8") as (_, server, address):
            for epoch, load, save in runs:
                phone_process(
                    *(tmp_path, tflite, address, "data.npz"),
                    *(epoch, load, save),
                )
            bodies.append(links.state(server))

    whole = arrays(tmp_path / "whole.npz")
    parts = arrays(tmp_path / "second.npz")
    assert whole["step"] == 6
    assert any(name.startswith("state.tail") for name in whole)
    assert set(whole) == set(parts)
    assert whole.pop("run") != parts.pop("run")  # of two trainings
    assert links.same(list(whole.values()), [parts[n] for n in whole])
    assert links.same(*bodies)


@pytest.fixture(scope="module")
def served():
    """One server for all phones, whose graph it keeps."""
    with links.served() as (_, server, address):
        yield server, address


@pytest.fixture
def saved(phone, served, tmp_path):
    """A phone with a session, its server, and a state two steps back."""
    server, address = served
    subject = phone(address)
    subject.fit([links.batch(8)] * 2, verbose=False)
    path = tmp_path / "state.npz"
    subject.save_state(path)
    subject.fit([links.batch(8)] * 2, verbose=False)
    return subject, server, path


def rewrite(path, **changes):
    """Writes the file again with other entries; None drops one."""
    with np.load(path, allow_pickle=False) as file:
        content = dict(file) | changes
    np.savez(path, **{n: v for n, v in content.items() if v is not None})


def first_weight(path):
    name = sorted(n for n in arrays(path) if n.startswith("state."))[0]
    return name, arrays(path)[name]


def damage(path, how):
    name, value = first_weight(path)
    if how == "fingerprint":
        rewrite(path, fingerprint=np.array("0" * 64))
    elif how == "frozen":
        rewrite(path, frozen=np.array("0" * 64))
    elif how == "missing tensor":
        rewrite(path, **{name: None})
    elif how == "extra tensor":
        rewrite(path, **{"state.more": value})
    elif how == "shape":
        rewrite(path, **{name: value[..., :-1]})
    elif how == "dtype":
        rewrite(path, **{name: value.astype("float64")})
    elif how == "step":
        rewrite(path, step=np.array(-1))
    elif how == "pickle":
        rewrite(path, **{name: np.array([{}], object)})
    elif how == "no step":
        rewrite(path, step=None)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no archive":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize(
    "how",
    ["fingerprint", "frozen", "missing tensor", "extra tensor", "shape"]
    + ["dtype", "step", "pickle", "no step", "truncated", "flipped", "empty"]
    + ["no archive", "gone"],
)
def test_a_state_that_does_not_fit_changes_nothing_on_either_side(saved, how):
    subject, server, path = saved
    before, body = subject.get_state(), links.state(server)
    damage(path, how)

    with pytest.raises(DataError, match="Expected a state.*Received: "):
        subject.load_state(path)

    assert links.same(list(before.values()), list(subject.get_state().values()))
    assert links.same(body, links.state(server))
    assert subject.step == 4


def test_a_state_brings_back_both_halves(saved):
    subject, server, path = saved
    subject.load_state(path)
    then = subject.moment
    once = subject.train_on_batch(*links.batch(8)), links.state(server)
    first = subject.moment

    subject.load_state(path)
    assert subject.moment == server.moment == then
    again = subject.train_on_batch(*links.batch(8)), links.state(server)

    assert subject.step == 3
    assert subject.moment == server.moment
    assert first.steps == subject.moment.steps == then.steps + 1
    assert first.run != subject.moment.run  # of two futures
    assert once[0] == again[0]
    assert links.same(once[1], again[1])


def test_a_snapshot_that_the_server_lost_changes_nothing(saved):
    subject, _, path = saved
    before = subject.get_state()
    rewrite(path, tag=np.array("0123456789abcdef"))

    with pytest.raises(RefusedError, match="tag of a snapshot"):
        subject.load_state(path)

    assert links.same(list(before.values()), list(subject.get_state().values()))
    assert subject.step == 4


def test_without_a_session_the_phone_keeps_its_half_alone(
    phone, files, tmp_path
):
    subject = phone("grpc://127.0.0.1:9")
    path = tmp_path / "state.npz"

    subject.save_state(path)
    subject.load_state(path)

    assert State.read(path, subject.description).tag == ""
    assert subject.step == 0


@pytest.fixture
def small(files):
    """A description and a state that fits it."""
    description = Description.read(files["float32"])
    values = {
        spec.name: np.zeros(spec.shape, spec.dtype)
        for spec in description.state
    }
    return description, State(values, 7, "tag", Moment("ab" * 16, 9))


def test_a_crash_while_writing_leaves_the_old_file(
    small, tmp_path, monkeypatch
):
    description, state = small
    path = tmp_path / "state.npz"
    state.write(path, description)
    old = path.read_bytes()

    def half(file, **content):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(DataError, match="no space left.*What was there"):
        state.write(path, description)

    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(small, tmp_path):
    description, state = small

    with pytest.raises(DataError, match="nowhere"):
        state.write(tmp_path / "nowhere" / "state.npz", description)


def test_what_is_written_is_read(small, tmp_path):
    description, state = small
    path = tmp_path / "a file"  # np.savez would add .npz to a path

    state.write(path, description)
    again = State.read(path, description)

    assert (again.step, again.tag) == (7, "tag")
    assert again.moment == state.moment
    assert set(again.arrays) == set(state.arrays)


def test_other_files_of_the_same_net_take_the_state(small, files, tmp_path):
    """Only values that the file cannot change must be the same."""
    description, state = small
    for suffix in (".tflite", ".json"):
        shutil.copy(
            files["float32"].with_suffix(suffix), tmp_path / f"copy{suffix}"
        )
    config = json.loads((tmp_path / "copy.json").read_text())
    config["batch_size"] = 4
    (tmp_path / "copy.json").write_text(json.dumps(config))

    state.write(tmp_path / "state.npz", description)
    again = State.read(
        tmp_path / "state.npz", Description.read(tmp_path / "copy.tflite")
    )

    assert again.step == 7


def test_what_another_version_added_is_passed_over(small, tmp_path):
    description, state = small
    path = tmp_path / "state.npz"
    state.write(path, description)
    rewrite(path, new=np.ones(3), format=np.array(1))

    again = State.read(path, description)

    assert set(again.arrays) == set(state.arrays)


def test_a_version_that_knew_no_moment_is_of_none(small, tmp_path):
    description, state = small
    path = tmp_path / "state.npz"
    state.write(path, description)
    with np.load(path) as data:
        known = {name: data[name] for name in data if "run" not in name}
    np.savez(path, **known)

    assert not State.read(path, description).moment


def test_a_state_of_a_newer_version_is_told_so(small, tmp_path):
    description, state = small
    path = tmp_path / "state.npz"
    state.write(path, description)
    rewrite(path, format=np.array(2))

    with pytest.raises(DataError, match="format 2, which a newer keras_split"):
        State.read(path, description)


def test_a_step_without_end_is_refused(small, tmp_path):
    description, state = small
    path = tmp_path / "state.npz"
    state.write(path, description)
    rewrite(path, step=np.array(np.inf))

    with pytest.raises(DataError, match="cannot be read"):
        State.read(path, description)
