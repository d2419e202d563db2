import subprocess
import sys

import numpy as np

from keras_split.device.memory import peak_bytes


def test_the_peak_stays_when_memory_is_freed():
    block = np.ones(4_000_000)
    high = peak_bytes()
    del block

    assert high > 32_000_000
    assert peak_bytes() > high - 4_000_000  # Linux counts a little loosely


def test_a_new_process_does_not_inherit_the_peak():
    """This one has TensorFlow; one with numpy alone takes far less."""
    code = "from keras_split.device import memory; print(memory.peak_bytes())"

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )

    assert int(result.stdout) < 120_000_000
