"""SplitEasy's protocol beside ours: same network, same cut, same link.

    python benchmarks/spliteasy.py [--presets ...] [--quantization small]
        [--rate-mbit 20 --rtt-ms 30]

Both servers are processes of their own, behind an emulated link; the phones'
halves are in this process. SplitEasy sends one image a step, as its code
does; it is also given the batch that we have, which is kinder to it. Steps of
all take turns. Bytes are counted on the socket.
"""

import argparse
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from _link import Link
from _link import Profile
from _presets import LEARNING_RATE
from _presets import Trainee
from _presets import arguments
from _presets import client
from _presets import coding
from _presets import images
from _presets import strategy
from _report import Report
from _report import machine
from _report import write_option
from _server_process import serving
from _server_process import serving_spliteasy


def measure(
    preset: str, options: argparse.Namespace
) -> dict[str, tuple[float, float, float]]:
    """Bytes up, down, and seconds of a sample, for each way to train."""
    import _spliteasy

    size = options.size
    x, y = images(preset, size, options.batch)
    rate = options.rate_mbit
    profile = Profile(rate, rate, rtt_ms=options.rtt_ms)
    ours = coding(options.quantization)
    theirs = (*arguments(size, {}), "--learning-rate", str(LEARNING_RATE))
    with (
        serving(preset, *arguments(size, ours)) as our_target,
        serving_spliteasy(preset, *theirs) as their_target,
        Link(our_target) as our_link,
        Link(their_target) as their_link,
    ):
        parts = options.microbatches
        we = client(preset, size, ours, strategy(our_link.address, parts))
        peer = _spliteasy.strategy(their_link.address)
        they = client(preset, size, coding("float32"), peer)
        trainees = {
            "ours": (Trainee(we, our_link, x, y), options.steps),
            "batch": (Trainee(they, their_link, x, y), options.their_steps),
            "one": (Trainee(they, their_link, x[:1], y[:1]), options.steps),
        }
        for trainee, _ in trainees.values():
            trainee.warm_up(2)
        our_link.profile = their_link.profile = profile
        for number in range(max(options.steps, options.their_steps)):
            for trainee, steps in trainees.values():
                if number < steps:
                    trainee.step()
        our_link.profile = their_link.profile = Profile()
        we.close()
        they.close()
    return {
        name: (*trainee.bytes_per_sample, trainee.seconds_per_sample)
        for name, (trainee, _) in trainees.items()
    }


def row(preset: str, found: dict[str, Any]) -> list[str]:
    """Cells of the table."""
    ours, one, batch = (found[name] for name in ("ours", "one", "batch"))
    kilobytes = [
        f"{up / 1e3:,.1f} / {down / 1e3:,.1f}" for up, down, _ in (ours, one)
    ]
    fewer = [f"{sum(other[:2]) / sum(ours[:2]):.1f}" for other in (one, batch)]
    times = [f"{1e3 * run[2]:,.1f}" for run in (ours, one, batch)]
    faster = [f"{other[2] / ours[2]:.1f}" for other in (one, batch)]
    return [preset, *kilobytes, *fewer, *times, *faster]


def plot(rows: dict[str, Any], options: argparse.Namespace) -> Any:
    """Bars of the time per sample."""
    import _plots

    names = {
        "ours": f"keras_split, {options.quantization}, batch {options.batch}",
        "batch": f"SplitEasy's protocol, batch {options.batch}",
        "one": "SplitEasy's protocol, batch 1",
    }
    return _plots.bars(
        list(rows),
        {
            label: [1e3 * found[name][2] for found in rows.values()]
            for name, label in names.items()
        },
        x="ms a sample (logarithmic)",
        title=f"{options.rate_mbit:g} Mbit/s, {options.rtt_ms:g} ms",
        logarithmic=True,
    )


def main() -> None:
    """Prints the table."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=zoo.names("images"))
    parser.add_argument("--quantization", default="int4+zstd")
    parser.add_argument("--microbatches", type=int, default=1)
    parser.add_argument("--rate-mbit", type=float, default=20)
    parser.add_argument("--rtt-ms", type=float, default=30)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument(
        "--their-steps",
        type=int,
        default=2,
        help="Steps of SplitEasy's protocol at our batch; they take long.",
    )
    write_option(parser)
    options = parser.parse_args()
    report = Report("spliteasy", write=options.write)
    parts = (
        f", {options.microbatches} microbatches"
        if options.microbatches > 1
        else ""
    )
    batch, steps = options.batch, options.steps
    report.say(
        f"{machine()}; {options.size}x{options.size} images, "
        f"{options.rate_mbit:g} Mbit/s each way, {options.rtt_ms:g} ms there "
        f"and back. Ours: {options.quantization}, batch {batch}{parts}. "
        "SplitEasy's protocol (SE): float32 as JSON, one image a step as in "
        f"its code (1), and {batch} ({batch}). kB are of one image, up / "
        "down, on the socket. ms are of one image, from the medians of "
        f"{steps} steps; {options.their_steps} for SE {batch}."
    )
    report.header(
        "preset",
        "our kB:",
        "SE 1 kB:",
        "times more, SE 1:",
        f"SE {batch}:",
        "our ms:",
        "SE 1 ms:",
        f"SE {batch} ms:",
        "times slower, SE 1:",
        f"SE {batch}:",
    )
    rows = {}
    for preset in options.presets:
        rows[preset] = measure(preset, options)
        report.row(*row(preset, rows[preset]))
    report.end()
    if options.write:
        report.plot(plot(rows, options), "Bars of ms a sample, by preset")
    report.close()


if __name__ == "__main__":
    main()
