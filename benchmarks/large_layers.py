"""A server's step with memory kept, beside one that hands it back.

    python benchmarks/large_layers.py [--seconds 3] [--pairs 3] [--write]

`keras-split serve` tells glibc to keep what tensors leave free
(keras_split/utils/malloc.py). Bodies with weights of more and less than 32 MiB
take steps in processes that do so and in others that do not, in turns; a ratio
is of the two that were next to each other.
"""

import argparse
import json
import os
import subprocess
import sys
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from _report import Report
from _report import machine
from _report import write_option

BATCH = 8
BODIES = {
    "two convolutions, 12 MB each": (
        (4, 4, 512),
        ("conv 640 3 1 same", "relu", "conv 512 3 1 same"),
    ),
    "dense layers of 19 and 25 MB": (
        (2, 2, 384),
        ("flatten", "dense 3072", "relu", "dense 2048"),
    ),
    "dense layers of 52 and 63 MB": (
        (2, 2, 640),
        ("flatten", "dense 5120", "relu", "dense 3072"),
    ),
}


def child(keep: bool, seconds: float) -> None:
    """Prints the seconds of each body's step."""
    from keras_split.planner import bodies
    from keras_split.planner.server_probe import make_bodies
    from keras_split.planner.server_probe import times
    from keras_split.utils import malloc

    if keep and not malloc.keep():
        raise SystemExit("Expected glibc, whose memory this is about.")
    found = {}
    for name, (shape, words) in BODIES.items():
        probe = bodies.BodyProbe(shape, words)
        (body,) = make_bodies(*bodies.build(probe), (BATCH,))
        body.step()
        found[name] = sum(times(body, seconds))
    print(json.dumps(found))


def taken(keep: bool, seconds: float) -> dict[str, float]:
    """Of a process of its own."""
    command = [sys.executable, __file__, "--seconds", str(seconds)]
    done = subprocess.run(
        [*command, "--child", "keep" if keep else "leave"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    made: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return made


def main() -> None:
    """Runs both in turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="A body.")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--child", choices=("keep", "leave"))
    write_option(parser)
    args = parser.parse_args()
    if args.child:
        child(args.child == "keep", args.seconds)
        return
    report = Report("large-layers", write=args.write)
    pairs = [
        (taken(True, args.seconds), taken(False, args.seconds))
        for _ in range(args.pairs)
    ]
    report.say(
        f"{machine()}; a step of {BATCH} examples with momentum, medians of "
        f"{args.pairs} pairs of processes."
    )
    report.header("body", "kept ms:", "handed back ms:", "ratio:", "worst:")
    for name in BODIES:
        kept, left = ([pair[i][name] for pair in pairs] for i in (0, 1))
        ratios = [one / other for one, other in zip(kept, left, strict=True)]
        report.row(
            name,
            *(f"{1e3 * median(times):.0f}" for times in (kept, left)),
            *(f"{median(ratios):.2f}", f"{max(ratios):.2f}"),
        )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
