"""Whether another version of keras_split is slower: step / step, in pairs.

    python benchmarks/versions.py BEFORE AFTER [--presets ...] [--pairs 40]

BEFORE and AFTER are the Python of two virtual environments, with one version
installed in each. Both train the same preset on the same batch, over gRPC
loopback (each with a server of its own version) and in one process; steps of
the two alternate in one run, in turn which goes first, and the ratio is the
median of the ratios of pairs. So a noisy machine disturbs both alike.
"""

import argparse
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _report import Report
from _report import machine
from _report import write_option

_WORKER = Path(__file__).with_name("_version_worker.py")
_WARM_UP = 5


class Worker:
    """One version in a process of its own, which takes a step when told.

    Args:
        python: Of its virtual environment.
        arguments: What `_version_worker.py` takes.
    """

    def __init__(self, python: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [python, str(_WORKER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # `python -m` would find the packages of the current folder.
            cwd=_WORKER.parent,
        )
        self.place = self._line()

    def step(self) -> float:
        """Takes a step; returns its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """Ends the process, and its server with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                "Expected a step. Received: the end of the process. Run "
                f"{_WORKER.name} with that Python to see why."
            )
        return line.strip()


@contextlib.contextmanager
def workers(pythons: list[str], *arguments: str) -> Iterator[list[Worker]]:
    """One worker for each Python."""
    with contextlib.ExitStack() as stack:
        made = []
        for python in pythons:
            made.append(Worker(python, *arguments))
            stack.callback(made[-1].close)
        places = [worker.place for worker in made]
        if len(set(places)) < len(places):
            raise RuntimeError(
                "Expected two versions of keras_split. Received: the same "
                f"files twice, {places[0]}. Install each in an environment "
                "of its own."
            )
        yield made


def measure(
    pythons: list[str], pairs: int, *arguments: str
) -> tuple[list[float], np.ndarray]:
    """Median seconds of a step of each, and the ratios of pairs."""
    with workers(pythons, *arguments) as made:
        for _ in range(_WARM_UP):
            for worker in made:
                worker.step()
        times: dict[int, list[float]] = {0: [], 1: []}
        for pair in range(pairs):
            for i in (0, 1) if pair % 2 else (1, 0):
                times[i].append(made[i].step())
    before, after = np.array(times[0]), np.array(times[1])
    return [float(np.median(t)) for t in (before, after)], after / before


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "before", nargs="?", help="Python of the version that was."
    )
    parser.add_argument(
        "after", nargs="?", help="Python of the version that is."
    )
    parser.add_argument(
        "--presets", nargs="*", default=["mobilenet_v2", "resnet50"]
    )
    parser.add_argument("--quantization", nargs="*", default=["int8"])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=40)
    write_option(parser)
    options = parser.parse_args()
    if options.after is None:
        print("No two versions to compare; see --help.")  # `make bench`
        return
    report = Report("versions", write=options.write)
    report.say(
        f"{machine()}; {options.size}x{options.size} images, batch "
        f"{options.batch}, {options.pairs} interleaved pairs."
    )
    report.header(
        *("preset", "quantization", "way", "before ms:", "after ms:"),
        *("after / before:", "quartiles"),
    )
    for preset in options.presets:
        for quantization in options.quantization:
            for way in ("grpc", "in-process"):
                medians, ratios = measure(
                    [options.before, options.after],
                    options.pairs,
                    *("--preset", preset, "--quantization", quantization),
                    *("--size", str(options.size)),
                    *("--batch", str(options.batch), "--way", way),
                )
                low, high = np.quantile(ratios, (0.25, 0.75))
                report.row(
                    *(preset, quantization, way),
                    *(f"{1000 * seconds:.1f}" for seconds in medians),
                    f"{np.median(ratios):.3f}",
                    f"{low:.3f} to {high:.3f}",
                )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
