"""SplitEasy's protocol trains the same network to the same weights."""

import json
import threading

import keras
import numpy as np
import pytest

import keras_split
from benchmarks._link import Link
from benchmarks._spliteasy import SplitEasyServer
from benchmarks._spliteasy import strategy
from benchmarks._spliteasy import stringify
from tests import nets

CUT = ["a_relu", "b_drop"]


def halves():
    return keras_split.compile(
        nets.built(nets.plain), CUT, quantization="float32"
    )


def compiled(client, strategy=None):
    client.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        "sparse_categorical_crossentropy",
        strategy=strategy,
    )
    return client


@pytest.fixture
def peer():
    _, server = halves()
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    config = json.dumps(keras.optimizers.serialize(optimizer))
    running = SplitEasyServer(server, config, 0.05)
    thread = threading.Thread(target=running.run)
    thread.start()
    yield running, server
    running.stop()
    thread.join()


@pytest.mark.slow
def test_json_carries_float32_without_loss(peer):
    running, served = peer
    x, y = nets.images(24)
    client, _ = halves()
    compiled(client, strategy(running.target))
    alone, server = halves()
    compiled(alone)

    for model in (client, alone):
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        model.close()

    for one, other in ((client, alone), (served, server)):
        assert (
            nets.largest_difference(nets.values_of(one), nets.values_of(other))
            <= 1e-6
        )


def test_bodies_of_requests_are_what_crosses(peer):
    running, _ = peer
    x, y = nets.images(8)

    with Link(running.target) as link:
        client, _ = halves()
        compiled(client, strategy(link.address))
        client.train_on_batch(x, y)
        sent = client.strategy.uplink_bytes
        came = client.strategy.downlink_bytes
        client.close()

        heads = 4 * 400  # at most, each way
        assert 0 < link.uplink_bytes - sent < heads
        assert 0 < link.downlink_bytes - came < heads


def test_numbers_are_written_as_javascript_writes_them():
    values = np.float32([0.0, -0.0, 1.0, -20.0, 0.1, 1.05]).tolist()

    assert stringify({"inputs": [values]}) == (
        b'{"inputs":[[0,0,1,-20,0.10000000149011612,1.0499999523162842]]}'
    )
