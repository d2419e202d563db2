"""Phones of a merged cohort train as `fit` does on all their examples."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from keras_split.server.cohorts.config import CohortConfig
from tests import nets
from tests.federation import golden


def assert_is_unsplit(halves, body, build, cut, batches):
    """Every phone's half, and the body, are those of the whole model."""
    whole, _ = golden.halves(build, cut)
    model = golden.unsplit(build, batches)
    names = {layer.name for layer in whole.head.layers}
    parts = {"head": [], "body": [], "tail": []}
    bodies = {layer.name for layer in body.layers}
    for layer in model.layers:
        if not layer.weights:
            continue
        part = "tail"
        if layer.name in names:
            part = "head"
        elif layer.name in bodies:
            part = "body"
        parts[part] += layer.get_weights()
    moved = nets.built(build).get_weights()
    assert nets.largest_difference(moved, model.get_weights()) > 0.01
    for head, tail in halves:
        assert nets.largest_difference(head, parts["head"]) <= 1e-5
        assert nets.largest_difference(tail, parts["tail"]) <= 1e-5
    assert nets.largest_difference(body.get_weights(), parts["body"]) <= 1e-5


@pytest.mark.parametrize(
    ("net", "sizes", "steps", "epochs"),
    [
        (0, [5, 4, 3], [8, 4], 1),
        pytest.param(
            *(1, [9, 20], [8, 8, 8, 5, 8, 8, 8, 5], 2), marks=pytest.mark.slow
        ),
    ],
)
def test_phones_train_as_one_with_all_their_examples(
    serve, net, sizes, steps, epochs
):
    build, cut = golden.NETS[net]
    _, server = golden.halves(build, cut)
    # Three add their gradients up under masks, two cannot.
    config = CohortConfig("merged", phones=len(sizes), batch=8, seed=3)
    assert config.secure == (len(sizes) > 2)
    address = serve(server, cohort=config).address
    shards = golden.shards(sizes)
    # A thread of TensorFlow for each is more than this process may have.
    phones = [golden.phone(address, build, cut, eagerly=True) for _ in sizes]
    halves = [None] * len(sizes)

    def train(number):
        client, _ = phones[number]
        halves[number] = golden.train(client, shards[number], epochs)

    threads = [
        threading.Thread(target=train, args=(n,)) for n in range(len(sizes))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    batches = golden.pooled([c.of for _, c in phones], shards, epochs)
    assert [len(y) for _, y in batches] == steps
    assert_is_unsplit(halves, server.body, build, cut, batches)


@pytest.mark.slow
@pytest.mark.long
def test_eight_phones_train_as_one_with_all_their_examples(serve, tmp_path):
    servers, addresses = [], []
    for build, cut in golden.NETS:
        _, server = golden.halves(build, cut)
        config = CohortConfig(
            *("merged", 8, golden.BATCH), plain_aggregation=True, seed=1
        )
        servers.append(server)
        addresses.append(serve(server, cohort=config).address)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.federation.golden"]
            + [",".join(addresses), str(n), str(tmp_path / f"{n}.npz")]
        )
        for n in range(8)
    ]
    try:
        for process in processes:
            assert process.wait(400) == 0
    finally:
        for process in processes:
            process.kill()

    files = [dict(np.load(tmp_path / f"{n}.npz")) for n in range(8)]
    for net, (build, cut) in enumerate(golden.NETS):
        counts = [
            dict(zip(f[f"{net}_steps"], f[f"{net}_counts"], strict=True))
            for f in files
        ]
        batches = golden.pooled(counts, golden.shards(golden.SIZES))
        assert len(batches) == golden.STEPS
        halves = [
            [
                [v for k, v in f.items() if k.startswith(f"{net}_{part}")]
                for part in ("head", "tail")
            ]
            for f in files
        ]
        assert_is_unsplit(halves, servers[net].body, build, cut, batches)
