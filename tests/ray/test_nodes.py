"""A replica whose node dies, in a process of its own: see `lost_node`."""

import json
import subprocess
import sys

import pytest

from tests.ray.lost_node import STEPS


@pytest.mark.slow
@pytest.mark.long
def test_a_replica_comes_back_on_another_node(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.ray.lost_node", tmp_path],
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert max(found.pop("differences")) < 1e-6
    assert found == {
        "replicas": 2,
        "homes": 2,  # one each, until
        "left": True,
        "lost": 1,
        "runs": False,
        "restarts": [0, 0, 1],
        "steps": [STEPS] * 2,
        "taken": [[*range(STEPS)]] * 2,
    }
