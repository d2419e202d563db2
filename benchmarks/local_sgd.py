"""What averaging bodies seldom costs, and what it sends: local SGD.

    python benchmarks/local_sgd.py                       # some minutes a row
    python benchmarks/local_sgd.py --every 1 10 100 --seeds 3 --write

Four phones train with four replicas of one server, whose bodies become one
every so many steps; beside them four phones of one server of one process, in
which there is one body. Network and images are those of phones.py, dealt out
evenly. Heads and tails are each phone's own, and are not averaged. Accuracy is
the mean of the four phones, with the mean of the bodies, of all test images;
bytes are those of bodies (and gradients) alone, which each average moves there
and back.
"""

import argparse
import copy
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from phones import BATCH
from phones import CUT
from phones import RATE
from phones import load
from phones import network

import keras_split
from keras_split.ray import serve
from keras_split.server.cohorts.config import CohortConfig

ONE, MERGED = 0, 1  # for `every`: a server of one process, a merged cohort
SELDOM = 1_000_000  # steps, from one average of heads and tails to the next


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        accuracy: In percent, the mean of all phones.
        averages: How often bodies became one.
        step_bytes: Of bodies that averages moved, for each step of a phone.
    """

    accuracy: float
    averages: int
    step_bytes: float


def run(data: Any, every: int, phones: int, steps: int, seed: int) -> Run:
    """Trains once."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    (x, y), test = data
    whole = network()
    clients = []
    for _ in range(phones):
        copy = keras.models.clone_model(whole)
        copy.set_weights(whole.get_weights())
        client, server = keras_split.compile(copy, CUT, quantization="int8")
        clients.append(client)
    options = {"port": 0}
    running: Any
    callbacks: list[Any] = []
    if every == ONE:
        running = server.serve(**options)
    elif every == MERGED:
        cohort = CohortConfig(
            "merged", phones=phones, batch=phones * BATCH, seed=seed
        )
        running = serve(
            server, replicas=phones, cluster="local", cohort=cohort, **options
        )
        callbacks = [
            keras_split.FederatedAveraging(SELDOM, examples=steps * BATCH)
        ]
    else:
        running = serve(
            *(server,),
            replicas=phones,
            cluster="local",
            average_every=every,
            **options,
        )
    order = np.random.default_rng(seed).permutation(len(y))
    with running:
        # TensorFlow has no thread for each phone that waits for the others.
        reach(clients, running.target, eagerly=every == MERGED)
        shares = [order[n::phones] for n in range(phones)]
        train(clients, shares, x, y, steps, callbacks)
    if every in (ONE, MERGED):
        averages = steps * every
    else:
        averages = running.averages
    size = sum(value.nbytes for value in server.body.get_weights())
    # Where all replicas train: each gives its body and takes the mean.
    moved = 2 * phones * size * averages
    with server.serve(port=0) as running:
        reach(clients, running.target)
        found = [
            client.evaluate(*test, batch_size=500, verbose=0)[1]
            for client in clients
        ]
        for client in clients:
            client.close()
    return Run(100 * float(np.mean(found)), averages, moved / (phones * steps))


def reach(
    clients: Sequence[Any], target: str, *, eagerly: bool = False
) -> None:
    """Has phones go on with another server."""
    for client in clients:
        client.close()
        client.compile(
            keras.optimizers.SGD(RATE),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            run_eagerly=eagerly,
            strategy=keras_split.SplitStrategy(f"grpc://{target}"),
        )


def train(
    clients: Sequence[Any],
    shares: Sequence[Any],
    x: Any,
    y: Any,
    steps: int,
    callbacks: Sequence[Any],
) -> None:
    """All phones train at the same time, with their images."""
    failed = []

    def one(client: Any, share: Any) -> None:
        chosen = np.resize(share, steps * BATCH)
        try:
            client.fit(
                *(x[chosen], y[chosen]),
                batch_size=BATCH,
                shuffle=False,
                verbose=0,
                callbacks=[copy.copy(each) for each in callbacks],
            )
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=one, args=pair)
        for pair in zip(clients, shares, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{len(failed)} phones failed: {failed[0]}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--phones", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--subset", action="store_true")
    write_option(parser)
    args = parser.parse_args()
    report = Report("local-sgd", write=args.write)
    training, test, words = load(args.subset)
    report.say(
        f"Fashion-MNIST, {words}, dealt out evenly to {args.phones} phones, "
        f"one for each replica; {args.steps:,} steps of {BATCH} images each, "
        f"SGD {RATE}, int8; {args.seeds} seeds, mean and the lowest; "
        f"{machine()}."
    )
    report.header(
        *("average every:", "accuracy %:", "lowest:", "averages:"),
        "KiB of bodies a step:",
    )
    for every in (ONE, *args.every):
        found = [
            run((training, test), every, args.phones, args.steps, seed)
            for seed in range(args.seeds)
        ]
        scores = [one.accuracy for one in found]
        report.row(
            f"{every:,}" if every else "one process",
            f"{np.mean(scores):.2f}",
            f"{min(scores):.2f}",
            f"{np.mean([one.averages for one in found]):.0f}",
            f"{np.mean([one.step_bytes for one in found]) / 1024:.1f}",
        )
    report.end()
    report.close()


if __name__ == "__main__":
    main()
