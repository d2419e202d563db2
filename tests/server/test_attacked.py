"""One client attacks, and another one is to notice little of it.

How much slower it gets is for benchmarks/attacked.py, on a machine that does
nothing else.
"""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attacked.py"


@pytest.mark.slow
def test_probes_answer_and_memory_stays_while_a_client_attacks():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--seconds", "1", "--pairs", "1"],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr  # no honest step was refused
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|")
    ][2:]
    assert len(rows) == 10
    for attack, speed, slowest_s, growth in rows:
        assert float(speed) > 0, attack
        assert float(slowest_s) < 1, attack
        assert float(growth.rstrip("%")) < 10, attack
