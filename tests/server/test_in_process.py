import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.client.tap import SessionTap
from keras_split.compression import codecs
from keras_split.compression.rules import Quantization
from keras_split.compression.rules import Rule
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Snapshot
from keras_split.server import sessions
from keras_split.server.in_process import InProcessTransport
from tests import links

TOP_K = Quantization(Rule("int8"), Rule("int8"), block=4)


@pytest.fixture(scope="module", params=["float32", "int4"])
def server(request):
    return links.halves(request.param)[1]


@pytest.fixture
def transport(server):
    return InProcessTransport(server.host(), codecs.get("raw"))


def test_messages_reach_the_host(server, transport):
    session = transport.exchange(links.hello(server.contract)).session

    features, grads = links.take_step(
        transport.exchange, session, server.contract
    )

    assert features.step == grads.step == 0


def test_a_refusal_is_raised(transport):
    with pytest.raises(RefusedError, match="session that is open"):
        transport.exchange(Snapshot("s"))


def test_a_step_is_counted_as_what_the_contract_names_in_envelopes(
    server, transport
):
    session = transport.exchange(links.hello(server.contract)).session
    before = transport.uplink_bytes, transport.downlink_bytes

    links.take_step(transport.exchange, session, server.contract)

    per_sample = server.contract.bytes_per_sample(8)
    envelopes = (
        transport.uplink_bytes - before[0] - 8 * per_sample[0],
        transport.downlink_bytes - before[1] - 8 * per_sample[1],
    )
    assert 0 < min(envelopes) and max(envelopes) < 300


def test_a_message_without_tensors_is_counted_as_its_envelope(
    server, transport
):
    session = transport.exchange(links.hello(server.contract)).session
    before = transport.uplink_bytes, transport.downlink_bytes

    transport.exchange(Goodbye(session))
    transport.close()

    assert 0 < transport.uplink_bytes - before[0] < 50
    assert 0 < transport.downlink_bytes - before[1] < 20


@pytest.mark.parametrize("joint", [True, False])
def test_a_client_of_this_process_may_be_silent_for_hours(monkeypatch, joint):
    client, _ = links.halves()
    links.compile(client, keras.optimizers.SGD(0.1, momentum=0.9))
    if not joint:
        client.strategy.session.taps.append(SessionTap())
    x, y = links.batch()
    client.fit(x, y, verbose=0)
    name = client.strategy.session.connection.session
    now = time.monotonic
    later = SimpleNamespace(monotonic=lambda: now() + 7200)
    monkeypatch.setattr(sessions, "time", later)

    client.fit(x, y, verbose=0)

    assert client.strategy.next_step == 2
    assert client.strategy.session.connection.session == name
    client.close()


class Called(SplitStrategy):
    """A strategy of its own, so that steps are messages."""

    def forward(self, smashed):
        return super().forward(smashed)


def counted(strategy, quantization, codec, cut=("head", "body"), serve=False):
    """Bytes up and down after three steps and an `evaluate`."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(16, activation="relu", name=name)
        for name in ("head", "body", "tail")
    ]
    net = keras.Sequential([keras.Input((16,)), *layers])
    client, server = keras_split.compile(
        net, cut, quantization=quantization, codec=codec
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 16)), np.arange(40) % 16
    running = server.serve(port=0) if serve else None
    if running is not None:
        strategy = strategy(f"grpc://{running.target}")
    else:
        strategy = strategy()
    try:
        client.compile(
            keras.optimizers.SGD(0.1, name="sgd"),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            strategy=strategy,
        )
        client.fit(x, y, batch_size=16, verbose=0)
        in_graph = client._server_link.in_graph_body is not None
        client.evaluate(x, y, batch_size=16, verbose=0)
        client.close()
    finally:
        if running is not None:
            running.stop()
    return (strategy.uplink_bytes, strategy.downlink_bytes), in_graph


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantization", "codec"),
    [
        ("float32", "raw"),
        ("int8", "zstd"),
        pytest.param(TOP_K, "raw", id="top-raw", marks=pytest.mark.long),
        pytest.param(TOP_K, "zstd", id="top-zstd"),
    ],
)
def test_bytes_are_those_over_grpc(quantization, codec):
    over_grpc, _ = counted(SplitStrategy, quantization, codec, serve=True)

    messages = counted(Called, quantization, codec)
    in_graph = counted(SplitStrategy, quantization, codec)

    assert messages == (over_grpc, False)
    assert in_graph == (over_grpc, True)


def test_bytes_with_labels_on_the_server_are_those_over_grpc():
    options = {"quantization": "int8", "codec": "zstd", "cut": ["head"]}
    over_grpc, _ = counted(SplitStrategy, **options, serve=True)

    messages, _ = counted(SplitStrategy, **options)

    assert messages == over_grpc


@pytest.mark.slow
def test_early_gradients_are_counted_as_over_grpc():
    def overlapping(address=None):
        return SplitStrategy(address, overlap=True)

    over_grpc, _ = counted(overlapping, "int8", "raw", serve=True)

    in_graph = counted(overlapping, "int8", "raw")

    assert in_graph == (over_grpc, True)
