"""What a server reads of the labels, by coding and by defense.

    python benchmarks/label_inference.py            # those of the docs
    python benchmarks/label_inference.py int2 float32+gradient_noise:sigma=16

Fashion-MNIST, a small CNN in the U shape with a dense tail. Each setting
trains once before a curious server, and is a line of JSON in the results: the
accuracy of the model on test images beside what each attack found among the
last 2,000 examples, what chance finds, and what a classifier of public images
makes of the same private ones. What is in the results is not run again.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

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
from keras_split_cli.defense_option import read_defense

BATCH, CLASSES = 128, 10
RESULTS = Path(__file__).with_suffix(".jsonl")
# What a column shows; the results have more.
ATTACKS = {
    "gradients, clusters": "clustering of features gradients",
    "gradients, matching": "matching of features gradients",
    "features, clusters": "clustering of features",
    "features, 10 known a class": (
        "nearest mean of features, 10 known labels a class"
    ),
    "smashed data, clusters": "clustering of smashed data",
}
SETTINGS = [
    *("float32", "int8", "int4", "int2", "small", "tiny"),
    *(f"float32+gradient_noise:sigma={sigma}" for sigma in (1, 4, 8)),
    "float32+gaussian_noise:stddev=1,where=features_grad",
    *("float32+max_norm", "float32+sign"),
    *(f"float32+randomized_response:epsilon={e}" for e in (1, 2, 4)),
]


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", default=SETTINGS)
    parser.add_argument("--examples", type=int, default=6400)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="Of each attack."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="Run nothing.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    write_option(parser)
    options = parser.parse_args()
    rows = []
    if options.results.exists():
        rows = [json.loads(line) for line in options.results.open()]
    known = {(row["name"], row["seed"]) for row in rows}
    wanted = [s for s in options.settings if (s, options.seed) not in known]
    if wanted and not options.table:
        private, public, test = load(options.examples, options.seed)
        classifier = classifier_of(public, options)
        for setting in wanted:
            row = run(setting, private, public, test, classifier, options)
            rows.append(row)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(setting, row["seconds"], flush=True)
    report = Report("label_inference", write=options.write)
    tell(rows, report)
    report.close()


def tell(rows: list[dict[str, Any]], report: Report) -> None:
    """What each attack read, setting by setting."""
    first = rows[0]
    report.say(
        f"{machine()}; Fashion-MNIST, {first['examples']:,} images of the "
        f"phone and as many others of the attacker, {first['epochs']} epochs "
        f"of batches of {BATCH}, cut behind the first pooling and before the "
        "last layer. The part of the labels that was read; chance is 13 %, and "
        "a classifier of the attacker's images has the part that is shown."
    )
    report.header(
        *("setting", "seed:", "test accuracy:", "a classifier:"),
        *(f"{column}:" for column in ATTACKS),
    )
    order = {setting: place for place, setting in enumerate(SETTINGS)}
    rows = sorted(rows, key=lambda row: order.get(row["name"], len(order)))
    for row in rows:
        found = {finding["attack"]: finding for finding in row["findings"]}
        public = next(iter(found.values()))["baselines"]
        report.row(
            row["name"].replace("float32+", ""),
            row["seed"],
            _part(row["accuracy"]),
            _part(public["classifier of public data"]["accuracy"]),
            *(
                _part(found[a]["measures"]["accuracy"])
                for a in ATTACKS.values()
            ),
        )
    report.end()


def _part(value: float) -> str:
    return f"{100 * value:.1f} %"


def network() -> keras.Model:
    """Three blocks; the last layer alone is the tail."""
    normal = {"padding": "same", "use_bias": False}
    blocks = []
    for filters in (32, 64):
        blocks += [
            layers.Conv2D(filters, 3, **normal),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(name="first_cut"),
            *blocks,
            layers.Flatten(),
            layers.Dense(128, activation="relu", name="second_cut"),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def load(examples: int, seed: int) -> list[audit.Examples]:
    """Private, public and test images."""
    (x, y), (x_test, y_test) = datasets.fashion_mnist.load_full()
    order = np.random.default_rng(seed).permutation(len(x))
    halves = order[:examples], order[30_000 : 30_000 + examples]
    made = [(x[half], y[half]) for half in halves]
    return [
        audit.Examples(
            datasets.to_model_input(images, (28, 28, 1), "tf"),
            labels.astype("int32"),
        )
        for images, labels in (*made, (x_test, y_test))
    ]


def classifier_of(
    public: audit.Examples, options: argparse.Namespace
) -> keras.Model:
    """The same network, of public images alone."""
    keras.utils.set_random_seed(options.seed + 1)
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(
        public.x,
        public.y,
        batch_size=BATCH,
        epochs=options.epochs,
        verbose=0,
    )
    return model


def run(
    setting: str,
    private: audit.Examples,
    public: audit.Examples,
    test: audit.Examples,
    classifier: keras.Model,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Trains once and attacks."""
    began = time.perf_counter()
    keras.utils.set_random_seed(options.seed)
    quantization, *texts = setting.split("+")
    client, server = keras_split.compile(
        network(),
        ["first_cut", "second_cut"],
        quantization=quantization,
        defenses=[read_defense(text) for text in texts],
    )
    client.compile(
        keras.optimizers.Adam(1e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    attacks = [
        audit.Clustering(),
        audit.Matching(),
        audit.Clustering("features"),
        audit.Clustering("smashed"),
        audit.NearestMean("features_grad", 1),
        audit.NearestMean("features", 10),
        audit.NearestMean("smashed", 10),
        audit.Norm(10),
    ]
    watched = audit.watch(
        client,
        server,
        private,
        attacks,
        audit.scene_of(client, server, public, CLASSES, options.seed),
        epochs=options.epochs,
        batch_size=BATCH,
    )
    truth = watched.last.truth
    guessed = classifier.predict(truth.x, batch_size=500, verbose=0).argmax(1)
    findings = []
    for attack in attacks:
        start = time.perf_counter()
        told = audit.leak(attack, client, watched, seed=options.seed)
        attack.end(told, options.seconds)
        guess = attack.guess(watched.last.seen)
        score = audit.score_labels(guess, truth.y, told.labels)
        assert score is not None
        findings.append(
            {
                "attack": attack.name,
                "of": "labels",
                "measures": {
                    "accuracy": round(score.accuracy, 4),
                    "balanced": round(score.balanced, 4),
                },
                "baselines": {
                    "chance": {"accuracy": round(score.chance, 4)},
                    "classifier of public data": {
                        "accuracy": round(float(np.mean(guessed == truth.y)), 4)
                    },
                },
                "examples": score.examples,
                "knows": sorted(attack.knows),
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
    accuracy = client.evaluate(test.x, test.y, batch_size=500, verbose=0)[1]
    client.close()
    return {
        "name": setting,
        "seed": options.seed,
        "examples": len(private),
        "epochs": options.epochs,
        "accuracy": round(float(accuracy), 4),
        "seconds": round(time.perf_counter() - began, 1),
        "findings": findings,
    }


if __name__ == "__main__":
    main()
