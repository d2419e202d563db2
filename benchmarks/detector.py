"""Whether a phone tells a server that hijacks it: true and false alarms.

    python benchmarks/detector.py                  # all: half an hour of a core
    python benchmarks/detector.py --seeds 0 1
    python benchmarks/detector.py --table          # of the runs so far

A small convolutional network on Fashion-MNIST, cut twice, Adam, batches of
64; the first 47 steps, which are 5 % of an epoch of 60,000 images. The server
is FSHA with its gradients as they are, or mixed into honest ones by a half or
a quarter, or it is honest; or FSHA that is honest in steps that it sees
checked, or makes features up that agree with what it sent. Its public images
are other ones of Fashion-MNIST. `keras_split.HijackDetector()` as it comes. A
run that is in the results is not made again.
"""

import argparse
import itertools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from keras import layers

import keras_split
from keras_split import audit
from keras_split import datasets
from keras_split.audit.hijack import Hijack
from keras_split.audit.malicious import take_over
from keras_split.defenses import GaussianNoise
from keras_split.errors import HijackError

BATCH, STEPS = 64, 47
RESULTS = Path(__file__).with_suffix(".jsonl")
# By name: how much of each gradient is FSHA's, and the server's disguise.
SERVERS = {
    "honest": (0.0, "none"),
    "fsha": (1.0, "none"),
    "fsha/2": (0.5, "none"),
    "fsha/4": (0.25, "none"),
    "watchful": (1.0, "watchful"),
    "falsifying": (1.0, "falsifying"),
    "both": (1.0, "both"),
}
DEFENSES = {
    "none": lambda: None,
    "noise": lambda: [
        GaussianNoise(0.5, where="smashed"),
        GaussianNoise(1e-3, where="features_grad"),
    ],
}


@dataclass(frozen=True)
class Run:
    """One training before one server.

    Attributes:
        server: Of `SERVERS`.
        quantization: Of what crosses.
        defense: Of `DEFENSES`.
        seed: Of weights, images, attack and checks.
        told: After which step it was stopped; None if it was not.
        checks: Step, kind and agreement of each check.
        loss: Of the training.
        seconds: Of all.
    """

    server: str
    quantization: str
    defense: str
    seed: int
    told: int | None
    checks: list[tuple[int, str, float]]
    loss: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What it is a run of."""
        return self.server, self.quantization, self.defense, self.seed


def network() -> keras.Model:
    """Conv, BatchNorm and ReLU three times; the first on the phone."""
    x = image = keras.Input((28, 28, 1))
    for number, width in enumerate((16, 32, 64)):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        if number < 2:
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def train(server_name: str, quantization: str, defense: str, seed: int) -> Run:
    """Trains for 5 % of an epoch, or until the phone stops."""
    began = time.perf_counter()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    (x, y), _ = datasets.fashion_mnist.load_full()
    order = np.random.default_rng(seed).permutation(len(x))
    x = datasets.to_model_input(x[order], (28, 28, 1)) / np.float32(255)
    y = y[order].astype("int32")
    own, public = slice(0, BATCH * STEPS), slice(len(x) // 2, None)
    client, server = keras_split.compile(
        network(),
        ["pool0", "features"],
        quantization=quantization,
        defenses=DEFENSES[defense](),
    )
    client.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy"
    )
    mix, disguise = SERVERS[server_name]
    if mix:
        attack = Hijack(mix)
        examples = audit.Examples(x[public], y[public])
        attack.begin(audit.scene_of(client, server, examples, 10, seed))
        take_over(server, attack, disguise)
    detector = keras_split.HijackDetector(seed=seed)
    losses: list[float] = []
    listen = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])
    )
    told = None
    try:
        client.fit(
            *(x[own], y[own]),
            batch_size=BATCH,
            verbose=0,
            callbacks=[detector, listen],
        )
    except HijackError:
        told = len(losses) + 1
    client.close()
    return Run(
        *(server_name, quantization, defense, seed, told),
        [(c.step, c.kind, round(c.agreement, 3)) for c in detector.checks],
        round(float(losses[-1]) if losses else float("nan"), 3),
        round(time.perf_counter() - began, 1),
    )


def load() -> list[Run]:
    """The runs so far."""
    if not RESULTS.exists():
        return []
    return [Run(**json.loads(line)) for line in RESULTS.open()]


def tell(runs: list[Run], report: Report) -> None:
    """Alarms and agreements, server by server."""
    report.say(
        f"{machine()}; the first {STEPS} steps of {BATCH}. Agreements are of "
        "single checks."
    )
    report.header(
        *("server", "quantization", "defense", "told:", "after step:"),
        *("agreement before:", "after:"),
    )
    for server, quantization, defense in itertools.product(
        SERVERS, ("float32", "int8", "int4"), DEFENSES
    ):
        found = [
            r for r in runs if r.key[:3] == (server, quantization, defense)
        ]
        if not found:
            continue
        told = [r.told for r in found if r.told is not None]
        agreements = []
        for kind in ("before", "after"):
            values = [v for r in found for _, k, v in r.checks if k == kind]
            agreements.append(_range(values, ".2f"))
        report.row(
            *(server, quantization, defense),
            f"{len(told)} of {len(found)}",
            _range(told, "d"),
            *agreements,
        )
    report.end()


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:{form}} to {high:{form}}"


def main() -> None:
    """Makes the runs that are not there, the most telling ones first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="*", type=int, default=range(10))
    parser.add_argument("--servers", nargs="*", default=list(SERVERS))
    parser.add_argument(
        "--quantizations", nargs="*", default=["int8", "float32"]
    )
    parser.add_argument("--defenses", nargs="*", default=["none"])
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    write_option(parser)
    options = parser.parse_args()
    runs = load()
    wanted = itertools.product(
        options.seeds, options.servers, options.quantizations, options.defenses
    )
    for seed, server, quantization, defense in [] if options.table else wanted:
        key = (server, quantization, defense, seed)
        if any(run.key == key for run in runs):
            continue
        runs.append(train(*key))
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(runs[-1])) + "\n")
        print(*key, runs[-1].told, runs[-1].seconds, flush=True)
    report = Report("detector", write=options.write)
    tell(runs, report)
    report.close()


if __name__ == "__main__":
    main()
