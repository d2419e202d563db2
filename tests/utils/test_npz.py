import errno
import io
import os
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from keras_split.utils import npz

ARRAYS = {
    "a/b": np.arange(6, dtype="float32").reshape(2, 3),
    "step": np.array(3, "int64"),
    "words": np.array("name"),
}


def python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "a file"  # np.savez would add .npz to a path

    npz.write(path, ARRAYS)
    again = npz.read(str(path))

    assert list(again) == list(ARRAYS)
    assert all(again[n].dtype == a.dtype for n, a in ARRAYS.items())
    assert all(again[n].tobytes() == a.tobytes() for n, a in ARRAYS.items())
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_folder_are_synced_and_the_folder_last(tmp_path, monkeypatch):
    path, seen = tmp_path / "a.npz", []
    monkeypatch.setattr(
        os, "fsync", lambda d: seen.append((os.fstat(d), path.exists()))
    )

    npz.write(path, ARRAYS)

    (file, before), (folder, after) = seen
    assert os.path.samestat(file, path.stat()) and not before
    assert os.path.samestat(folder, tmp_path.stat()) and after


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.EINVAL, False), (errno.EIO, True)]
)
def test_a_file_system_may_be_unable_to_sync_folders_but_not_fail(
    tmp_path, monkeypatch, number, raised
):
    path = tmp_path / "a.npz"

    def only_files(descriptor):
        if path.exists():
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", only_files)
    if raised:
        with pytest.raises(OSError, match=os.strerror(number)):
            npz.write(path, ARRAYS)
    else:
        npz.write(path, ARRAYS)

    assert list(npz.read(path)) == list(ARRAYS)


def test_a_disk_that_is_full_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    npz.write(path, ARRAYS)
    code = """
import resource, signal, sys
import numpy as np
from keras_split.utils import npz

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # EFBIG instead
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    npz.write(sys.argv[1], {"large": np.zeros(1 << 16)})
except OSError as error:
    print(error.errno)
"""

    out, err = python(code, path).communicate(timeout=60)

    assert (out.strip(), err) == (str(errno.EFBIG), "")
    assert npz.read(path)["step"] == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_at_its_end_leaves_the_old_file(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.npz"
    npz.write(path, ARRAYS)

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        npz.write(path, {"step": np.array(4)})

    assert npz.read(path)["step"] == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_killed_while_it_writes_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.npz"
    code = """
import itertools, sys
import numpy as np
from keras_split.utils import npz

for number in itertools.count():
    npz.write(sys.argv[1], {n: np.full(1 << 19, number) for n in "ab"})
    print(number, flush=True)
"""
    left = 0
    for wait in np.linspace(0.001, 0.05, 8):
        writer = python(code, path)
        writer.stdout.readline()
        time.sleep(wait)
        writer.kill()
        writer.communicate(timeout=60)

        values = {int(v) for a in npz.read(path).values() for v in np.unique(a)}
        assert len(values) == 1
        drafts = list(tmp_path.glob("*.partial"))
        left += len(drafts)
        for draft in drafts:
            draft.unlink()
    assert left  # it was killed in the middle at least once


def test_a_file_that_is_missing_cannot_be_read(tmp_path):
    with pytest.raises(npz.BrokenError, match=r"No such file.*none\.npz"):
        npz.read(tmp_path / "none.npz")


def archive(**members):
    """The bytes of an .npz whose members are given as bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def npy(array, header=None):
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    data = content.getvalue()
    if header is None:
        return data
    # Magic, version and length of the header come first: 10 bytes.
    return data[:10] + header.ljust(len(data.split(b"\n")[0]) - 10) + b"\n"


def entry(content, field, value):
    """The archive with two bytes of its first entry changed everywhere."""
    content = bytearray(content)
    for magic, offset in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        at = content.index(magic) + offset + field
        content[at : at + 2] = value.to_bytes(2, "little")
    return bytes(content)


WHOLE = archive(**{"a.npy": npy(np.arange(100.0))})
JUNK = archive(**{"a.npy": b"\xff\xff\x05\x00" + b"\xff" * 50})
HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % (1 << 56)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "No data left"),
        (b"no archive", "pickled"),
        (b"PK\x03\x04junk", "not a zip file"),
        (WHOLE[:-200], "not a zip file"),
        (WHOLE.replace(b"\xc0\x58\x40", b"\xc1\x58\x40"), "CRC"),
        (entry(WHOLE, 6, 1), "encrypted"),
        (entry(WHOLE, 8, 99), "compression"),
        (entry(JUNK, 8, zipfile.ZIP_DEFLATED), "invalid block type"),
        (entry(JUNK, 8, zipfile.ZIP_LZMA), "unsupported options"),
        (npy(np.zeros(3)), "one array without a name"),
        (archive(**{"a.npy": npy(np.array([{}]))}), "allow_pickle"),
        (archive(**{"a.npy": npy(np.zeros(3), HUGE)}), "allocate .* PiB"),
        (archive(**{"a.npy": npy(np.zeros(3), b"{")}), "EOF"),
        (archive(**{"a.npy": b"text"}), "'a' in it is no array"),
    ],
)
def test_a_broken_file_is_one_kind_of_error(tmp_path, content, message):
    (tmp_path / "a.npz").write_bytes(content)

    with pytest.raises(npz.BrokenError, match=message) as info:
        npz.read(tmp_path / "a.npz")

    assert str(info.value)


def test_a_memory_that_is_too_small_is_such_an_error(tmp_path, monkeypatch):
    npz.write(tmp_path / "a.npz", ARRAYS)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(npz.BrokenError, match="MemoryError"):
        npz.read(tmp_path / "a.npz")
