"""The phone's time per sample: head and tail of every preset, and of depths.

    python benchmarks/phone_time.py [--presets ...] [--rounds 30]

SplitEasy's claim: what a phone computes hardly depends on the network, for
its middle, where the depth is, runs on the server. Timed are the three parts
of a step (head forward; tail forward, backward and update; head backward and
update) as a Keras client computes them, and in LiteRT, from `client.export`,
in a process without TensorFlow. All networks take turns, round by round, so
that a noisy machine disturbs all alike. ResNet101 and ResNet152 are those of
keras.applications, cut with `keras_split.compile` where the preset resnet50
is.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _presets import LEARNING_RATE
from _report import Report
from _report import machine
from _report import write_option
from device import SIGNATURES
from device import Phone
from device import Reference
from device import inputs

FAMILY = ("resnet50", "resnet101", "resnet152")
WARM_UP = 3
WHO = {"keras": "Keras client", "litert": "LiteRT"}


class Network:
    """The phone's half of one network, in TensorFlow and in LiteRT.

    Args:
        name: A preset, or a model of `FAMILY`.
        size: Of the images.
        batch: Samples of a step.
        quantization: On the link.
        folder: For the file and the inputs.
    """

    def __init__(
        self, name: str, size: int, batch: int, quantization: str, folder: Path
    ) -> None:
        self.name = name
        client = build(name, size, quantization)
        path, data = folder / f"{name}.tflite", folder / f"{name}.npz"
        known = inputs(client.export(path, batch_size=batch))
        np.savez(data, **known)
        self.parameters = (
            client.head.count_params() + client.tail.count_params()
        )
        self.multiply_adds = multiply_adds(client)
        self._batch = batch
        self._runners: dict[str, Any] = {
            "keras": Reference(client, known),
            "litert": Phone(path, data),
        }
        self._seconds: dict[tuple[str, str], list[float]] = {
            (who, part): [] for who in WHO for part in SIGNATURES
        }

    def step(self, who: str, *, keep: bool = True) -> None:
        """Runs the three parts of a step."""
        for part in SIGNATURES:
            seconds = self._runners[who].seconds(part)
            if keep:
                self._seconds[who, part].append(seconds)

    def part_ms(self, who: str, part: str) -> float:
        """Of one sample, the median."""
        return 1e3 * float(np.median(self._seconds[who, part])) / self._batch

    def ms(self, who: str) -> float:
        """All parts of one sample, the median over steps."""
        steps = np.sum([self._seconds[who, p] for p in SIGNATURES], axis=0)
        return 1e3 * float(np.median(steps)) / self._batch

    def close(self) -> float:
        """Ends LiteRT's process; the most memory that it had, in MB."""
        return float(self._runners["litert"].peak_bytes()) / 1e6


def build(name: str, size: int, quantization: str) -> Any:
    """A compiled client."""
    import keras

    import keras_split
    from keras_split import zoo

    shape = (size, size, 3)
    if name in zoo.names("images"):
        client, _ = zoo.load(
            name, input_shape=shape, seed=0, quantization=quantization
        )
    else:
        builder = {
            "resnet101": keras.applications.ResNet101,
            "resnet152": keras.applications.ResNet152,
        }[name]
        client, _ = keras_split.compile(
            builder(input_shape=shape, classes=10, weights=None),
            cut=list(zoo.get("resnet50").cut().layers),
            quantization=quantization,
        )
    client.compile(
        keras.optimizers.SGD(LEARNING_RATE, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    return client


def multiply_adds(client: Any) -> int:
    """Of one forward pass of head and tail."""
    from keras_split.partition import costs

    return sum(costs.multiply_adds(m) for m in (client.head, client.tail))


def run(networks: list[Network], rounds: int) -> None:
    """Lets all networks take turns."""
    for number in range(WARM_UP + rounds):
        for network in networks[:: 1 if number % 2 else -1]:
            for who in WHO:
                network.step(who, keep=number >= WARM_UP)


def compare(networks: list[Network]) -> list[str]:
    """What the largest and the smallest time are, in words."""
    found = []
    for who, label in WHO.items():
        ordered = sorted(networks, key=lambda network: network.ms(who))
        least, most = ordered[0], ordered[-1]
        found.append(
            f"{label}: {most.name} {most.ms(who) / least.ms(who):.2f} times "
            f"{least.name}"
        )
    return found


def plot(networks: list[Network], about: str) -> Any:
    """Bars of the time per sample."""
    import _plots

    return _plots.bars(
        [network.name for network in networks],
        {
            label: [network.ms(who) for network in networks]
            for who, label in WHO.items()
        },
        x="ms a sample on the phone (head and tail, forward and backward)",
        title=about,
        digits=2,
    )


def main() -> None:
    """Prints the table."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=zoo.names("images"))
    parser.add_argument("--quantization", default="int8")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=30)
    write_option(parser)
    options = parser.parse_args()
    names = list(dict.fromkeys([*options.presets, *FAMILY]))
    report = Report("phone-time", write=options.write)
    about = (
        f"{options.size}x{options.size} images, batch {options.batch}, "
        f"{options.quantization} on the link"
    )
    report.say(
        f"{machine()}; {about}, {options.rounds} interleaved rounds. ms are "
        "of one sample, medians; in brackets head forward + tail + head "
        "backward. Memory is that of LiteRT's whole process, at most."
    )
    with tempfile.TemporaryDirectory() as folder:
        networks = [
            Network(
                name,
                options.size,
                options.batch,
                options.quantization,
                Path(folder),
            )
            for name in names
        ]
        run(networks, options.rounds)
        memory = {network.name: network.close() for network in networks}
    report.header(
        "network",
        "parameters on the phone:",
        "million multiply-adds:",
        *(f"{label} ms:" for label in WHO.values()),
        "LiteRT MB:",
    )
    for network in networks:
        times = []
        for who in WHO:
            parts = [network.part_ms(who, part) for part in SIGNATURES]
            brackets = " + ".join(f"{ms:.2f}" for ms in parts)
            times.append(f"{network.ms(who):.2f} ({brackets})")
        report.row(
            network.name,
            f"{network.parameters:,}",
            f"{network.multiply_adds / 1e6:.1f}",
            *times,
            f"{memory[network.name]:.0f}",
        )
    report.end()
    zoo_networks = [n for n in networks if n.name in options.presets]
    family = [n for n in networks if n.name in FAMILY]
    report.say(f"Largest of the presets: {'; '.join(compare(zoo_networks))}.")
    report.say(f"Largest of one family: {'; '.join(compare(family))}.")
    if options.write:
        report.plot(plot(networks, about), "Bars of ms a sample, by network")
    report.close()


if __name__ == "__main__":
    main()
