import os
import shutil

import numpy as np
import pytest

from keras_split.errors import ProtocolError
from keras_split.server.storage.snapshots import SnapshotLimits
from keras_split.server.storage.snapshots import Snapshots

BODY = [np.arange(6, dtype="float32").reshape(2, 3), np.array(3, "int64")]
OPTIMIZER = [np.array(7, "int64")]


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    snapshots = Snapshots(tmp_path)

    kept = snapshots.load(snapshots.save(BODY, OPTIMIZER))
    body, optimizer = kept.body, kept.optimizer

    assert [a.tobytes() for a in body] == [a.tobytes() for a in BODY]
    assert [a.dtype for a in body] == ["float32", "int64"]
    assert optimizer == OPTIMIZER


def test_many_arrays_keep_their_order(tmp_path):
    snapshots = Snapshots(tmp_path)

    tag = snapshots.save(list(map(np.array, range(12))), [])
    body = snapshots.load(tag).body

    assert [int(a) for a in body] == list(range(12))


def test_another_server_on_the_same_folder_has_its_snapshots(tmp_path):
    tag = Snapshots(tmp_path).save(BODY, OPTIMIZER)

    body = Snapshots(tmp_path).load(tag).body

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


def there(snapshots, tags):
    """Which of them are still kept."""
    kept = [snapshots._path(tag) is not None for tag in tags]
    return [n for n, one in enumerate(kept) if one]


def test_the_oldest_goes_first(tmp_path):
    snapshots = Snapshots(tmp_path, SnapshotLimits(of_client=2))
    tags = [snapshots.save(BODY, []) for _ in range(3)]

    with pytest.raises(ProtocolError, match="the last 2 of a client"):
        snapshots.load(tags[0])

    assert snapshots.load(tags[1]) and snapshots.load(tags[2])


def test_the_order_is_not_that_of_the_times_of_files(tmp_path):
    limits = SnapshotLimits(of_client=2)
    tags = [Snapshots(tmp_path, limits).save(BODY, []) for _ in range(2)]
    for path in tmp_path.iterdir():  # a copy of a folder has other times
        os.utime(path, ns=(0, 2**60 if tags[0] in path.name else 0))

    tags.append(Snapshots(tmp_path, limits).save(BODY, []))

    assert there(Snapshots(tmp_path), tags) == [1, 2]


def test_each_client_has_a_limit_of_its_own(tmp_path):
    snapshots = Snapshots(tmp_path, SnapshotLimits(of_client=2))
    mine = [snapshots.save(BODY, [], "me") for _ in range(2)]
    others = [snapshots.save(BODY, [], "you") for _ in range(5)]

    assert there(snapshots, mine) == [0, 1]
    assert there(snapshots, others) == [3, 4]


def test_over_the_limit_of_all_who_has_most_loses_first(tmp_path):
    snapshots = Snapshots(tmp_path, SnapshotLimits(of_client=4, in_all=6))
    mine = [snapshots.save(BODY, [], "me") for _ in range(2)]
    others = [snapshots.save(BODY, [], "you") for _ in range(4)]
    one = [snapshots.save(BODY, [], str(n)) for n in range(2)]

    assert there(snapshots, mine) == [0, 1]
    assert there(snapshots, others) == [2, 3]
    assert there(snapshots, one) == [0, 1]


def test_what_a_phone_holds_stays_before_what_is_in_its_files(tmp_path):
    limits = SnapshotLimits(of_client=3, held=2)
    snapshots = Snapshots(tmp_path, limits)
    held = [snapshots.save(BODY, [], "me", "session") for _ in range(2)]
    files = [snapshots.save(BODY, [], "me") for _ in range(9)]

    assert there(Snapshots(tmp_path, limits), held) == [0, 1]
    assert there(snapshots, files) == [8]


def test_no_more_than_so_many_are_held(tmp_path):
    snapshots = Snapshots(tmp_path, SnapshotLimits(of_client=3, held=2))
    held = [snapshots.save(BODY, [], "me", "session") for _ in range(5)]
    files = [snapshots.save(BODY, [], "me") for _ in range(9)]

    assert there(snapshots, held) == [3, 4]
    assert there(snapshots, files) == [8]


def test_a_session_holds_nothing_after_its_end(tmp_path):
    snapshots = Snapshots(tmp_path, SnapshotLimits(of_client=3))
    held = [snapshots.save(BODY, [], "me", name) for name in "ab"]

    snapshots.let_go("a")
    files = [snapshots.save(BODY, [], "me") for _ in range(3)]

    assert there(snapshots, held) == [1]
    snapshots.let_go_but(["b"])
    assert there(snapshots, held) == [1]
    assert snapshots.load(held[1])
    snapshots.let_go_but([])
    files = [snapshots.save(BODY, [], "me") for _ in range(3)]
    assert there(snapshots, held) == []
    assert there(snapshots, files) == [0, 1, 2]


def test_snapshots_of_other_versions_come_back_and_count(tmp_path):
    old = Snapshots(tmp_path).save(BODY, OPTIMIZER)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / f"{old}.npz")  # 0.6 wrote the tag alone

    snapshots = Snapshots(tmp_path, SnapshotLimits(in_all=2))
    assert len(snapshots.load(old).body) == 2
    tags = [snapshots.save(BODY, [], name) for name in "ab"]

    assert there(snapshots, [old, *tags]) == [1, 2]


@pytest.mark.parametrize(
    "tag", ["", "0123456789abcdef", "../../etc/passwd", "0123456789ABCDEF\n"]
)
def test_an_unknown_tag_is_refused(tmp_path, tag):
    with pytest.raises(ProtocolError) as info:
        Snapshots(tmp_path).load(tag)

    assert info.value.reason == "snapshot"
    assert str(info.value) == (
        "Expected the tag of a snapshot of this server (it keeps the last "
        f"64 of a client). Received: {tag!r}. Train again, or restart the "
        "server with the folder that it had: serve --checkpoints FOLDER."
    )


def test_a_released_snapshot_is_gone(tmp_path):
    snapshots = Snapshots(tmp_path)
    tag = snapshots.save(BODY, [])

    snapshots.release(tag)
    snapshots.release(tag)

    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_holds_nothing(tmp_path):
    snapshots = Snapshots(tmp_path / "gone")
    tag = snapshots.save(BODY, [], "me", "session")
    shutil.rmtree(tmp_path / "gone")

    snapshots.release(tag)
    snapshots.let_go("session")

    with pytest.raises(ProtocolError, match="Expected the tag"):
        snapshots.load(tag)


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
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"damaged")

    with pytest.raises(ProtocolError, match="cannot be read") as info:
        snapshots.load(tag)

    assert info.value.reason == "snapshot"
