"""Time per sample of every network, by link.

    python benchmarks/networks.py [--quantization int8] [--profile wifi 4g]

As `benchmarks/link.py`, for all presets: a training step of each over each
link, beside the unsplit one without any.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _link import PROFILES
from _report import Report
from _report import machine
from _report import write_option
from link import Row
from link import measure


def plot(presets: list[str], found: dict[str, list[Row]], title: str) -> object:
    """Bars of the time per sample."""
    import _plots

    series = {"unsplit": [1e3 * unsplit_s(found[p]) for p in presets]}
    for number, name in enumerate(profile_names(found)):
        series[name] = [1e3 / found[p][number].speed for p in presets]
    return _plots.bars(
        presets,
        series,
        x="ms a sample (logarithmic)",
        title=title,
        logarithmic=True,
    )


def unsplit_s(rows: list[Row]) -> float:
    """Seconds of a sample without a split, over all pairs."""
    return float(np.median([row.unsplit for row in rows])) / rows[0].batch


def profile_names(found: dict[str, list[Row]]) -> list[str]:
    """What the links of the rows are called."""
    known = {profile: name for name, profile in PROFILES.items()}
    (rows, *_) = found.values()
    return [f"{known[r.profile]}: {r.profile.describe()}" for r in rows]


def main() -> None:
    """Prints the table."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=zoo.names("images"))
    parser.add_argument(
        "--profile", nargs="*", choices=list(PROFILES), default=list(PROFILES)
    )
    parser.add_argument("--quantization", default="int4+zstd")
    parser.add_argument("--microbatches", type=int, default=1)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    write_option(parser)
    options = parser.parse_args()
    report = Report("networks", write=options.write)
    about = f"{options.quantization}, batch {options.batch}"
    if options.microbatches > 1:
        about += f" in {options.microbatches} parts"
    report.say(
        f"{machine()}; {options.size}x{options.size} images, {about}; ms a "
        f"sample, from the medians of {options.pairs} steps, beside "
        f"{options.pairs * len(options.profile)} unsplit ones; kB of a "
        "sample, on the socket."
    )
    links = [f"{name} ms:" for name in options.profile]
    report.header("preset", "kB up / down:", "unsplit ms:", *links)
    found: dict[str, list[Row]] = {}
    for preset in options.presets:
        rows = measure(
            preset,
            options.quantization,
            microbatches=[options.microbatches],
            profiles=[PROFILES[name] for name in options.profile],
            size=options.size,
            batch=options.batch,
            pairs=options.pairs,
        )
        found[preset] = rows
        report.row(
            preset,
            f"{rows[0].up / 1e3:.1f} / {rows[0].down / 1e3:.1f}",
            f"{1e3 * unsplit_s(rows):.1f}",
            *(f"{1e3 / row.speed:.1f}" for row in rows),
        )
    report.end()
    if options.write:
        figure = plot(options.presets, found, f"{about}, by link")
        report.plot(figure, "Bars of ms a sample, by preset and link")
    report.close()


if __name__ == "__main__":
    main()
