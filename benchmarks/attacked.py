"""How fast an honest client trains while another attacks the server.

    python benchmarks/attacked.py [--seconds 5] [--pairs 3] [--attacks NAME ...]

The server is a process of its own. The honest client has no model, and sends
the same batch again and again. It trains alone and under attack in turns, so
what else the machine does is in both. The attacker has a token of its own; its
attacks are those of _attacks.py, several threads of each. Every half second a
probe asks for the server's health. The attacker has the lowest priority, so
that the cores that its own work takes are not missing in the ratio.
"""

import argparse
import contextlib
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from _attacks import ATTACKS
from _attacks import Means
from _attacks import run
from _load_client import OPTIMIZER
from _load_client import tensors
from _report import Report
from _report import machine
from _report import write_option
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from load import child

from keras_split.client.session import ClientSession
from keras_split.protocol.contract import Contract
from keras_split.protocol.credentials import Credentials
from keras_split.transports import Route
from keras_split.transports.grpc.status import fetch

TOKENS = {"honest": "token-of-the-honest", "attacker": "token-of-the-attacker"}
THREADS = 4
_SPAWN = multiprocessing.get_context("spawn")


class Honest:
    """A client that only trains.

    Args:
        address: Of the server.
        credentials: Lets it in.
        means: What it sends.
    """

    def __init__(
        self, address: str, credentials: Credentials, means: Means
    ) -> None:
        self._means = means
        self._session = ClientSession(
            Route.to(address, credentials=credentials), retry=None
        )
        self._session.connect(means.contract, OPTIMIZER)

    def steps_per_s(self, seconds: float) -> float:
        """Trains for so long."""
        began, steps = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            self._session.forward(self._means.smashed)
            self._session.backward(self._means.grads, 0.0)
            steps += 1
        return steps / (time.monotonic() - began)

    def close(self) -> None:
        """Says goodbye."""
        self._session.close()


@contextlib.contextmanager
def attacked(name: str, means: Means) -> Iterator[None]:
    """Runs an attack meanwhile, in a process of its own."""
    means.stop.clear()
    attacker = _SPAWN.Process(
        target=run, args=(name, means, THREADS), daemon=True
    )
    attacker.start()
    try:
        yield
    finally:
        means.stop.set()
        attacker.join(30)
        attacker.kill()


@contextlib.contextmanager
def probed(target: str) -> Iterator[list[float]]:
    """Asks for the server's health meanwhile; the seconds that it took."""
    took: list[float] = []
    stop = threading.Event()
    channel = grpc.insecure_channel(target)
    check = health_pb2_grpc.HealthStub(channel).Check

    def probe() -> None:
        while not stop.wait(0.5):
            began = time.monotonic()
            try:
                check(health_pb2.HealthCheckRequest(), timeout=10)
            except grpc.RpcError:
                took.append(10.0)
            else:
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join(20)
        channel.close()


@dataclass
class Found:
    """What an attack does to others.

    Attributes:
        name: Of the attack.
        speed: Of the honest client, as a part of what it is without.
        slowest_s: What the slowest probe took.
        growth: Of the server's memory, as a part; once everything was tried.
    """

    name: str
    speed: float
    slowest_s: float
    growth: float


def measure(
    names: Iterable[str], pairs: int, seconds: float
) -> Iterator[Found]:
    """Attacks a server of its own, and watches an honest client."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lines = [f"{name} {token}\n" for name, token in TOKENS.items()]
        (folder / "tokens.txt").write_text("".join(lines))
        (folder / "honest.txt").write_text(TOKENS["honest"])
        server = stack.enter_context(
            child("_load_server.py", folder, 64, folder / "tokens.txt")
        )
        target = server.read().removeprefix("Serving ")
        address = f"grpc://{target}"
        credentials = Credentials(token_file=str(folder / "honest.txt"))
        contract = Contract.from_config(
            json.loads((folder / "contract.json").read_text())
        )
        means = Means(
            target,
            TOKENS["attacker"],
            contract,
            OPTIMIZER,
            tensors("smashed", contract.smashed[0], folder),
            tensors("features_grad", contract.features[0], folder),
            _SPAWN.Event(),
        )
        honest = Honest(address, credentials, means)
        stack.callback(honest.close)
        for name in names:
            with attacked(name, means):  # traces what there is to trace
                honest.steps_per_s(seconds)
            memory = fetch(address, credentials=credentials).memory_bytes
            ratios, slowest = [], 0.0
            for _ in range(pairs):
                alone = honest.steps_per_s(seconds)
                with attacked(name, means), probed(target) as took:
                    ratios.append(honest.steps_per_s(seconds) / alone)
                slowest = max([slowest, *took])
            after = fetch(address, credentials=credentials).memory_bytes
            speed = statistics.median(ratios)
            yield Found(name, speed, slowest, after / memory - 1)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument(
        "--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS)
    )
    write_option(parser)
    options = parser.parse_args()
    report = Report("attacked", write=options.write)
    report.say(
        f"{machine()}, for server, client and attacker together; {THREADS} "
        f"threads attack; medians of {options.pairs} pairs of "
        f"{options.seconds:g} seconds."
    )
    report.header("attack", "speed:", "slowest probe, s:", "memory:")
    for found in measure(options.attacks, options.pairs, options.seconds):
        report.row(
            found.name,
            f"{found.speed:.2f}",
            f"{found.slowest_s:.2f}",
            f"{found.growth:+.1%}",
        )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
