"""The three promises that carry the project, on networks of a few weights.

Split equals whole; over the network equals in one process, bit for bit; and
the bytes of each message are what they were.
"""

import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.compression import codecs
from keras_split.protocol.messages import Message
from tests import nets
from tests.golden import messages

# 26 examples in batches of 8, the last of 2: four steps an epoch.
STEPS_20 = {"batch_size": 8, "epochs": 5, "shuffle": False, "verbose": 0}
LOSS = "sparse_categorical_crossentropy"
IN_BLOCKS = keras_split.Quantization("int4", "int2", block=8)
LONG = [pytest.mark.slow, pytest.mark.long]
TWO_CUTS, ONE_CUT = ("a_relu", "b_drop"), ("a_relu",)


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def adam():
    return keras.optimizers.Adam(0.01)


@functools.cache
def fit_whole(optimizer):
    """Weights and logs after 20 steps of the unsplit model."""
    model = nets.built(nets.smooth)
    model.compile(optimizer(), LOSS, metrics=["accuracy"])
    history = model.fit(*nets.images(), **STEPS_20)
    return nets.values_of(model), history.history


def fit_split(optimizer, cut, reach, **options):
    """The same fit, split: its weights, its logs and its client."""
    model = nets.built(nets.smooth)
    client, server = keras_split.compile(model, list(cut), **options)
    client.compile(
        optimizer(), LOSS, metrics=["accuracy"], strategy=reach(server)
    )
    history = client.fit(*nets.images(), **STEPS_20)
    assert client.strategy.next_step == 20
    return nets.values_of(model), history.history, client


@functools.cache
def fit_in_process(optimizer, cut, quantization):
    """Weights and logs after 20 steps with both halves in this process."""
    options = {"quantization": quantization}
    return fit_split(optimizer, cut, lambda _: SplitStrategy(), **options)[:2]


@functools.cache
def fit_over_grpc(optimizer, cut, quantization, codec="raw"):
    """The same with a server behind gRPC."""
    running = []

    def serve(server):
        running.append(server.serve(port=0))
        return SplitStrategy(f"grpc://{running[0].target}", retry=None)

    options = {"quantization": quantization, "codec": codec}
    weights, logs, client = fit_split(optimizer, cut, serve, **options)
    client.close()
    running[0].stop(0)
    return weights, logs


@pytest.mark.slow
def test_microbatches_over_grpc_give_the_same_bits(serve):
    def in_microbatches(strategy):
        return SplitStrategy(strategy.address, microbatches=3)

    options = {"quantization": "int8"}
    expected, expected_logs, _ = fit_split(
        sgd, TWO_CUTS, lambda _: SplitStrategy(microbatches=3), **options
    )

    weights, logs, _ = fit_split(
        sgd, TWO_CUTS, lambda server: in_microbatches(serve(server)), **options
    )

    assert_same_bits(weights, expected)
    assert logs == expected_logs


