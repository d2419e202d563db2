"""Many sessions at once: errors, fairness, latency, memory of the server.

    python benchmarks/load.py [--sessions 32] [--minutes 5]

The server is a process of its own, with checkpoints and an audit log. The
sessions are threads of a few processes that have no model: they send the same
smashed data and gradients again and again, as fast as they are answered, and
do not try twice. Exits with 1 if any of them met an error, or if the server
committed another number of steps than were asked for.
"""

import argparse
import collections
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report
from _report import machine
from _report import write_option

from keras_split.transports.grpc.status import fetch

HERE = Path(__file__).parent
QUANTILES = (0.5, 0.95, 0.99)


class Child:
    """A process that speaks by lines."""

    def __init__(self, script: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        # Read all the time, so that a full pipe does not stop the process.
        self._said: collections.deque[str] = collections.deque(maxlen=20)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def read(self) -> str:
        """The next line; an error if the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._listener.join(5)
            raise RuntimeError(f"a process ended:\n{''.join(self._said)}")
        return line.strip()

    def tell(self, line: str = "") -> None:
        """Sends a line; an empty one says: go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._process.terminate()

    def end(self) -> None:
        """Waits until it has ended; kills it if it does not."""
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self._said.extend(self._process.stderr)


@contextlib.contextmanager
def child(script: str, *arguments: object) -> Iterator[Child]:
    """A process that does not outlive this one."""
    made = Child(script, *arguments)
    try:
        yield made
    finally:
        made.terminate()
        made.end()


def measure(
    sessions: int, processes: int, warm_up_s: float, seconds: float
) -> dict[str, Any]:
    """Runs the sessions and returns what was measured."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(child("_load_server.py", folder, sessions))
        address = f"grpc://{server.read().removeprefix('Serving ')}"
        start = fetch(address, timeout_s=60)
        shares = [len(s) for s in np.array_split(range(sessions), processes)]
        clients = [
            stack.enter_context(
                child(
                    *("_load_client.py", address, folder, share),
                    *(warm_up_s, seconds),
                )
            )
            for share in shares
        ]
        for client in clients:
            client.read()  # "ready"
        for client in clients:
            client.tell()
        time.sleep(warm_up_s)
        warm = fetch(address, timeout_s=60)
        time.sleep(seconds / 2)
        middle = fetch(address, timeout_s=60)
        time.sleep(seconds / 2)
        for client in clients:
            client.read()  # "done"
        end = fetch(address, timeout_s=60)  # all sessions are still open
        for client in clients:
            client.tell()
        found = [s for client in clients for s in json.loads(client.read())]
        server.terminate()
        times = json.loads(server.read())
    return {
        "sessions": found,
        "start": start,
        "warm": warm,
        "middle": middle,
        "end": end,
        **times,
    }


def tell(found: dict[str, Any], minutes: float, report: Report) -> bool:
    """Reports the tables; returns whether all went well."""
    sessions, end = found["sessions"], found["end"]
    steps = [len(session["times_ms"]) for session in sessions]
    took = np.concatenate([session["times_ms"] for session in sessions])
    errors = [s["error"] for s in sessions if s["error"]]
    if end.steps != (asked := sum(s["all_steps"] for s in sessions)):
        errors.append(f"{asked:,} steps answered, {end.steps:,} committed")
    errors += [f"refused: {r} {n:,}" for r, n in end.refusals.items()]
    fair = max(steps) / min(steps) if min(steps) else float("inf")
    report.say(
        f"{machine()}, for server and clients together; {len(sessions)} "
        f"sessions, {minutes:g} minutes after the warm-up: {sum(steps):,} "
        f"steps, {sum(steps) / minutes / 60:.0f} a second, {len(errors)} "
        "errors."
    )
    report.header("of", "50 %:", "95 %:", "99 %:")
    whole = np.quantile(took, QUANTILES) if len(took) else [0.0] * 3
    for name, row in (
        ("step, at the client, ms", whole),
        ("waiting for its turn, ms", found["queue_ms"]),
        ("computing, ms", found["compute_ms"]),
    ):
        report.row(name, *(f"{x:.1f}" for x in row))
    report.end()
    memory = {
        name: found[name].memory_bytes / 2**20
        for name in ("start", "warm", "middle", "end")
    }
    growth = memory["end"] / memory["middle"] - 1
    report.header("", ":")
    for name, value in {
        "steps of a session, fewest": f"{min(steps):,}",
        "steps of a session, most": f"{max(steps):,}",
        "most / fewest": f"{fair:.2f}",
        "server's memory at the start, MiB": f"{memory['start']:.0f}",
        "after the warm-up": f"{memory['warm']:.0f}",
        "half way": f"{memory['middle']:.0f}",
        "at the end": f"{memory['end']:.0f} ({growth:+.1%})",
    }.items():
        report.row(name, value)
    report.end()
    report.close()
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return not errors


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument(
        "--warm-up", type=float, help="Seconds; a tenth of it by default."
    )
    write_option(parser)
    options = parser.parse_args()
    report = Report("load", write=options.write)
    seconds = 60 * options.minutes
    warm_up_s = options.warm_up or max(5.0, seconds / 10)
    found = measure(options.sessions, options.processes, warm_up_s, seconds)
    sys.exit(0 if tell(found, options.minutes, report) else 1)


if __name__ == "__main__":
    main()
