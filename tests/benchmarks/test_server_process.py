"""A benchmark ends what it started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
BENCHMARK = """
import time
from _server_process import started

server = "import os, time; print('Serving', os.getpid(), flush=True);"
with started("-c", server + "time.sleep(60)") as pid:
    print(pid, flush=True)
    time.sleep(60)
"""


def test_a_benchmark_that_is_asked_to_end_takes_its_servers_with_it():
    with subprocess.Popen(
        [sys.executable, "-c", BENCHMARK],
        cwd=SCRIPTS,
        stdout=subprocess.PIPE,
        text=True,
    ) as benchmark:
        pid = int(benchmark.stdout.readline())

        benchmark.send_signal(signal.SIGTERM)

        assert benchmark.wait(30) == 143
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
