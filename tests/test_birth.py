"""A server that knows all that servers know does not know the initial head.

It has the preset, the cut, the seed, the contract, every message and its own
checkpoints, and builds the model as the phone did.
"""

import keras
import numpy as np
import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import OptionError
from tests import nets
from tests.cli import commands
from tests.disturbances import Proxy

SECRET = b"a secret of tests"
SEED = 3
SIZE = {"input_shape": (32, 32, 3), "classes": 2, "seed": SEED}


def load(secret=SECRET, **options):
    return commands.TINY.load("deep", secret=secret, **SIZE, **options)


def alike(kernel, other):
    """The share of numbers that both have; one in 2**23 pairs has by chance."""
    return np.isin(kernel, other).mean()


def arrays(client):
    """Kernels of head and tail, by name."""
    return {v.path: np.array(v) for v in client.variables if v.name == "kernel"}


def test_no_kernel_of_the_phone_is_one_that_the_seed_gives():
    client, server = load()
    guess, same = keras_split.compile(
        commands.TINY.build(**SIZE), client.contract.cut
    )

    assert all(map(np.array_equal, server.variables, same.variables))
    mine, theirs = arrays(client), arrays(guess)
    assert mine.keys() == theirs.keys() and len(mine) == 2
    for path, kernel in mine.items():
        assert alike(kernel, theirs[path]) < 0.05, path


def test_a_server_that_loads_the_preset_has_other_ends_each_time():
    ours, theirs = (arrays(load(None)[0]) for _ in range(2))

    for path, kernel in ours.items():
        assert alike(kernel, theirs[path]) < 0.05, path


def test_layers_added_at_the_cuts_are_drawn_too():
    (one, body), (other, same) = (
        load(secret, bottleneck=2) for secret in (SECRET, None)
    )

    names = [path for path in arrays(one) if "_code" in path]
    names += [path for path in arrays(one) if "_decoder" in path]
    assert len(names) == 2
    for path in names:
        assert alike(arrays(one)[path], arrays(other)[path]) < 0.05
    assert all(map(np.array_equal, body.variables, same.variables))


def test_a_model_of_ones_own_keeps_its_weights_until_it_is_asked():
    client, server = keras_split.compile(
        nets.built(nets.plain, SEED), ["a_relu", "b_drop"]
    )
    known, body = arrays(client), nets.values_of(server)
    expected = nets.built(nets.plain, SEED)
    assert np.array_equal(known["a/kernel"], expected.get_layer("a").kernel)

    client.reinitialize()

    for path, kernel in arrays(client).items():
        assert alike(kernel, known[path]) < 0.05, path
    assert all(map(np.array_equal, nets.values_of(server), body))


def test_a_secret_gives_the_same_weights_and_its_file_has_them(tmp_path):
    one, other = (
        keras_split.compile(nets.built(nets.plain, seed), ["a_relu", "b_drop"])
        for seed in (1, 2)
    )
    for client, _ in (one, other):
        client.reinitialize(SECRET)
    one[0].save(tmp_path / "client.keras")
    loaded = keras_split.load_model(tmp_path / "client.keras")

    assert all(
        map(np.array_equal, nets.values_of(one[0]), nets.values_of(other[0]))
    )
    # A file has no seeds: Keras draws those anew.
    pairs = zip(one[0].get_weights(), loaded.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "secret, received",
    [(b"short", "5"), ("a secret of tests", "class str"), (7, "class int")],
)
def test_a_secret_that_could_be_tried_is_refused(secret, received):
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])

    with pytest.raises(OptionError, match=f"Received: .*{received}"):
        client.reinitialize(secret)


def test_a_half_that_was_trained_is_not_drawn_again():
    client, _ = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    client.compile("sgd", "sparse_categorical_crossentropy")
    client.fit(*nets.vectors(8), verbose=0)
    before = nets.values_of(client)

    with pytest.raises(OptionError, match="after 1 step, whose weights"):
        client.reinitialize()

    assert all(map(np.array_equal, nets.values_of(client), before))


class Overhear(Proxy):
    """Keeps what passes, in both directions."""

    def __init__(self, port):
        self.heard = b""
        super().__init__(port)

    def _pump(self, source, sink):
        class Heard:
            def __init__(self, inner):
                self.inner = inner

            def recv(heard, size):
                data = heard.inner.recv(size)
                with self._lock:
                    self.heard += data
                return data

            def shutdown(self, how):
                self.inner.shutdown(how)

        super()._pump(Heard(source), sink)


def content(folder):
    return b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )


def test_neither_messages_nor_files_tell_the_secret_or_the_initial_half(
    tmp_path,
):
    client, server = load()
    initial = arrays(client)
    (tmp_path / "phone").mkdir()
    x = np.random.default_rng(0).normal(size=(8, 32, 32, 3))
    y = np.arange(8) % 2
    with (
        server.serve(port=0, checkpoints=tmp_path / "server") as running,
        Overhear(int(running.target.rpartition(":")[2])) as line,
    ):
        client.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            strategy=SplitStrategy(f"grpc://{line.target}", retry=None),
        )
        client.fit(x, y, batch_size=4, verbose=0)
        client.close()
    server.save(tmp_path / "server" / "server.keras")
    client.save(tmp_path / "phone" / "client.keras")
    client.export(tmp_path / "phone" / "client.tflite", batch_size=4)

    seen = line.heard + content(tmp_path / "server")
    assert client.contract.fingerprint.encode() in line.heard
    for kernel in initial.values():
        assert kernel.tobytes() not in seen
    for told in (SECRET, SECRET.hex().encode()):
        assert told not in seen + content(tmp_path / "phone")


@pytest.mark.slow
def test_a_file_for_phones_begins_with_weights_that_no_seed_gives(tmp_path):
    client, _ = load()
    guess, _ = keras_split.compile(
        commands.TINY.build(**SIZE), client.contract.cut
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    client.export(tmp_path / "client.tflite", batch_size=4)

    file = (tmp_path / "client.tflite").read_bytes()
    known = arrays(guess)
    for path, kernel in arrays(client).items():
        assert kernel.tobytes() in file
        assert known[path].tobytes() not in file


def dropping():
    """The smallest net with masks in head and tail."""
    values = keras.Input((4,), name="values")
    x = keras.layers.Dense(3, name="a")(values)
    x = keras.layers.Dropout(0.5, name="a_drop")(x)
    x = keras.layers.Dense(3, name="b")(x)
    x = keras.layers.Dropout(0.5, name="b_drop")(x)
    x = keras.layers.Dense(2, activation="softmax", name="out")(x)
    return keras.Model(values, x, name="dropping")


@pytest.mark.slow
def test_dropout_of_a_file_follows_from_the_secret(tmp_path):
    files = []
    for number, secret in enumerate((SECRET, SECRET, b"another one of tests")):
        client, _ = keras_split.compile(
            nets.built(dropping, SEED), ["a_drop", "b"]
        )
        client.reinitialize(secret)
        # Only the masks differ then.
        for variable in client.variables:
            if "seed_generator" not in variable.path:
                variable.assign(np.zeros(variable.shape))
        client.compile("sgd", "sparse_categorical_crossentropy")
        path = tmp_path / f"{number}.tflite"
        client.export(path, batch_size=4)
        files.append(path.read_bytes())

    assert files[0] == files[1]
    assert files[0] != files[2]