def assert_same_bits(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == e.dtype
        assert a.tobytes() == e.tobytes()


# In which order a CPU adds floats: 1e-6 with AVX2, 3e-6 with AMX.
TOLERANCE = {sgd: 1e-5, adam: 1e-4}


@pytest.mark.parametrize(
    ("fit", "cut", "optimizer"),
    [
        (fit_in_process, TWO_CUTS, sgd),
        pytest.param(fit_in_process, ONE_CUT, sgd, marks=pytest.mark.slow),
        (fit_over_grpc, TWO_CUTS, sgd),
        pytest.param(fit_in_process, TWO_CUTS, adam, marks=pytest.mark.slow),
        pytest.param(fit_in_process, ONE_CUT, adam, marks=pytest.mark.slow),
        pytest.param(fit_over_grpc, ONE_CUT, adam, marks=pytest.mark.slow),
    ],
)
def test_split_equals_whole_after_20_steps(fit, cut, optimizer):
    before = nets.values_of(nets.built(nets.smooth))
    whole, whole_logs = fit_whole(optimizer)
    tolerance = TOLERANCE[optimizer]

    weights, logs = fit(optimizer, cut, "float32")

    assert nets.largest_difference(weights, before) > 0.1
    assert nets.largest_difference(weights, whole) <= tolerance
    np.testing.assert_allclose(logs["loss"], whole_logs["loss"], rtol=1e-5)
    assert logs["accuracy"] == whole_logs["accuracy"]


@pytest.mark.parametrize(
    ("quantization", "codec"),
    [
        ("int8", "zstd"),
        pytest.param("int8", "raw", marks=pytest.mark.slow),
        pytest.param("float32", "raw", marks=pytest.mark.slow),
        pytest.param("small", "zstd", marks=pytest.mark.slow),
        pytest.param(IN_BLOCKS, "raw", marks=pytest.mark.slow),
        pytest.param("tiny", "raw", marks=LONG),
        pytest.param("int4", "zstd", marks=LONG),
        pytest.param("float16", "raw", marks=pytest.mark.slow),
    ],
)
def test_over_grpc_the_weights_are_the_same_bits(quantization, codec):
    """Whatever the codec: it packs bytes, without loss."""
    expected, expected_logs = fit_in_process(sgd, TWO_CUTS, quantization)

    weights, logs = fit_over_grpc(sgd, TWO_CUTS, quantization, codec)

    assert_same_bits(weights, expected)
    assert logs == expected_logs


@pytest.mark.slow
def test_with_one_cut_the_weights_are_the_same_bits_too():
    expected, expected_logs = fit_in_process(adam, ONE_CUT, "int8")

    weights, logs = fit_over_grpc(adam, ONE_CUT, "int8")

    assert_same_bits(weights, expected)
    assert logs == expected_logs


SERVER = """
import sys
import keras
from keras_split import ServerModel  # so that Keras knows the class

server = keras.saving.load_model(sys.argv[1])
running = server.serve(port=0)
print(running.port, flush=True)
sys.stdin.readline()
running.stop(0)
server.save(sys.argv[1])
"""


@pytest.fixture
def serve_elsewhere(tmp_path):
    """Serves a server model in a process of its own, until `stop` is called.

    `stop` returns the server model as that process has trained it.
    """
    path = tmp_path / "server.keras"
    processes = []

    def start(server):
        server.save(path)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        port = int(process.stdout.readline())
        return SplitStrategy(f"grpc://127.0.0.1:{port}")

    def stop():
        (process,) = processes
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
        return keras.saving.load_model(path)

    yield start, stop
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "cut",
    [TWO_CUTS, pytest.param(ONE_CUT, marks=pytest.mark.long)],
    ids=["two", "one"],
)
def test_a_private_body_ends_with_the_same_bits(cut):
    expected, expected_logs = fit_in_process(sgd, cut, "int8")
    running = []

    def serve_private(server):
        running.extend([server, server.serve(port=0, bodies="private")])
        return SplitStrategy(f"grpc://{running[1].target}", retry=None)

    _, logs, client = fit_split(sgd, cut, serve_private, quantization="int8")
    server, serving = running
    (body,) = serving.endpoint.service._bodies
    server.half.set_weights(body.half.weights())
    client.close()
    serving.stop(0)

    trained = nets.values_of(client) + nets.values_of(server)
    assert logs == expected_logs
    assert as_bits(trained) == as_bits(expected)


def as_bits(values):
    """Their bytes in some order, without seeds, which Keras does not save."""
    return sorted(v.tobytes() for v in values if v.dtype.kind == "f")


@pytest.mark.slow
def test_a_second_process_gives_the_same_bits(serve_elsewhere):
    start, stop = serve_elsewhere
    expected, expected_logs = fit_in_process(sgd, TWO_CUTS, "int8")

    _, logs, client = fit_split(sgd, TWO_CUTS, start, quantization="int8")
    client.close()
    server = stop()

    trained = nets.values_of(client) + nets.values_of(server)
    assert logs == expected_logs
    assert as_bits(trained) == as_bits(expected)


def assert_same_message(actual, expected):
    assert type(actual) is type(expected)
    for name, value in vars(expected).items():
        other = getattr(actual, name)
        if isinstance(value, list):
            for one, two in zip(other, value, strict=True):
                assert_same_message(one, two)
        elif isinstance(value, np.ndarray):
            assert_same_bits([other], [value])
            assert other.shape == value.shape
        else:
            assert other == value


STORED = json.loads(messages.STORED.read_text())
every_sample = pytest.mark.parametrize("name", messages.SAMPLES)


def test_there_is_a_sample_of_every_message():
    kinds = {type(sample) for sample in messages.SAMPLES.values()}

    assert kinds == set(Message.__subclasses__())
    assert STORED.keys() == messages.SAMPLES.keys()


@every_sample
def test_a_message_has_the_bytes_that_it_had(name):
    assert messages.encode(messages.SAMPLES[name]) == STORED[name]


@every_sample
def test_stored_bytes_are_the_message_that_they_were(name):
    message = messages.decode(STORED[name])

    assert_same_message(message, messages.SAMPLES[name])


@every_sample
@pytest.mark.parametrize("codec", codecs.names())
def test_decoding_is_the_inverse_of_encoding(name, codec):
    message = messages.decode(
        messages.encode(messages.SAMPLES[name], codec), codec
    )

    assert_same_message(message, messages.SAMPLES[name])
