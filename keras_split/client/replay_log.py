"""What a client has sent, for a server that may lose it."""

import contextlib
import logging
import struct
import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_split.compression import codecs
from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import payload_bytes
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire.frames import parse
from keras_split.utils import workers
from keras_split.utils.arena import Arena
from keras_split.utils.scratch import Scratch

_LOG = logging.getLogger("keras_split")
_RAW = codecs.get("raw")  # to compress once more would cost a step its time
_LENGTHS = struct.Struct("<QQ")  # of an envelope, and of the payload behind it
# What a file that is missing, cut off or overwritten makes of its reader.
_DAMAGED = (
    OSError,
    struct.error,
    ProtocolError,
    OverflowError,
    MemoryError,
)
_LIMIT_BYTES = 1 << 48  # of one tensor: it is our own file
_AHEAD_BYTES = 64 << 20  # that copies and the disk may be behind


class _Step:
    """The messages of one step: in memory, or in a file.

    Attributes:
        messages: Empty once they are in the file, or not needed any more.
        on_disk: Whether it is the disk's, or shall be.
    """

    def __init__(self, step: int, messages: list[Message]) -> None:
        self.step = step
        self.nbytes = sum(map(payload_bytes, messages))
        self.messages = messages
        self.on_disk = False


class ReplayLog:
    """Messages of the steps that the server could still lose.

    They are copied to memory of their own, and TensorFlow gets back what it
    works with. What is more goes to temporary files. Both happens in a thread
    beside, for memory that is new may take milliseconds: a step does not wait
    unless that thread is 64 MiB behind. What cannot be written stays in
    memory, and `full` says that no more should come. Nobody may write into
    the arrays of a message that was added.

    Args:
        memory_bytes: How much is kept in memory.
        disk_bytes: How much more is kept on disk.
    """

    def __init__(self, memory_bytes: int, disk_bytes: int) -> None:
        self._room = (memory_bytes, disk_bytes)
        self._steps: deque[_Step] = deque()
        self._slabs = Arena()
        self._memory = self._disk = 0
        self._folder: Scratch | None = None
        self._tasks: deque[Callable[[], None]] = deque()
        self._working = False
        self._behind = 0
        self._failed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def first(self) -> int | None:
        """Number of the first step that is kept; None if none is."""
        return self._steps[0].step if self._steps else None

    @property
    def full(self) -> bool:
        """Whether there is more than room for, or the disk takes no more."""
        return self._failed or self._disk > self._room[1]

    def add(self, step: int, messages: list[Message]) -> None:
        """Keeps the messages of a step."""
        kept = _Step(step, messages)
        self._steps.append(kept)
        if self._memory + kept.nbytes <= self._room[0]:
            self._memory += kept.nbytes
        else:
            kept.on_disk = True
            self._disk += kept.nbytes
            if self.full:
                return  # all of it will soon be forgotten
        put_away = self._write if kept.on_disk else self._copy
        with self._changed:
            self._changed.wait_for(lambda: self._behind <= _AHEAD_BYTES)
            self._behind += kept.nbytes
        self._soon(lambda: put_away(kept))

    def drop_before(self, step: int) -> None:
        """Forgets steps that the server will not lose any more."""
        dropped = []
        while self._steps and self._steps[0].step < step:
            old = self._steps.popleft()
            if old.on_disk:
                self._disk -= old.nbytes
                dropped.append(old)
            else:
                self._memory -= old.nbytes
                old.messages = []  # not worth a copy any more
        if dropped:
            self._soon(lambda: self._remove(dropped))

    def since(self, step: int) -> Iterator[Message]:
        """The messages of all steps from this one on, in order."""
        for kept in self._steps:
            if kept.step >= step:
                # Read first: they may be copied or written meanwhile.
                yield from kept.messages or self._read(kept)

    def clear(self) -> None:
        """Forgets everything."""
        with self._changed:
            self._tasks.clear()
            self._changed.wait_for(lambda: not self._working)
            self._behind = 0
        self._steps.clear()
        self._slabs = Arena()
        self._memory = self._disk = 0
        self._failed = False
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    # -- in a thread of its own --------------------------------------------

    def _soon(self, task: Callable[[], None]) -> None:
        with self._changed:
            self._tasks.append(task)
            if not self._working:
                self._working = True
                workers.start(self._work)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._tasks:
                    self._working = False
                    self._changed.notify_all()
                    return
                task = self._tasks.popleft()
            task()
            del task  # or its messages live until the next one comes

    def _copy(self, kept: _Step) -> None:
        try:
            kept.messages = [self._copied(sent) for sent in kept.messages]
        except MemoryError:
            pass  # what is there is as good
        finally:
            self._done(kept)

    def _copied(self, message: Message) -> Message:
        copies: dict[str, Any] = {
            name: [
                replace(tensor, codes=self._slabs.copy(tensor.codes))
                for tensor in value
            ]
            for name, value in vars(message).items()
            if isinstance(value, list)
        }
        return replace(message, **copies)

    def _done(self, kept: _Step) -> None:
        with self._changed:
            self._behind -= kept.nbytes
            self._changed.notify_all()

    def _write(self, kept: _Step) -> None:
        try:
            if not self._failed:
                with self._path(kept).open("wb") as file:
                    for message in kept.messages:
                        file.writelines(_pieces(message))
                kept.messages = []
        except Exception as error:  # a disk that is full; or memory that is
            self._failed = True
            _LOG.warning(
                "what was sent cannot be kept on the disk (%s); the server is "
                "asked to make its steps durable instead",
                error,
            )
        finally:
            self._done(kept)

    def _remove(self, dropped: list[_Step]) -> None:
        for step in dropped:
            if not step.messages:
                with contextlib.suppress(OSError):
                    self._path(step).unlink()

    # -- files -------------------------------------------------------------

    def _path(self, step: _Step) -> Path:
        if self._folder is None:
            self._folder = Scratch()
        return Path(self._folder.name) / str(step.step)

    def _read(self, step: _Step) -> Iterator[Message]:
        path = self._path(step)
        try:
            with path.open("rb") as file:
                while lengths := file.read(_LENGTHS.size):
                    about, payload = map(file.read, _LENGTHS.unpack(lengths))
                    yield convert.from_wire(
                        parse(pb.Envelope, about),
                        payload,
                        _RAW,
                        _LIMIT_BYTES,
                    )
        except _DAMAGED as error:
            raise DataError(
                f"Expected step {step.step} as it was sent in {path}, to send "
                f"it again to a server that lost it. Received: {error}. Keep "
                "temporary files while a client runs; go on from a saved "
                "state of both halves."
            ) from error


def _pieces(message: Message) -> Iterator[Any]:
    envelope, payload = convert.to_wire(message, _RAW)
    about = envelope.SerializeToString()
    yield _LENGTHS.pack(len(about), envelope.payload_bytes)
    yield about
    yield from payload
