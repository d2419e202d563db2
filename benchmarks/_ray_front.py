"""A front of replicas in a process of its own, which can be killed.

    with Front(folder, "--replicas", 2, ...) as front: ...

Processes are found in /proc, so it runs on Linux alone.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

READY_S = 240.0  # until a front serves: TensorFlow loads in every process
ENDS_S = 30.0  # until replicas notice that their front is gone
# What Ray calls those that hold a body; numbers of processes come again.
ACTORS = ("ray::Replica", "ray::Worker")


class Front:
    """`keras-split serve --replicas`; its port and folders stay the same.

    Args:
        folder: For its log.
        *arguments: Of `keras-split serve`, without `--replicas`.
        replicas: How many it begins with.

    Attributes:
        replicas: How many it has when it is started the next time.
        target: Address and port.
        left: Replicas that outlived a front by half a minute.
    """

    def __init__(self, folder: Path, *arguments: Any, replicas: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.replicas, self.left = replicas, 0
        self.target = f"127.0.0.1:{self._port}"
        self._arguments = [str(argument) for argument in arguments]
        self._log = folder / "front.log"
        self._process = self._start()

    def replica_processes(self) -> list[int]:
        """Those that hold a body; fewer while Ray starts one again."""
        found = descendants(self._process.pid)
        return [n for n in found if _command(n).startswith(ACTORS)]

    def kill(self) -> None:
        """Kills it without a last word, and starts it again at once."""
        known = self._kill()
        self._process = self._start()
        self._clear(known)

    def stop(self) -> None:
        """Has it finish and save."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(READY_S):
            raise SystemExit(f"The front failed; see {self._log}.")

    def _kill(self) -> dict[int, str | None]:
        """Kills it; returns what it had started, and when that began."""
        known = {n: _began(n) for n in descendants(self._process.pid)}
        self._process.kill()
        self._process.wait()
        return known

    def _clear(self, known: dict[int, str | None]) -> None:
        """Waits for those that hold a body; ends Ray's own, which are slow."""

        def there() -> list[int]:
            return [n for n in known if _began(n) == known[n] is not None]

        def holders() -> list[int]:
            return [n for n in there() if _command(n).startswith(ACTORS)]

        end = time.monotonic() + ENDS_S
        while holders() and time.monotonic() < end:
            time.sleep(0.1)
        self.left += len(holders())
        for number in there():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def _start(self) -> "subprocess.Popen[str]":
        with self._log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "keras_split_cli", "serve"),
                    *(*self._arguments, "--ray", "local"),
                    *("--replicas", str(self.replicas)),
                    *("--port", str(self._port)),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )
        end = time.monotonic() + READY_S
        while not _answers(self._port):
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise SystemExit(f"The front does not start; see {self._log}.")
            time.sleep(0.1)
        return process

    def __enter__(self) -> "Front":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._clear(self._kill())


def descendants(number: int) -> list[int]:
    """Processes that one has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if parts := _stat(int(path.name)):
            children.setdefault(int(parts[1]), []).append(int(path.name))
    found, waiting = [], [number]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return sorted(found)


def _stat(number: int) -> Sequence[str]:
    """What Linux says of a process behind its name; nothing if it ended."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    parts = text.rpartition(")")[2].split()
    return () if parts[0] == "Z" else parts


def _began(number: int) -> str | None:
    parts = _stat(number)
    return parts[19] if parts else None


def _command(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False
