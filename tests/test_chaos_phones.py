"""Whatever happens on the way, phones of a merged cohort train as if not."""

import json
import pickle
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.disturbances import Proxy
from tests.disturbances import committed
from tests.merged_phone import Half
from tests.nets import largest_difference
from tests.server.cohorts.lost_servers import NOISE
from tests.server.cohorts.merged_phones import BATCH
from tests.server.cohorts.merged_phones import compiled
from tests.server.cohorts.merged_phones import data

SIZES = (9, 14, 20, 26, 31, 37)
# However slow the machine is, nobody is left out for that.
PATIENCE_S = 600.0
CONFIG = {
    "phones": len(SIZES),
    "batch": BATCH,
    "seed": 1,
    "step_deadline_s": PATIENCE_S,
    "round_deadline_s": PATIENCE_S,
    "return_deadline_s": PATIENCE_S,
    "plain_aggregation": True,
    "checkpoint_every": 7,
}


class Ready:
    """A process that has loaded what it needs, and begins when it is told.

    Args:
        *arguments: Of Python.
    """

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self):
        assert self.hear() == "ready"
        self.tell()

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def hear(self):
        """What it says next; empty if it was killed."""
        return self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


class Scene:
    """A server and its phones in processes, behind one proxy.

    Args:
        folder: For all they keep.
        every: As in `tests.merged_phone`.
        steps: Of the cohort.
        spares: How many servers are killed, and phones.
        plan: As of a `Proxy`, with names of methods.
    """

    def __init__(self, folder, every, steps, spares=(0, 0), plan=()):
        folder.mkdir()
        self.folder = folder
        self._stage(folder)
        self.deaths, self.phone_deaths, self.failed = 0, [], []
        self._rng = random.Random(9)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.proxy = Proxy(0)
        self._options = json.dumps(
            {"target": self.proxy.target, "steps": steps, "every": every}
        )
        self._all = []
        # One is always ready to take the place of the one that is killed.
        self._to_come = spares[0] + 1
        self._servers = []
        self._load()
        self._load()
        # Any of them may be killed; a spare takes its place at once.
        self._dies = [self._rng.randrange(len(SIZES)) for _ in range(spares[1])]
        self._phones = {
            i: [
                self._ready("phone", i, self._options)
                for _ in range(1 + self._dies.count(i))
            ]
            for i in range(len(SIZES))
        }
        self._plan = plan

    @staticmethod
    def _stage(folder):
        _, client, _ = compiled()
        config = client.contract.get_config()
        (folder / "contract.json").write_text(json.dumps(config))
        x, y = data(sum(SIZES))
        start = 0.5 * np.random.default_rng(0).normal(size=Half.size)
        ends = np.cumsum(SIZES)
        for i, (end, n) in enumerate(zip(ends, SIZES, strict=True)):
            np.savez(
                folder / f"data_{i}.npz",
                x=x[end - n : end],
                y=y[end - n : end],
                start=start.astype("float32"),
            )

    def run(self):
        """Trains; returns what each phone took, and all weights."""
        self._serve()
        for phones in self._phones.values():
            phones[0].begin()  # one by one, so that members are the same
            assert phones[0].hear() == "enrolled"
        passed = self.proxy.passed
        self.proxy._plan = [
            (passed + nbytes, getattr(self, what))
            for nbytes, what in sorted(self._plan)
        ]
        waits = [
            threading.Thread(target=self._wait, args=[i], daemon=True)
            for i in self._phones
        ]
        for wait in waits:
            wait.start()
        end = time.monotonic() + PATIENCE_S
        for wait in waits:
            wait.join(max(0.0, end - time.monotonic()))
            assert not wait.is_alive(), f"a phone still trains\n{self.story()}"
        self._over.set()
        assert not self.failed, self.story()
        with self._lock:
            server = self._servers[0]
            server.tell()
            server.process.wait(30)
        states = [
            pickle.loads((self.folder / f"phone_{i}.state").read_bytes())
            for i in self._phones
        ]
        weights = [state["half"] for state in states]
        with np.load(self.folder / "body.npz") as body:
            weights += [*body.values()]
        return [state["at"]["seen"] for state in states], weights

    def story(self):
        """What the servers said: who was left out of what, and the log."""
        events = (self.folder / "audit.jsonl").read_text("utf-8").splitlines()
        dropped = [line for line in events if json.loads(line).get("dropped")]
        log = (self.folder / "server.log").read_text("utf-8").splitlines()
        return "\n".join(["left out:", *dropped, "log:", *log[-200:]])

    def server(self):
        """Kills the server; another one goes on from its checkpoints."""
        with self._lock:
            if self._over.is_set():
                return
            self.proxy.port = 0
            self._servers.pop(0).kill()
            self.proxy.cut()
            self._serve()
            self._load()
            self.deaths += 1

    def phone(self):
        """Kills a phone; another one goes on from its state."""
        with self._lock:
            i = self._dies.pop(0)
            alive, spare = self._phones[i][:2]
            if alive.process.poll() is not None:
                return  # it was done
            alive.kill()
            spare.begin()
            self._phones[i].pop(0)
            self.phone_deaths.append(i)

    def cut(self):
        """All lose their connections."""
        self.proxy.cut()

    def _load(self):
        if self._to_come:
            self._to_come -= 1
            self._servers.append(self._ready("server", json.dumps(CONFIG)))

    def _ready(self, what, *arguments):
        made = Ready("-m", f"tests.merged_{what}", self.folder, *arguments)
        self._all.append(made)
        return made

    def _serve(self):
        server = self._servers[0]
        server.begin()
        self.proxy.port = int(server.hear())

    def _wait(self, i):
        phone = self._phones[i][0]
        while (said := phone.hear()) != "done":
            if said:
                continue
            with self._lock:
                if phone is self._phones[i][0]:
                    return self.failed.append(i)
                phone = self._phones[i][0]  # has taken its place

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._over.set()
        self.proxy.__exit__()
        for ready in self._all:
            ready.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(3 * PATIENCE_S)
@pytest.mark.parametrize(
    ("every", "steps", "deaths", "cuts", "phone_deaths"),
    [
        pytest.param(0, 30, 5, 10, 4, id="gradients of each step"),
        pytest.param(
            *(4, 16, 3, 6, 2),
            id="weights every four steps",
            marks=pytest.mark.long,
        ),
    ],
)
def test_deaths_and_cuts_change_nothing_for_six_phones(
    tmp_path, every, steps, deaths, cuts, phone_deaths
):
    with Scene(tmp_path / "quiet", every, steps) as quiet:
        started = quiet.proxy.passed
        seen, weights = quiet.run()
        nbytes = quiet.proxy.passed - started
    rng = random.Random(7)
    what = ["server"] * deaths + ["cut"] * cuts + ["phone"] * phone_deaths
    # What is sent again comes on top, so all of them come before the end.
    plan = [(rng.uniform(0.02, 0.9) * nbytes, each) for each in what]

    with Scene(
        tmp_path / "chaos", every, steps, (deaths, phone_deaths), plan
    ) as chaos:
        seen_in_chaos, weights_in_chaos = chaos.run()
        log = committed(chaos.folder / "audit.jsonl")

    assert chaos.deaths == deaths
    assert len(chaos.phone_deaths) == phone_deaths
    assert len(chaos.proxy.done) == len(plan)
    assert seen_in_chaos == seen, chaos.story()
    assert largest_difference(weights_in_chaos, weights) < NOISE
    assert sorted(map(len, log.values())) == sorted(map(len, seen))
    assert all(taken == [*range(len(taken))] for taken in log.values())
