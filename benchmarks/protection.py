"""What it costs that nothing is lost: guarded step / plain step.

    python benchmarks/protection.py [--preset mobilenet_v2] [--pairs 200]

Two server processes hold the same body. One is plain; the other has TLS with
client certificates, tokens, checkpoints, an audit log and metrics, and its
client keeps what it sent. Their steps alternate in one run. The ratio of
means has the checkpoints in it, the median of the ratios of pairs does not.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from _server_process import serving


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="mobilenet_v2")
    parser.add_argument("--quantization", nargs="*", default=["int8"])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=200)
    write_option(parser)
    options = parser.parse_args()
    report = Report("protection", write=options.write)
    report.say(
        f"{machine()}; {options.preset}, {options.size}x{options.size} "
        f"images, batch {options.batch}, {options.pairs} interleaved pairs."
    )
    report.header(
        *("quantization", "plain ms:", "guarded ms:", "median ratio:"),
        *("quartiles", "ratio of means:", "checkpoints:"),
    )
    for quantization in options.quantization:
        with tempfile.TemporaryDirectory() as folder:
            plain, guarded, written = measure(
                options, quantization, Path(folder)
            )
        ratios = guarded / plain
        low, high = np.quantile(ratios, [0.25, 0.75])
        report.row(
            quantization,
            f"{1000 * np.median(plain):.1f}",
            f"{1000 * np.median(guarded):.1f}",
            f"{np.median(ratios):.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{guarded.mean() / plain.mean():.3f}",
            written,
        )
    report.end()
    report.close()


def measure(
    options: argparse.Namespace, quantization: str, folder: Path
) -> tuple[np.ndarray, np.ndarray, int]:
    """Seconds of plain and of guarded steps, and checkpoints written."""
    import keras

    import keras_split
    from keras_split import zoo
    from keras_split.credentials import Credentials

    certify(folder)
    shape = (options.size, options.size, 3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((options.batch, *shape), np.float32)
    y = rng.integers(0, 10, options.batch)

    def client(strategy: keras_split.SplitStrategy) -> keras.Model:
        half, _ = zoo.load(
            options.preset,
            input_shape=shape,
            classes=10,
            quantization=quantization,
        )
        half.compile(
            keras.optimizers.SGD(0.001, momentum=0.9),
            "sparse_categorical_crossentropy",
            strategy=strategy,
        )
        return half

    network = [options.preset, "--input-size", str(options.size)]
    network += ["--classes", "10", "--quantization", quantization]
    guards = {
        "--tls-cert": folder / "server.pem",
        "--tls-key": folder / "server-key.pem",
        "--client-ca": folder / "ca.pem",
        "--tokens": folder / "tokens.txt",
        "--checkpoints": folder / "checkpoints",
        "--audit-log": folder / "audit.log",
        "--metrics-port": 0,
    }
    extra = [str(value) for pair in guards.items() for value in pair]
    credentials = Credentials(
        folder / "ca.pem",
        folder / "client-phone.pem",
        folder / "client-phone-key.pem",
        folder / "token-phone.txt",
    )
    with serving(*network) as bare, serving(*network, *extra) as safe:
        halves = {
            "plain": client(
                keras_split.SplitStrategy(f"grpc://{bare}", retry=None)
            ),
            "guarded": client(
                keras_split.SplitStrategy(
                    f"grpcs://{safe}", credentials=credentials
                )
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in halves}
        for pair in range(options.pairs + 5):
            for name in list(halves)[:: 1 if pair % 2 else -1]:
                began = time.perf_counter()
                halves[name].train_on_batch(x, y)
                if pair >= 5:  # the first ones trace and warm up
                    times[name].append(time.perf_counter() - began)
        for half in halves.values():
            half.close()
    audit = (folder / "audit.log").read_text()
    written = audit.count('"event": "checkpointed"')
    return np.array(times["plain"]), np.array(times["guarded"]), written


def certify(folder: Path) -> None:
    """Makes certificates and a token with `keras-split certs`."""
    subprocess.run(
        [
            *(sys.executable, "-m", "keras_split_cli", "certs"),
            *("--out", str(folder), "--client", "phone", "--token", "phone"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
