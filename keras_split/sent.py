"""What a client has sent, for a server that may lose it."""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keras_split.codecs import Codec
from keras_split.messages import Message
from keras_split.messages import payload_bytes
from keras_split.wire import convert
from keras_split.wire import split_pb2 as pb


@dataclass(frozen=True, eq=False)
class _Step:
    step: int
    nbytes: int
    messages: list[Message]  # empty if they are on disk


class SentSteps:
    """Messages of the steps that the server could still lose.

    They are kept in memory, then in temporary files, as the wire has them.

    Args:
        codec: Packs the codes on disk.
        memory_bytes: How much is kept in memory.
        disk_bytes: How much more is kept on disk.
    """

    def __init__(
        self, codec: Codec, memory_bytes: int, disk_bytes: int
    ) -> None:
        self._codec = codec
        self._room = (memory_bytes, disk_bytes)
        self._steps: deque[_Step] = deque()
        self._memory = self._disk = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def first(self) -> int | None:
        """Number of the first step that is kept; None if none is."""
        return self._steps[0].step if self._steps else None

    @property
    def full(self) -> bool:
        """Whether there is more than room for."""
        return self._disk > self._room[1]

    def add(self, step: int, messages: list[Message]) -> None:
        """Keeps the messages of a step."""
        nbytes = sum(payload_bytes(message) for message in messages)
        if self._memory + nbytes <= self._room[0]:
            self._memory += nbytes
        else:
            self._disk += nbytes
            for i, message in enumerate(messages):
                envelope, payload = convert.to_wire(message, self._codec)
                envelope.payload = b"".join(payload)
                self._path(step, i).write_bytes(envelope.SerializeToString())
            messages = []
        self._steps.append(_Step(step, nbytes, messages))

    def drop_before(self, step: int) -> None:
        """Forgets steps that the server will not lose any more."""
        while self._steps and self._steps[0].step < step:
            old = self._steps.popleft()
            if old.messages:
                self._memory -= old.nbytes
                continue
            self._disk -= old.nbytes
            for path in self._paths(old.step):
                path.unlink()

    def since(self, step: int) -> Iterator[Message]:
        """The messages of all steps from this one on, in order."""
        for kept in self._steps:
            if kept.step >= step:
                yield from kept.messages or self._read(kept.step)

    def clear(self) -> None:
        """Forgets everything."""
        self._steps.clear()
        self._memory = self._disk = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _read(self, step: int) -> Iterator[Message]:
        for path in self._paths(step):
            envelope = pb.Envelope.FromString(path.read_bytes())
            yield convert.from_wire(
                envelope, envelope.payload, self._codec, 1 << 31
            )

    def _path(self, step: int, number: int) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="keras_split-")
        return Path(self._folder.name) / f"{step}.{number}"

    def _paths(self, step: int) -> list[Path]:
        assert self._folder is not None
        return sorted(Path(self._folder.name).glob(f"{step}.*"))
