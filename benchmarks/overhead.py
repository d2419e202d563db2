"""What it costs to split: split training step / unsplit Keras step.

    python benchmarks/overhead.py [--presets ...] [--pairs 20] [--in-process]

The server is a process of its own, reached over gRPC loopback; with
`--in-process` it is in the process of its client instead. Split and unsplit
steps alternate in one run, so that a noisy machine disturbs both alike; the
ratio is the median of the ratios of pairs.
"""

import argparse
import contextlib
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from _server_process import serving


def measure(
    preset: str,
    quantization: str,
    *,
    size: int,
    batch: int,
    pairs: int,
    in_process: bool = False,
    fused_batchnorm: bool = True,
) -> dict[str, float]:
    """Times one preset."""
    import keras

    import keras_split
    from keras_split import zoo

    shape = (size, size, 3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape), np.float32)
    y = rng.integers(0, 10, batch)
    options = {"input_shape": shape, "classes": 10, "seed": 0}

    def compiled(model: keras.Model, **more: object) -> keras.Model:
        model.compile(
            keras.optimizers.SGD(0.001, momentum=0.9),
            "sparse_categorical_crossentropy",
            **more,
        )
        return model

    arguments = ["--input-size", str(size), "--quantization", quantization]
    if not fused_batchnorm:
        arguments.append("--no-fused-batchnorm")
    server = (
        contextlib.nullcontext() if in_process else serving(preset, *arguments)
    )
    with server as target:
        whole = compiled(zoo.get(preset).build(**options))
        client, _ = zoo.load(
            preset,
            quantization=quantization,
            fused_batchnorm=fused_batchnorm,
            **options,
        )
        address = None if target is None else f"grpc://{target}"
        strategy = keras_split.SplitStrategy(address)
        compiled(client, strategy=strategy)
        times: dict[str, list[float]] = {"split": [], "unsplit": []}
        for pair in range(pairs + 3):
            order = [("split", client), ("unsplit", whole)]
            for name, model in order[:: 1 if pair % 2 else -1]:
                began = time.perf_counter()
                model.train_on_batch(x, y)
                if pair >= 3:  # the first ones trace and warm up
                    times[name].append(time.perf_counter() - began)
        client.close()
    split, unsplit = (np.array(times[n]) for n in ("split", "unsplit"))
    ratios = split / unsplit
    return {
        "split_ms": 1000 * float(np.median(split)),
        "unsplit_ms": 1000 * float(np.median(unsplit)),
        "ratio": float(np.median(ratios)),
        "low": float(np.quantile(ratios, 0.25)),
        "high": float(np.quantile(ratios, 0.75)),
    }


def main() -> None:
    """Prints the table."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=zoo.names("images"))
    parser.add_argument(
        "--quantization", nargs="*", default=["float32", "int8"]
    )
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument(
        "--fused-batchnorm",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="As in zoo.load.",
    )
    write_option(parser)
    options = parser.parse_args()
    name = "overhead-in-process" if options.in_process else "overhead"
    report = Report(name, write=options.write)
    way = "in one process" if options.in_process else "over gRPC loopback"
    report.say(
        f"Split {way}: {machine()}; {options.size}x{options.size} images, "
        f"batch {options.batch}, {options.pairs} interleaved pairs."
    )
    report.header(
        *("preset", "quantization", "split ms:", "unsplit ms:", "ratio:"),
        "quartiles",
    )
    for preset in options.presets:
        for quantization in options.quantization:
            row = measure(
                preset,
                quantization,
                size=options.size,
                batch=options.batch,
                pairs=options.pairs,
                in_process=options.in_process,
                fused_batchnorm=options.fused_batchnorm,
            )
            report.row(
                preset,
                quantization,
                f"{row['split_ms']:.0f}",
                f"{row['unsplit_ms']:.0f}",
                f"{row['ratio']:.3f}",
                f"{row['low']:.3f} to {row['high']:.3f}",
            )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
