"""Servers in processes of their own, for benchmarks."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def started(*command: str) -> Iterator[str]:
    """Starts a Python program and yields `"host:port"`.

    Its first line begins with "Serving" and ends with the address. It ends
    with the `with`, also if this process is asked to end (SIGTERM).
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Serving"):
            raise RuntimeError(f"the server did not start: {line!r}")
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait(30)
        signal.signal(signal.SIGTERM, before)


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """`keras-split serve`."""
    command = ("-m", "keras_split_cli", "serve", *arguments, "--port", "0")
    with started(*command) as target:
        yield target


@contextmanager
def serving_spliteasy(*arguments: str) -> Iterator[str]:
    """SplitEasy's protocol; see `_spliteasy.py`."""
    script = Path(__file__).with_name("_spliteasy.py")
    with started(str(script), *arguments) as target:
        yield target
