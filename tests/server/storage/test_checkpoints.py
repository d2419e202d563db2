import errno
import json
import os

import numpy as np
import pytest

from keras_split.compression.tensors import CutTensor
from keras_split.errors import DataError
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline
from keras_split.server.session_state import SessionState
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from keras_split.server.storage.checkpoints import claim
from keras_split.utils import npz

INT8 = CutTensor(
    "a",
    (2, 3),
    np.arange(6, dtype="uint8").reshape(2, 3),
    np.ones((2, 2), "f4"),
)
FLOAT = CutTensor("b/c:0", (2, 1), np.array([[1.5], [-2]], "float16"))
MOMENT = Moment("ab" * 16, 12)
REPLIES = {
    "none": [],
    "of a step": [SmashedGrad(7, [INT8, FLOAT], durable_steps=3)],
    "of microbatches": [SmashedGrad(7, [t]) for t in (INT8, INT8, FLOAT)],
    "labeled": [LabeledResult(7, 0.5, [FLOAT], [INT8], 3, MOMENT)],
}


def state(replies=(), value=1.0, fingerprint="f" * 64):
    session = SessionState(
        "secret", "ann", '{"o": 1}', '{"l": 2}', 8, replies, [np.ones(3)]
    )
    body = [np.full((2, 2), value), np.array([1, 2], "uint32")]
    timeline = Timeline(MOMENT, (Moment("cd" * 16, 5),), copied=True)
    return HostState(fingerprint, body, [np.zeros(())], [session], "", timeline)


def values(state):
    """Something that compares by value."""
    (session,) = state.sessions
    about = {
        k: v for k, v in vars(session).items() if k not in ("replies", "slots")
    }
    arrays = [*state.body, *state.slots, *session.slots]
    for number, reply in enumerate(session.replies):
        about[number, "kind"] = type(reply)
        for key, value in vars(reply).items():
            if not isinstance(value, list):
                about[number, key] = value
                continue
            for tensor in value:
                about[number, tensor.name] = tensor.shape
                arrays += [tensor.codes]
                arrays += [] if tensor.scales is None else [tensor.scales]
    return about, [(a.dtype.str, a.shape, a.tobytes()) for a in arrays]


@pytest.mark.parametrize("replies", REPLIES.values(), ids=REPLIES)
def test_a_state_comes_back_as_it_was(tmp_path, replies):
    saved = state(replies)
    path = Checkpoints(tmp_path).save(saved)

    loaded, where = Checkpoints(tmp_path).load("f" * 64)

    assert values(loaded) == values(saved)
    assert where == path
    assert (loaded.timeline, loaded.moment) == (saved.timeline, MOMENT)


def test_an_empty_folder_has_none(tmp_path):
    assert Checkpoints(tmp_path / "new").load("f") is None


def test_the_last_of_a_few_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)

    for value in range(6):
        checkpoints.save(state(value=float(value)))

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"checkpoint-0000000{n}.npz" for n in (4, 5, 6)]
    assert checkpoints.load("f" * 64)[0].body[0][0, 0] == 5


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut off":
        content = content[: len(content) // 2]
    elif how == "a flipped byte":
        content[len(content) // 3] ^= 255
    elif how == "empty":
        content = b""
    elif how == "another file":
        return npz.write(path, {"about": np.zeros(3, np.uint8)})
    elif how == "an array less":
        arrays = npz.read(path)
        del arrays["body_1"]
        return npz.write(path, arrays)
    return path.write_bytes(content)


@pytest.mark.parametrize(
    "how",
    ["cut off", "a flipped byte", "empty", "another file", "an array less"],
)
def test_a_damaged_one_is_named_and_the_one_before_is_used(
    tmp_path, caplog, how
):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(value=1.0))
    damage(checkpoints.save(state(value=2.0)), how)

    loaded, path = checkpoints.load("f" * 64)

    assert loaded.body[0][0, 0] == 1
    assert path.name == "checkpoint-00000001.npz"
    assert "checkpoint-00000002.npz is damaged" in caplog.text
    newest = checkpoints.save(state(value=3.0))
    assert newest.name == "checkpoint-00000003.npz"


def test_only_damaged_ones_are_an_error(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    damage(checkpoints.save(state()), "empty")

    with pytest.raises(DataError, match="Received: 1, all damaged"):
        checkpoints.load("f" * 64)


def test_those_of_another_model_are_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(fingerprint="e" * 64))

    with pytest.raises(DataError, match="fingerprint ffffffffffff. Received"):
        checkpoints.load("f" * 64)


def test_a_full_disk_leaves_those_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for value in (1.0, 2.0):
        checkpoints.save(state(value=value))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        checkpoints.save(state(value=3.0))

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-00000001.npz", "checkpoint-00000002.npz"]
    assert checkpoints.load("f" * 64)[0].body[0][0, 0] == 2


def test_what_a_killed_write_left_is_cleared_away(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state())
    (tmp_path / "checkpoint-00000002.npz.0badcafe.partial").write_bytes(b"PK")

    assert Checkpoints(tmp_path).load("f" * 64) is not None
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="Expected a folder for checkpoints"):
        Checkpoints(tmp_path / "file" / "folder")


# -- who may read them, and which versions ------------------------------------


def mode(path):
    return path.stat().st_mode & 0o777


def test_nobody_else_may_read_them(tmp_path):
    folder = tmp_path / "a" / "state"

    path = Checkpoints(folder).save(state())
    with claim(folder):
        lock = mode(folder / "lock")

    assert (mode(folder), mode(path), lock) == (0o700, 0o600, 0o600)


def test_a_folder_that_is_there_stays_as_its_owner_made_it(tmp_path):
    tmp_path.chmod(0o750)

    Checkpoints(tmp_path)

    assert mode(tmp_path) == 0o750


def rewritten(path, change):
    """A checkpoint as another version would have written it."""
    arrays = npz.read(path)
    about = json.loads(arrays["about"].tobytes())
    change(about)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    npz.write(path, arrays)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("format"),  # of the first version
        lambda about: about.update(new=[1]),
        lambda about: about["sessions"][0].update(new={"a": 1}),
        lambda about: about["sessions"][0]["replies"][0].update(new=[1]),
    ],
)
def test_what_other_versions_added_or_left_out_is_no_damage(tmp_path, change):
    saved = state(REPLIES["of a step"])
    rewritten(Checkpoints(tmp_path).save(saved), change)

    loaded, _ = Checkpoints(tmp_path).load("f" * 64)

    assert values(loaded) == values(saved)


def test_a_version_that_knew_no_moment_is_of_none(tmp_path):
    path = Checkpoints(tmp_path).save(state())
    rewritten(path, lambda about: about.pop("timeline"))

    loaded, _ = Checkpoints(tmp_path).load("f" * 64)

    assert loaded.timeline is None and not loaded.moment


def test_one_of_a_newer_version_is_refused_and_not_passed_over(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state())
    path = checkpoints.save(state())
    rewritten(path, lambda about: about.update(format=2))

    with pytest.raises(DataError, match="format 2, which a newer keras_spl"):
        checkpoints.load("f" * 64)
