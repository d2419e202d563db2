"""Training over a phone's link: split steps beside unsplit ones.

    python benchmarks/link.py --profile custom --rate-mbit 20 --rtt-ms 30
        [--presets resnet50] [--batch 32] [--microbatches 1 2 4 8]
        [--quantization int8 int4+zstd ...]
    python benchmarks/link.py --profile wifi 5g 4g 3g

The server is a process of its own, behind an emulated link. Split and unsplit
steps take turns, so that a noisy machine disturbs both alike; the ratio is
the median over the pairs. Unsplit is what the server could do alone, with the
images: both cores, no link.

"line" is how long the link needs for the bytes of a step, up and down, and
"trips" the round trips of a step that waits for each answer; with the unsplit
step they add up to "in a row", what a step takes if nothing overlaps and
splitting costs nothing.
"""

import argparse
import os
from dataclasses import dataclass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _link import PROFILES
from _link import Link
from _link import Profile
from _presets import Trainee
from _presets import arguments
from _presets import client
from _presets import coding
from _presets import compiled
from _presets import images
from _presets import strategy
from _presets import whole
from _report import Report
from _report import machine
from _report import write_option
from _server_process import serving

# Smashed data for features, features_grad for smashed_grad.
TRIPS = 2


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        preset: The network.
        quantization: And codec.
        microbatches: Parts of a batch.
        profile: The link.
        batch: Samples of a step.
        split: Seconds of each split step.
        unsplit: Seconds of the unsplit step beside it.
        up: Bytes of a sample, on the socket.
        down: The same from server to client.
    """

    preset: str
    quantization: str
    microbatches: int
    profile: Profile
    batch: int
    split: np.ndarray
    unsplit: np.ndarray
    up: float
    down: float

    @property
    def speed(self) -> float:
        """Samples a second."""
        return float(self.batch / np.median(self.split))

    @property
    def unsplit_speed(self) -> float:
        """The same without a split."""
        return float(self.batch / np.median(self.unsplit))

    @property
    def ratios(self) -> np.ndarray:
        """Throughput as a part of the unsplit one, pair by pair."""
        return self.unsplit / self.split

    @property
    def line_s(self) -> tuple[float, float]:
        """Seconds that the bytes of a step take, up and down."""
        return (
            _line_s(self.up * self.batch, self.profile.uplink_mbit),
            _line_s(self.down * self.batch, self.profile.downlink_mbit),
        )

    @property
    def trips_s(self) -> float:
        """Seconds of the round trips of a step."""
        return TRIPS * self.profile.rtt_ms / 1000

    @property
    def in_a_row_s(self) -> float:
        """Seconds of everything, one after the other."""
        alone = float(np.median(self.unsplit))
        return alone + sum(self.line_s) + self.trips_s


def _line_s(nbytes: float, rate: float | None) -> float:
    return 0.0 if rate is None else nbytes * 8e-6 / rate


def measure(
    preset: str,
    quantization: str,
    *,
    microbatches: list[int],
    profiles: list[Profile],
    size: int,
    batch: int,
    pairs: int,
) -> list[Row]:
    """Times one preset with one coding, over each link."""
    how = coding(quantization)
    x, y = images(preset, size, batch)
    rows = []
    with (
        serving(preset, *arguments(size, how)) as target,
        Link(target) as link,
    ):
        half = client(preset, size, how)
        alone = Trainee(whole(preset, size), None, x, y)
        alone.warm_up()
        for parts in microbatches:
            compiled(half, strategy=strategy(link.address, parts))
            Trainee(half, link, x, y).warm_up()
            for profile in profiles:
                link.profile = profile
                split = Trainee(half, link, x, y)
                alone.seconds.clear()
                for pair in range(pairs):
                    for one in (split, alone)[:: 1 if pair % 2 else -1]:
                        one.step()
                rows.append(
                    Row(
                        preset,
                        quantization,
                        parts,
                        profile,
                        batch,
                        np.array(split.seconds),
                        np.array(alone.seconds),
                        *split.bytes_per_sample,
                    )
                )
            link.profile = Profile()
        half.close()
    return rows


COLUMNS = (
    *("preset", "coding", "parts:", "link", "samples/s:", "unsplit:"),
    *("ratio:", "quartiles", "kB up / down:", "step ms:", "in a row ms:"),
    *("unsplit ms:", "line ms up / down:", "trips ms:"),
)


def cells(row: Row) -> list[str]:
    """A row of the table."""
    low, high = np.quantile(row.ratios, [0.25, 0.75])
    up, down = (1e3 * seconds for seconds in row.line_s)
    return [
        row.preset,
        row.quantization,
        str(row.microbatches),
        row.profile.describe(),
        f"{row.speed:.1f}",
        f"{row.unsplit_speed:.1f}",
        f"{np.median(row.ratios):.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{row.up / 1e3:.1f} / {row.down / 1e3:.1f}",
        f"{1e3 * np.median(row.split):.0f}",
        f"{1e3 * row.in_a_row_s:.0f}",
        f"{1e3 * np.median(row.unsplit):.0f}",
        f"{up:.0f} / {down:.0f}",
        f"{1e3 * row.trips_s:.0f}",
    ]


def plot(rows: list[Row]) -> object:
    """Lines of throughput over link rate, for rows of one preset."""
    import _plots

    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        parts = f", {row.microbatches} parts" if row.microbatches > 1 else ""
        points = series.setdefault(f"{row.quantization}{parts}", [])
        points.append((row.profile.uplink_mbit or np.nan, row.speed))
    return _plots.lines(
        series,
        x="link rate each way, Mbit/s (logarithmic)",
        y="samples a second",
        title=f"{rows[0].preset}, batch {rows[0].batch}, "
        f"{rows[0].profile.rtt_ms:g} ms there and back",
        level=("unsplit", float(np.median([r.unsplit_speed for r in rows]))),
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--profile",
        nargs="*",
        choices=[*PROFILES, "custom"],
        default=["custom"],
    )
    parser.add_argument(
        "--rate-mbit",
        nargs="*",
        type=float,
        default=[2, 5, 20, 100],
        help="Of custom links, each way.",
    )
    parser.add_argument(
        "--rtt-ms",
        type=float,
        default=30,
        help="Of custom links: there and back, half of it each way.",
    )
    parser.add_argument("--presets", nargs="*", default=["resnet50"])
    parser.add_argument("--microbatches", nargs="*", type=int, default=[1, 2])
    parser.add_argument(
        "--quantization", nargs="*", default=["small", "int4+zstd"]
    )
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=8)
    write_option(parser)
    options = parser.parse_args()
    profiles = [
        profile
        for name in options.profile
        for profile in (
            [PROFILES[name]]
            if name in PROFILES
            else [
                Profile(rate, rate, rtt_ms=options.rtt_ms)
                for rate in options.rate_mbit
            ]
        )
    ]
    report = Report("link", write=options.write)
    report.say(
        f"{machine()}; {options.size}x{options.size} images, batch "
        f"{options.batch}, {options.pairs} interleaved pairs; kB are of one "
        "sample, on the socket."
    )
    report.header(*COLUMNS)
    rows: list[Row] = []
    for preset in options.presets:
        for quantization in options.quantization:
            made = measure(
                preset,
                quantization,
                microbatches=options.microbatches,
                profiles=profiles,
                size=options.size,
                batch=options.batch,
                pairs=options.pairs,
            )
            for row in made:
                report.row(*cells(row))
            rows += made
    report.end()
    rates = len(options.rate_mbit)
    if options.write and options.profile == ["custom"] and rates > 1:
        report.plot(
            plot([row for row in rows if row.preset == options.presets[0]]),
            "Lines of samples a second over link rate, by coding and parts",
        )
    report.close()


if __name__ == "__main__":
    main()
