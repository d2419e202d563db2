import errno
import threading
from pathlib import Path

import numpy as np
import pytest

from keras_split.client import replay_log as module
from keras_split.client.replay_log import ReplayLog
from keras_split.compression.rules import Rule
from keras_split.errors import DataError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import payload_bytes
from tests import links

SPECS = links.halves()[0].contract.smashed
MESSAGE_BYTES = 7 * 7 * 4 * 8 + 8 * 8  # int8 codes and scales


def step(number, dtype="int8"):
    tensors = links.tensors(SPECS, Rule(dtype), seed=number)
    return [
        Forward("s", number, tensors),
        Backward("s", number, tensors, 0.1),
    ]


def plain(message):
    values = dict(vars(message))
    tensors = values.pop("tensors")
    return values, [(t.name, t.shape) for t in tensors], links.parts(tensors)


def same(one, other):
    *about, arrays = plain(one)
    *others, theirs = plain(other)
    return about == others and links.same(arrays, theirs)


def steps(count, memory, disk=1 << 30):
    """What was sent in so many steps."""
    sent = ReplayLog(memory, disk)
    for number in range(count):
        sent.add(number, step(number))
    return sent


def settle(sent):
    """Waits until nothing is written or removed any more."""
    with sent._changed:
        assert sent._changed.wait_for(lambda: not sent._working, 30)


def files(sent):
    return sorted(path.name for path in Path(sent._folder.name).iterdir())


def test_a_message_is_as_long_as_the_tests_below_count():
    assert payload_bytes(step(0)[0]) == MESSAGE_BYTES


@pytest.mark.parametrize("dtype", ["int8", "float32", "bfloat16"])
@pytest.mark.parametrize("memory", [0, 2 * MESSAGE_BYTES, 1 << 30])
@pytest.mark.parametrize("settled", [False, True])
def test_what_was_sent_comes_back_in_order(dtype, memory, settled):
    sent = ReplayLog(memory, 1 << 30)
    for number in range(5):
        sent.add(number, step(number, dtype))
    if settled:
        settle(sent)

    kept = list(sent.since(2))

    expected = [message for n in (2, 3, 4) for message in step(n, dtype)]
    assert len(kept) == 6
    assert all(map(same, kept, expected))
    assert (sent.first, len(sent)) == (0, 5)
    sent.clear()


def test_what_the_server_holds_is_forgotten():
    sent = steps(6, 3 * MESSAGE_BYTES)
    settle(sent)
    folder, before = Path(sent._folder.name), files(sent)

    sent.drop_before(4)
    settle(sent)

    assert (sent.first, len(sent)) == (4, 2)
    assert before == ["1", "2", "3", "4", "5"]  # the first step is in memory
    assert files(sent) == ["4", "5"]
    sent.clear()
    assert not folder.exists()
    assert sent.first is None


def test_what_is_in_a_file_is_not_in_memory():
    sent = steps(3, 2 * MESSAGE_BYTES)
    settle(sent)

    assert [bool(s.messages) for s in sent._steps] == [True, False, False]
    sent.clear()


def test_room_that_is_free_again_is_used_again():
    sent = ReplayLog(2 * MESSAGE_BYTES, 0)
    for number in range(100):
        sent.add(number, step(number))
        assert not sent.full
        sent.drop_before(number + 1)
    assert sent._folder is None


def test_it_says_when_it_is_full():
    sent = steps(1, 0, disk=3 * MESSAGE_BYTES)
    before = sent.full

    sent.add(1, step(1))

    assert (before, sent.full) == (False, True)
    assert len(list(sent.since(0))) == 4
    sent.clear()
    assert not sent.full


@pytest.fixture
def slow_disk(monkeypatch):
    """A disk that writes when it is let."""
    let = threading.Semaphore(0)
    pieces = module._pieces

    def slow(message):
        assert let.acquire(timeout=30)
        return pieces(message)

    monkeypatch.setattr(module, "_pieces", slow)
    return let


def test_a_step_does_not_wait_for_the_disk(slow_disk):
    sent = steps(4, 0)  # and nothing was written

    kept = list(sent.since(0))

    assert len(kept) == 8
    assert all(map(same, kept, [m for n in range(4) for m in step(n)]))
    slow_disk.release(8)
    sent.clear()


def test_it_waits_for_a_disk_that_is_far_behind(slow_disk, monkeypatch):
    monkeypatch.setattr(module, "_AHEAD_BYTES", 2 * MESSAGE_BYTES)
    sent = steps(2, 0)
    added = threading.Event()

    def add():
        sent.add(2, step(2))
        added.set()

    threading.Thread(target=add).start()
    early = added.wait(0.2)
    slow_disk.release(2)
    late = added.wait(30)

    assert (early, late) == (False, True)
    slow_disk.release(4)
    settle(sent)
    assert files(sent) == ["0", "1", "2"]
    sent.clear()


def test_steps_that_are_dropped_while_they_are_written_leave_no_file(slow_disk):
    sent = steps(3, 0)

    sent.drop_before(2)
    slow_disk.release(6)
    settle(sent)

    assert files(sent) == ["2"]
    sent.clear()


@pytest.mark.parametrize("failing", [0, 1])
def test_what_the_disk_does_not_take_stays_in_memory(
    monkeypatch, caplog, failing
):
    pieces = module._pieces

    def full(message):
        yield from pieces(message)
        if message.step >= failing:
            raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(module, "_pieces", full)
    sent = steps(2, 0)
    settle(sent)
    sent.add(2, step(2))

    kept = list(sent.since(0))

    assert sent.full
    assert all(map(same, kept, [m for n in range(3) for m in step(n)]))
    assert caplog.text.count("no space left") == 1
    sent.clear()
    assert not sent.full


def test_a_folder_that_cannot_be_made_is_a_full_disk(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    sent = steps(1, 0)
    settle(sent)

    assert sent.full
    assert len(list(sent.since(0))) == 2
    sent.clear()


def test_all_of_it_is_forgotten_while_the_disk_is_busy(slow_disk):
    sent = steps(3, 0)
    slow_disk.release(6)

    sent.clear()
    sent.add(0, step(0))

    assert len(list(sent.since(0))) == 2
    slow_disk.release(2)
    settle(sent)
    assert files(sent) == ["0"]
    sent.clear()


@pytest.mark.parametrize("content", [None, b"damaged" * 9])
def test_files_that_others_removed_or_damaged_are_named(content):
    sent = steps(1, 0)
    settle(sent)
    path = Path(sent._folder.name) / "0"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match="step 0 as it was sent"):
        list(sent.since(0))

    sent.clear()


def test_many_messages_of_a_step_come_back_in_order():
    sent = ReplayLog(0, 1 << 30)
    messages = [message for n in range(6) for message in step(n)]
    sent.add(0, messages)

    kept = list(sent.since(0))

    assert all(map(same, kept, messages))
    assert len(kept) == 12
    sent.clear()


def test_what_is_kept_in_memory_is_a_copy():
    """TensorFlow gets its own memory back; 30 steps would hold 30 batches."""
    sent, messages = ReplayLog(1 << 30, 0), step(0)
    sent.add(0, messages)
    settle(sent)

    kept = list(sent.since(0))

    assert all(map(same, kept, messages))
    for one, other in zip(kept, messages, strict=True):
        for mine, given in zip(one.tensors, other.tensors, strict=True):
            assert not np.shares_memory(mine.codes, given.codes)
    sent.clear()
