"""Steps a second of a server of one process, and of several.

    python benchmarks/replicas.py                 # one and two: minutes
    python benchmarks/replicas.py --replicas 1 2 4 --wait-ms 200 --sessions 4

With --wait-ms the body is one whose step waits for that long instead of
computing, one step at a time in a process, as if each replica had an
accelerator of its own: so that more replicas than cores can be looked at. What
is left of a step then is what keras_split and Ray do.

Each replica has one core of its own, to which its process is bound; sessions
are those of load.py, processes without Keras that send the same smashed data
and gradients again and again. They share the machine with the replicas, so
there should be a core or two beside those. The counts take turns, and a ratio
is to the run of the same turn with the first of the counts.
"""

import argparse
import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from _load_server import write
from _report import Report
from _report import machine
from _report import write_option
from _waiting import waiting
from load import child

from keras_split import zoo
from keras_split.ray import serve

PRESET, SIZE = "mobilenet_v2", 96
CLIENTS = 2  # processes, whatever the replicas
EVERY = 100  # steps, from one average of the bodies to the next


def measure(
    body: Any, count: int, sessions: int, warm_up_s: float, seconds: float
) -> float:
    """Steps a second of all sessions together."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write(body.contract, folder)
        server = stack.enter_context(
            serve(
                body,
                replicas=count,
                cluster="local",
                port=0,
                average_every=EVERY,
                max_sessions=sessions,
            )
        )
        for core, look in enumerate(server.replicas):
            bind(look.process, core)
        clients = [
            stack.enter_context(
                child(
                    *("_load_client.py", f"grpc://{server.target}", folder),
                    *(len(share), warm_up_s, seconds),
                )
            )
            for share in np.array_split(range(sessions), CLIENTS)
        ]
        for client in clients:
            client.read()  # "ready"
        for client in clients:
            client.tell()
        for client in clients:
            client.read()  # "done"
            client.tell()
        found = [s for client in clients for s in json.loads(client.read())]
    errors = [session["error"] for session in found if session["error"]]
    if errors:
        raise SystemExit(f"{len(errors)} sessions failed: {errors[0]}")
    return sum(len(session["times_ms"]) for session in found) / seconds


def bind(process: int, core: int) -> None:
    """Gives a process, with all its threads, one core."""
    cores = sorted(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {cores[core % len(cores)]})


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wait-ms", type=float, help="instead of computing")
    write_option(parser)
    args = parser.parse_args()
    if args.wait_ms is None:
        report = Report("replicas", write=args.write)
        _, body = zoo.load(PRESET, input_shape=(SIZE, SIZE, 3), seed=0)
        what = f"{PRESET}, {SIZE}x{SIZE}"
    else:
        report = Report("replicas-waiting", write=args.write)
        body = waiting(args.wait_ms / 1000)
        what = f"A body that waits for {args.wait_ms:g} ms and computes nothing"
    report.say(
        f"{what}, batches of 8, {args.sessions} sessions; bodies are averaged "
        f"every {EVERY} steps; a core for each replica; {machine()}, for "
        "replicas and clients together."
    )
    report.header("replicas:", "steps a second:", "to one replica:")
    found: dict[int, list[float]] = {count: [] for count in args.replicas}
    for number in range(args.repeats):
        # Who is first takes turns, too.
        for count in args.replicas[:: 1 if number % 2 == 0 else -1]:
            found[count].append(
                measure(body, count, args.sessions, args.warm_up, args.seconds)
            )
    for count, rates in found.items():
        ratio = np.median(np.divide(rates, found[args.replicas[0]]))
        report.row(count, f"{np.median(rates):.1f}", f"{ratio:.2f}")
    report.end()
    report.close()


if __name__ == "__main__":
    main()
