"""What merging the steps of many phones is worth to their server.

    python benchmarks/merged.py [--phones 32] [--steps 20] [--rounds 10]

The server is that of load.py, twice: one whose phones train one body alone, a
step after the other, and one that merges their steps, so that the body takes
one for all of them. The phones have no model and are the same for both. They
train with either server in turns, as many steps of as many examples. Exits
with 1 if one of them met an error.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _load_client import BATCH
from _report import Report
from _report import machine
from _report import write_option
from load import Child
from load import child

KINDS = ("alone", "merged")


def seconds(clients: list[Child], kind: str, steps: int) -> float:
    """How long all phones take for so many steps each."""
    began = time.monotonic()
    for client in clients:
        client.tell(f"{kind} {steps}")
    for client in clients:
        client.read()  # "done"
    return time.monotonic() - began


def measure(
    phones: int, processes: int, steps: int, rounds: int
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds of each round by its kind, and errors."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = []
        for kind, cohort in zip(KINDS, ((), ("", phones)), strict=True):
            (folder / kind).mkdir()
            server = stack.enter_context(
                child("_load_server.py", folder / kind, phones, *cohort)
            )
            target = server.read().removeprefix("Serving ")
            addresses.append(f"grpc://{target}")
        clients = [
            stack.enter_context(
                child(
                    *("_merged_client.py", folder / KINDS[0], len(share)),
                    *addresses,
                )
            )
            for share in np.array_split(range(phones), processes)
        ]
        for client in clients:
            client.read()  # "ready"
        for kind in KINDS:
            seconds(clients, kind, steps)  # to warm up
        took: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for i in range(rounds):
            for kind in KINDS[:: 1 if i % 2 else -1]:
                took[kind].append(seconds(clients, kind, steps))
        for client in clients:
            client.tell()
        said = [json.loads(client.read()) for client in clients]
    return took, [error for errors in said for error in errors]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phones", type=int, default=32)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    write_option(parser)
    options = parser.parse_args()
    report = Report("merged", write=options.write)
    phones, steps = options.phones, options.steps
    took, errors = measure(phones, options.processes, steps, options.rounds)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    examples = phones * BATCH * steps
    alone, merged = (np.array(took[kind]) for kind in KINDS)
    report.say(
        f"{machine()}, for server and phones together; {phones} phones with "
        f"batches of {BATCH}, {options.rounds} rounds of {steps} steps each "
        "with either server, in turns."
    )
    report.header("", "each alone:", "merged:", "times as many:")
    for name, reduce in (("50 %", 0.5), ("5 %", 0.05), ("95 %", 0.95)):
        report.row(
            f"examples a second, {name} of the rounds",
            f"{np.quantile(examples / alone, reduce):,.0f}",
            f"{np.quantile(examples / merged, reduce):,.0f}",
            f"{np.quantile(alone / merged, reduce):.2f}",
        )
    report.end()
    report.close()
    sys.exit(bool(errors))


if __name__ == "__main__":
    main()
