import os

import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.server.storage.snapshots import Snapshots

BODY = [np.arange(6, dtype="float32").reshape(2, 3), np.array(3, "int64")]
OPTIMIZER = [np.array(7, "int64")]


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    snapshots = Snapshots(tmp_path)

    body, optimizer = snapshots.load(snapshots.save(BODY, OPTIMIZER))

    assert [a.tobytes() for a in body] == [a.tobytes() for a in BODY]
    assert [a.dtype for a in body] == ["float32", "int64"]
    assert optimizer == OPTIMIZER


def test_many_arrays_keep_their_order(tmp_path):
    snapshots = Snapshots(tmp_path)

    body, _ = snapshots.load(snapshots.save(list(map(np.array, range(12))), []))

    assert [int(a) for a in body] == list(range(12))


def test_another_server_on_the_same_folder_has_its_snapshots(tmp_path):
    tag = Snapshots(tmp_path).save(BODY, OPTIMIZER)

    body, _ = Snapshots(tmp_path).load(tag)

    assert len(body) == 2


def test_a_folder_that_is_missing_is_made(tmp_path):
    folder = tmp_path / "a" / "b"

    Snapshots(folder).save(BODY, [])

    assert len(list(folder.iterdir())) == 1


def test_a_temporary_folder_goes_with_its_server():
    snapshots = Snapshots()
    folder = snapshots._folder
    snapshots.save(BODY, [])

    del snapshots

    assert not folder.exists()


def test_the_oldest_goes_first(tmp_path):
    snapshots = Snapshots(tmp_path, limit=2)
    tags = [snapshots.save(BODY, []) for _ in range(3)]

    with pytest.raises(ProtocolError, match="the last 2"):
        snapshots.load(tags[0])

    assert snapshots.load(tags[1]) and snapshots.load(tags[2])


@pytest.mark.parametrize(
    "tag", ["", "0123456789abcdef", "../../etc/passwd", "0123456789ABCDEF\n"]
)
def test_an_unknown_tag_is_refused(tmp_path, tag):
    with pytest.raises(ProtocolError) as info:
        Snapshots(tmp_path).load(tag)

    assert info.value.reason == "snapshot"
    assert str(info.value) == (
        "Expected the tag of a snapshot of this server (it keeps the last "
        f"64). Received: {tag!r}. Train again, or restart the server with the "
        "folder that it had: serve --checkpoints FOLDER."
    )


def test_a_released_snapshot_is_gone(tmp_path):
    snapshots = Snapshots(tmp_path)
    tag = snapshots.save(BODY, [])

    snapshots.release(tag)
    snapshots.release(tag)

    assert not list(tmp_path.iterdir())


def test_only_tags_are_released(tmp_path):
    snapshots = Snapshots(tmp_path / "mine")
    other = tmp_path / "other.npz"
    other.write_bytes(b"precious")

    snapshots.release("../other")

    assert other.exists()


def test_a_snapshot_that_was_not_finished_does_not_count(tmp_path, monkeypatch):
    snapshots = Snapshots(tmp_path)

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        snapshots.save(BODY, [])

    assert not list(tmp_path.iterdir())


def test_a_damaged_snapshot_is_refused(tmp_path):
    snapshots = Snapshots(tmp_path)
    tag = snapshots.save(BODY, [])
    (tmp_path / f"{tag}.npz").write_bytes(b"damaged")

    with pytest.raises(ProtocolError, match="cannot be read") as info:
        snapshots.load(tag)

    assert info.value.reason == "snapshot"
