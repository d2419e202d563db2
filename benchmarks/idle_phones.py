"""What phones cost a server that are connected and wait: memory, threads.

    python benchmarks/idle_phones.py [--phones 1000] [--seconds 20]

Server and phones are those of load.py, processes on one machine. One phone
trains alone at first, and then beside the others, each of which has opened a
session over a connection of its own. Exits with 1 if one of them takes 1 MB
or more of the server, or if threads come with them.
"""

import argparse
import contextlib
import json
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from load import Child
from load import child

MB = 1e6
THREADS = 16  # those that a core's pools may still add


def state(server: Child) -> tuple[float, int]:
    """Resident memory of the server in MB, and its threads."""
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
    )
    kib = int(fields["VmRSS"].removesuffix("kB"))
    return kib * 1024 / MB, int(fields["Threads"])


def step_ms(address: str, folder: str, seconds: float) -> float:
    """Half of the steps of one phone that trains are faster than this."""
    with child("_load_client.py", address, folder, 1, 2.0, seconds) as client:
        client.read()  # "ready"
        client.tell()
        client.read()  # "done"
        client.tell()
        (found,) = json.loads(client.read())
    if found["error"]:
        raise RuntimeError(found["error"])
    return float(np.median(found["times_ms"]))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phones", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    write_option(parser)
    options = parser.parse_args()
    report = Report("idle-phones", write=options.write)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    phones = options.phones
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(
            child("_load_server.py", folder, phones + 8)
        )
        address = f"grpc://{server.read().removeprefix('Serving ')}"
        alone_ms = step_ms(address, folder, options.seconds)
        before = state(server)
        idle = stack.enter_context(
            child("_idle_client.py", address, folder, phones)
        )
        idle.read()  # "ready"
        after = state(server)
        beside_ms = step_ms(address, folder, options.seconds)
    each_mb = (after[0] - before[0]) / phones
    threads = after[1] - before[1]
    report.say(
        f"{machine()}, for server and phones together; {phones:,} phones that "
        "are connected and wait, and one that trains."
    )
    report.header("", "without them:", "with them:", "each:")
    report.row(
        "server's memory, MB",
        *(f"{before[0]:.0f}", f"{after[0]:.0f}", f"{each_mb:.3f}"),
    )
    report.row("its threads", before[1], after[1], f"{threads / phones:.3f}")
    report.row(
        "a step of the one that trains, ms, 50 %",
        *(f"{alone_ms:.1f}", f"{beside_ms:.1f}", ""),
    )
    report.end()
    report.close()
    sys.exit(each_mb >= 1 or threads > THREADS)


if __name__ == "__main__":
    main()
