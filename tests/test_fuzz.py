"""A server under a hail of nonsense, and a good client beside it."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from keras_split import SplitStrategy
from keras_split.protocol.credentials import Credentials
from tests import links
from tests.fuzzer import Fuzzer

ROOT = Path(__file__).parent.parent
ALICE, MALLORY = "token-of-alice-0123", "token-of-mallory-45"

# Without limits on the rate, which would keep most of it from the parsers.
SERVE = """
    import sys
    from keras_split.server.security import Security
    from tests import links

    server = links.halves(sys.argv[1])[1]
    running = links.listen(
        server.host(),
        security=Security(tokens=sys.argv[2]),
        hello_burst=1e9,
        messages_per_s=1e9,
        hello_timeout_s=3.0,
    ).start()
    print(running.target, flush=True)
    running.wait()
"""


@pytest.fixture
def process(tmp_path):
    """A server process; yields it, its address and the file of tokens."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice {ALICE}\nmallory {MALLORY}\n")
    tokens.chmod(0o600)
    (tmp_path / "alice").write_text(ALICE)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVE), "int8", tokens],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        target = process.stdout.readline().strip()
        assert target, (tmp_path / "log").read_text()
        yield process, target, tmp_path
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def resident(process):
    """Bytes of memory that a process has in use."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [x for x in status.splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


class GoodClient(threading.Thread):
    """Trains until it is told to stop, and remembers every loss."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client
        self.losses = []
        self.error = None
        self.enough = threading.Event()

    def run(self):
        try:
            while not self.enough.wait(0.01):
                self.step()
        except BaseException as error:
            self.error = error

    def step(self):
        x, y = links.batch(8, seed=len(self.losses) % 16)
        logs = self.client.train_on_batch(x, y, return_dict=True)
        self.losses.append(logs["loss"])


def good_client(target, token_file):
    client, _ = links.halves("int8")
    links.compile(client)
    strategy = SplitStrategy(
        f"grpc://{target}",
        credentials=Credentials(token_file=token_file),
        retry=None,
        reply_timeout_s=60,
    )
    client.compile(client.optimizer, client.loss, strategy=strategy)
    return GoodClient(client)


def outcome(good):
    """Everything that shows whether the body was trained by others, too."""
    x, _ = links.batch(16, seed=99)
    values = [np.array(v) for v in good.client.weights]
    return [*values, np.array(good.losses), good.client.predict(x, verbose=0)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "messages", [6_000, pytest.param(20_000, marks=pytest.mark.long)]
)
def test_nonsense_moves_no_weight_and_disturbs_nobody(process, messages):
    server, target, folder = process
    good = good_client(target, folder / "alice")
    good.step()
    contract = links.halves("int8")[1].contract
    victim = good.client.strategy.session.connection.session
    fuzzer = Fuzzer(target, MALLORY, contract, victim)

    good.start()
    fuzzer.hang(20)
    _hail(fuzzer, messages // 3)  # warms caches of TensorFlow and of malloc
    before = resident(server)
    _hail(fuzzer, messages - messages // 3)
    after = resident(server)
    fuzzer.close()
    good.enough.set()
    good.join(60)
    received = outcome(good)
    good.client.close()

    assert fuzzer.sent >= messages
    assert fuzzer.surprises == []
    assert good.error is None
    assert server.poll() is None
    assert abs(after - before) < 0.05 * before
    assert {"PERMISSION_DENIED", "features", "unreadable"} <= set(
        fuzzer.replies
    )
    assert links.same(received, _undisturbed(len(good.losses)))


def _hail(fuzzer, count):
    fuzzer.generate(count // 8)
    fuzzer.stream(count // 4)
    fuzzer.mutate(count - count // 8 - count // 4)


def _undisturbed(steps):
    """The same training with a server that nobody else calls."""
    _, server = links.halves("int8")
    with server.serve(port=0) as running:
        good = good_client(running.target, None)
        while len(good.losses) < steps:
            good.step()
        expected = outcome(good)
        good.client.close()
        return expected
