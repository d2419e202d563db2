import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from keras_split.utils import scratch
from keras_split.utils.scratch import Scratch


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_goes_with_its_object_and_nobody_else_may_look_in(parent):
    scratch = Scratch()
    mode = os.stat(scratch.name).st_mode & 0o777
    Path(scratch.name, "file").write_text("")
    del scratch

    assert mode == 0o700
    assert list(parent.iterdir()) == []


def test_what_a_process_left_that_was_killed_is_cleared_away(parent):
    left = (
        "import os, pathlib; from keras_split.utils.scratch import Scratch; "
        "scratch = Scratch(); pathlib.Path(scratch.name, 'f').touch(); "
        "os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"TMPDIR": str(parent)}
    subprocess.run([sys.executable, "-c", left], env=environment)
    dead = [path for path in parent.iterdir() if path.is_dir()]

    one, other = Scratch(), Scratch()

    assert len(dead) == 1 and not dead[0].exists()
    assert Path(one.name).is_dir() and Path(other.name).is_dir()
    one.cleanup()
    other.cleanup()
    assert list(parent.iterdir()) == []


def test_a_lock_that_another_process_has_seen_is_not_relied_on(
    parent, monkeypatch
):
    make, others = tempfile.mkstemp, []

    def seen(suffix, prefix):
        handle, name = make(suffix, prefix)
        if not others:
            others.append((name.removesuffix(suffix), open(name, "r+")))
            assert scratch._take(others[0][1])
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", seen)
    made = Scratch()
    scratch._remove(*others[0])

    assert Path(made.name).is_dir()
    made.cleanup()
    assert list(parent.iterdir()) == []


def test_folders_of_others_are_left_alone(parent):
    (parent / "keras_split-notes").mkdir()
    (parent / "keras_split-notes" / "lock").touch()

    Scratch().cleanup()

    assert (parent / "keras_split-notes" / "lock").exists()
