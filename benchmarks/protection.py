"""What it costs that nothing is lost: guarded step / plain step.

    python benchmarks/protection.py [--preset mobilenet_v2] [--rounds 100]

Three server processes hold the same body. One is plain; another has TLS with
client certificates, tokens, checkpoints, an audit log and metrics, and its
client keeps what it sent; the third has all of that but TLS. Their steps take
turns in one run. The ratio of means has the checkpoints in it, the median of
the ratios of a round does not.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
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
    parser.add_argument(
        "--quantization", nargs="*", default=["int8", "float32"]
    )
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=100)
    write_option(parser)
    options = parser.parse_args()
    report = Report("protection", write=options.write)
    report.say(
        f"{machine()}; {options.preset}, {options.size}x{options.size} "
        f"images, batch {options.batch}, {options.rounds} interleaved rounds."
    )
    report.header(
        *("quantization", "plain ms:", "guarded ms:", "median ratio:"),
        *("quartiles", "without TLS:", "quartiles", "ratio of means:"),
        "checkpoints:",
    )
    for quantization in options.quantization:
        with tempfile.TemporaryDirectory() as folder:
            times, written = measure(options, quantization, Path(folder))
        plain, guarded = times["plain"], times["guarded"]
        report.row(
            quantization,
            f"{1000 * np.median(plain):.1f}",
            f"{1000 * np.median(guarded):.1f}",
            *spread(guarded / plain),
            *spread(times["without TLS"] / plain),
            f"{guarded.mean() / plain.mean():.3f}",
            written,
        )
    report.end()
    report.close()


def spread(ratios: np.ndarray) -> tuple[str, str]:
    """Median and quartiles."""
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.3f}", f"{low:.3f} to {high:.3f}"


def measure(
    options: argparse.Namespace, quantization: str, folder: Path
) -> tuple[dict[str, np.ndarray], int]:
    """Seconds of the steps of each server, and checkpoints written."""
    import keras

    import keras_split
    from keras_split import zoo
    from keras_split.protocol.credentials import Credentials

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
    tls = {
        "--tls-cert": folder / "server.pem",
        "--tls-key": folder / "server-key.pem",
        "--client-ca": folder / "ca.pem",
    }

    def guards(name: str) -> dict[str, object]:
        return {
            "--tokens": folder / "tokens.txt",
            "--checkpoints": folder / f"checkpoints-{name}",
            "--audit-log": folder / f"{name}.log",
            "--metrics-port": 0,
        }

    def server(flags: dict[str, object]) -> AbstractContextManager[str]:
        extra = [str(value) for pair in flags.items() for value in pair]
        return serving(*network, *extra)

    token = folder / "token-phone.txt"
    credentials = Credentials(
        folder / "ca.pem",
        folder / "client-phone.pem",
        folder / "client-phone-key.pem",
        token,
    )
    with (
        server({}) as bare,
        server(guards("open")) as open_,
        server(tls | guards("safe")) as safe,
    ):
        strategy = keras_split.SplitStrategy
        halves = {
            "plain": client(strategy(f"grpc://{bare}", retry=None)),
            "without TLS": client(
                strategy(
                    f"grpc://{open_}", credentials=Credentials(token_file=token)
                )
            ),
            "guarded": client(
                strategy(f"grpcs://{safe}", credentials=credentials)
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in halves}
        for turn in range(options.rounds + 5):
            # None comes after the same other each time, whose threads may
            # still be at work.
            for name in rng.permutation(list(halves)):
                began = time.perf_counter()
                halves[name].train_on_batch(x, y)
                if turn >= 5:  # the first ones trace and warm up
                    times[name].append(time.perf_counter() - began)
        for half in halves.values():
            half.close()
    audit = (folder / "safe.log").read_text()
    written = audit.count('"event": "checkpointed"')
    return {name: np.array(times[name]) for name in times}, written


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
