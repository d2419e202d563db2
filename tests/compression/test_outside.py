"""A format and a codec of another package do all that ours do."""

import contextlib
import json

import keras
import numpy as np
import pytest

import keras_split
from keras_split import device
from keras_split.compression import codecs
from keras_split.errors import CodecError
from keras_split.errors import DataError
from keras_split.errors import RefusedError
from tests import links
from tests.compression.formats.fixed16 import Fixed16
from tests.compression.formats.fixed16 import registered


class Flipped(keras_split.codecs.Codec):
    """Every bit the other way."""

    name = "flipped"
    used = 0

    def encode(self, data):
        type(self).used += 1
        return (~np.frombuffer(data, np.uint8)).data

    def decode(self, data, nbytes):
        self._check_size(memoryview(data).nbytes, nbytes)
        return self.encode(data)


@contextlib.contextmanager
def unregistered():
    codec = codecs._REGISTRY._items.pop("flipped")
    try:
        yield
    finally:
        codecs.register(codec)


@pytest.fixture(autouse=True)
def outside():
    """Both are known, as when their package was imported."""
    codec = Flipped()
    keras_split.codecs.register(codec)
    with registered(Fixed16()):
        yield codec
    codecs._REGISTRY._items.pop("flipped")


def halves(quantization, codec="flipped"):
    client, server = links.halves(
        quantization, codec=codec, fused_batchnorm=False
    )
    return client, server


def fitted(client, address=None):
    x, y = links.batch(20)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    links.compile(client, optimizer, address)
    client.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return [np.array(w) for w in client.weights]


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["fixed16", "float8_e4m3"])
def test_training_is_the_same_in_process_over_grpc_and_on_the_phone(
    quantization, outside, tmp_path
):
    client, _ = halves(quantization)
    path = tmp_path / "client.tflite"
    links.compile(client, keras.optimizers.SGD(0.1, momentum=0.9))
    client.export(path, batch_size=8)
    here = fitted(client)
    client.close()

    client, _ = halves(quantization, outside)
    _, server = halves(quantization)
    before = Flipped.used
    with server.serve(port=0) as running:
        there = fitted(client, f"grpc://{running.target}")
        client.close()

    _, server = halves(quantization)
    with server.serve(port=0) as running:
        phone = device.Client(
            path, f"grpc://{running.target}", num_threads=1, retry=None
        )
        rows = device.batches(*links.batch(20), 8, seed=None)
        phone.fit(rows, epochs=2, verbose=False)
        state = phone.get_state()
        phone.close()

    assert Flipped.used > before
    assert links.same(here, there)
    described = json.loads(path.with_suffix(".json").read_bytes())
    assert described["contract"]["codec"] == "flipped"
    values = {v.path: np.array(v) for v in client.variables}
    for item in described["state"]:
        if item["kind"] != "slot":
            np.testing.assert_allclose(
                state[item["name"]], values[item["variable"]], 0, 2e-3
            )


def test_halves_come_back_from_their_files(tmp_path):
    for half in halves("fixed16"):
        path = tmp_path / f"{half.name}.keras"
        half.save(path)

        loaded = keras_split.load_model(path)

        assert loaded.contract == half.contract
        assert loaded.contract.codec == "flipped"


def test_a_file_with_an_unknown_codec_says_what_to_do(tmp_path):
    client, server = halves("int8")
    server.save(tmp_path / "server.keras")
    links.compile(client)
    client.export(tmp_path / "client.tflite", batch_size=8)
    client.close()

    with unregistered():
        with pytest.raises(CodecError, match="codecs.register"):
            keras_split.load_model(tmp_path / "server.keras")
        with pytest.raises(DataError, match="codecs.register"):
            device.Client(tmp_path / "client.tflite", "grpc://127.0.0.1:9")


def test_a_codec_with_other_settings_is_used_and_goes_by_its_name(tmp_path):
    nine = codecs.Zstd(level=9)

    client, server = halves("int8", nine)
    server.save(tmp_path / "server.keras")

    loaded = keras_split.load_model(tmp_path / "server.keras")
    assert codecs.get(client.contract.codec) is nine
    assert loaded.contract == client.contract
    assert loaded.contract.codec == "zstd"
    assert client.contract.get_config()["codec"] == "zstd"
    with loaded.serve(port=0) as running:
        fitted(client, f"grpc://{running.target}")
    client.close()


def test_another_codec_on_the_other_side_is_refused_by_name():
    client, _ = halves("int8")
    _, server = halves("int8", "raw")

    with server.serve(port=0) as running:
        links.compile(client, address=f"grpc://{running.target}")
        with pytest.raises(RefusedError, match="Expected codec raw") as info:
            client.connect()
        client.close()

    assert info.value.reason == "codec"
    assert "keras_split.codecs.register" in str(info.value)
