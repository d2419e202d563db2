"""What docs/extending.md shows, used as its author would."""

import ast
import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_split
from keras_split import device
from keras_split.errors import CodecError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.server import Security
from tests import links

PACKAGE = Path(__file__).parent / "extending" / "keras_split_extras"
MODULES = sorted(path.stem for path in PACKAGE.glob("[!_]*.py"))


@pytest.fixture(scope="module")
def extras():
    """Its modules, imported late: what they register, others would meet."""
    return SimpleNamespace(
        **{
            name: importlib.import_module(f"keras_split_extras.{name}")
            for name in MODULES
        }
    )


def halves(quantization="int8", **options):
    return keras_split.compile(
        links.net(),
        links.CUT,
        quantization=quantization,
        fused_batchnorm=False,
        **options,
    )


def trained(client, server, address=None, **options):
    """Weights of all three parts after three steps, and bytes that crossed."""
    strategy = keras_split.SplitStrategy(address, retry=None, **options)
    client.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
    )
    x, y = links.batch(20)
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    values = [np.array(v) for v in client.weights] + links.state(server)
    counted = strategy.uplink_bytes, strategy.downlink_bytes
    client.close()
    return values, counted


def trained_far(scheme="grpc", strategy=None, **options):
    """The same with a server of its own, at the address of a scheme."""
    client, _ = halves(**options)
    _, server = halves(**options)
    with server.serve(port=0) as running:
        address = f"{scheme}://{running.target}"
        return trained(client, server, address, **(strategy or {}))


@pytest.fixture(scope="module")
def plain():
    """A training in one process, with nothing of the package."""
    return trained(*halves())


@pytest.fixture(scope="module")
def far():
    """The same over gRPC."""
    return trained_far()


# -- the package --------------------------------------------------------------


def public(name):
    """The public thing of a dotted name, checked at each dot."""
    found = importlib.import_module("keras_split")
    for part in name.split(".")[1:]:
        assert part in getattr(found, "__all__", dir(found)), (
            f"{part!r} of {name} is no public name of keras_split"
        )
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", MODULES)
def test_the_package_imports_public_names_alone(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))
    imported = {}  # local name to dotted name of ours
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level
            if node.module.split(".")[0] == "keras_split":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    imported[alias.asname or alias.name] = whole
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("keras_split.")

    for whole in imported.values():
        public(whole)
    used = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            whole = imported.get(node.value.id)
            if whole is not None:
                public(f"{whole}.{node.attr}")
                used += 1
        if isinstance(node, ast.Attribute):
            private = node.attr.startswith("_") and node.attr != "__init__"
            assert not private, f"{node.attr} is somebody's private name"
    assert used


@pytest.mark.parametrize("name", MODULES)
def test_an_example_is_short(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))
    first = next(n for n in tree.body if isinstance(n, ast.ClassDef))
    text = (PACKAGE / f"{name}.py").read_text("utf-8")

    lines = [line for line in text.splitlines()[first.lineno - 1 :] if line]

    assert len(lines) <= 40


@pytest.fixture
def installed():
    """Only where the package is installed: `make test` has done that."""
    try:
        metadata.distribution("keras-split-extras")
    except metadata.PackageNotFoundError:
        text = (
            "Expected tests/extending to be installed beside keras_split. "
            "Received: neither metadata nor entry points. Run it with "
            "`make test`, or: pip install --editable tests/extending"
        )
        try:
            metadata.distribution("keras-split")
        except metadata.PackageNotFoundError:
            if not os.environ.get("CI"):
                pytest.skip(text)
        pytest.fail(text)


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "100"},
    )


def test_the_command_line_knows_the_codec_of_an_installed_package(installed):
    helped = run("-m", "keras_split_cli", "serve", "--help")

    assert helped.returncode == 0, helped.stderr
    assert "--codec [raw|zstd|deflate]" in helped.stdout


@pytest.mark.slow
def test_schemes_of_an_installed_package_are_known_without_an_import(installed):
    result = run(
        "-c",
        "import keras_split, sys\n"
        "keras_split.SplitStrategy('delayed://127.0.0.1:1')\n"
        "print(keras_split.transports.names())\n",
    )

    assert result.returncode == 0, result.stderr
    assert "'delayed'" in result.stdout
    assert "'post'" in result.stdout


# -- codec --------------------------------------------------------------------


@pytest.mark.slow
def test_a_codec_changes_bytes_and_no_number(extras, plain):
    raw, plain_bytes = plain

    here, here_bytes = trained(*halves(codec="deflate"))
    there, there_bytes = trained_far(codec="deflate")

    assert links.same(here, raw)
    assert links.same(there, raw)
    assert here_bytes == there_bytes
    assert here_bytes[0] < plain_bytes[0]


@pytest.mark.parametrize("nbytes", [0, 99, 101, 10**12])
def test_a_codec_refuses_another_size(nbytes, extras):
    codec = keras_split.codecs.get("deflate")
    packed = codec.encode(bytes(100))

    assert codec.decode(packed, 100) == bytes(100)
    for data in (packed, packed[:-3], b"no such thing"):
        with pytest.raises(CodecError, match="Expected"):
            codec.decode(data, nbytes)


# -- defense ------------------------------------------------------------------


@pytest.mark.slow
def test_a_defense_trains_to_the_same_bits_in_process_and_over_grpc(
    extras, plain
):
    def defended():
        keras.utils.set_random_seed(0)
        hidden = extras.defense.HiddenChannels(0.7)
        return keras_split.defenses.Chain([hidden], seed=7)

    here, _ = trained(*halves(defenses=defended()))
    there, _ = trained_far(defenses=defended())

    assert links.same(here, there)
    assert not links.same(here, plain[0])


class Sent(keras_split.SessionTap):
    """Keeps the smashed data that left."""

    def __init__(self):
        self.codes = []

    def sent(self, message):
        if isinstance(message, keras_split.messages.Forward):
            self.codes += [tensor.codes for tensor in message.tensors]


@pytest.mark.slow
def test_a_defense_hides_the_same_on_the_phone(extras, tmp_path):
    """With a head of one product a value, so that its last bits agree."""
    layers = keras.layers
    image = keras.Input((4, 4, 1))
    h = layers.Conv2D(6, 1, use_bias=False, name="first")(image)
    h = layers.Conv2D(4, 3, activation="tanh", name="second")(h)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(h)))
    hidden = extras.defense.HiddenChannels(0.5)
    client, server = keras_split.compile(
        model,
        ["first", "second"],
        defenses=keras_split.defenses.Chain([hidden], seed=7),
    )
    here, there = Sent(), Sent()
    client.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=keras_split.SplitStrategy(taps=[here]),
    )
    path = tmp_path / "client.tflite"
    client.export(path, batch_size=4)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 4, 4, 1)).astype("float32")
    y = np.arange(8) % 3

    client.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    client.close()
    with server.serve(port=0) as running:
        phone = device.Client(path, f"grpc://{running.target}", retry=None)
        phone.session.taps.append(there)
        phone.fit(device.batches(x, y, 4, seed=None), epochs=1, verbose=False)
        phone.close()

    assert len(here.codes) == len(there.codes) == 2
    assert links.same(here.codes, there.codes)


# -- transport ----------------------------------------------------------------


def test_a_transport_is_chosen_by_its_scheme(extras, far):
    expected, counted = far

    found, found_counted = trained_far("delayed")

    assert links.same(found, expected)
    assert found_counted == counted


@pytest.mark.slow
def test_a_transport_carries_parts_of_batches_and_early_replies(extras, far):
    expected, _ = far

    parts, _ = trained_far("delayed", {"microbatches": 2})
    parts_expected, _ = trained_far("grpc", {"microbatches": 2})
    early, _ = trained_far("delayed", {"overlap": True})

    assert links.same(parts, parts_expected)
    assert links.same(early, expected)


# -- server -------------------------------------------------------------------


@pytest.fixture
def over_http(extras):
    """Stands HTTP before a server model, with what it may do."""
    started = []

    def serve(server, **options):
        endpoint = server.endpoint(**{"max_sessions": 8} | options)
        started.append(extras.server.HttpServer(endpoint))
        return started[-1].address

    yield serve
    for server in started:
        server.stop(0)


def test_http_trains_bit_for_bit_as_grpc_does(over_http, far):
    expected, _ = far
    client, _ = halves()
    _, server = halves()

    found, counted = trained(client, server, over_http(server))

    assert links.same(found, expected)
    assert min(counted) > 0


def test_http_says_who_is_not_let_in_and_goes_on(over_http, tmp_path):
    tokens, mine = tmp_path / "tokens", tmp_path / "mine"
    mine.write_text("a" * 32)
    tokens.write_text(f"alice {'a' * 32}\n")
    client, server = halves()
    address = over_http(server, security=Security(tokens=tokens))

    with pytest.raises(RefusedError) as refused:
        trained(client, server, address)
    values, _ = trained(
        client, server, address, credentials={"token_file": str(mine)}
    )

    assert refused.value.reason == "unauthenticated"
    assert all(np.isfinite(v).all() for v in values)


def test_a_server_that_is_gone_is_an_error_of_the_transport(extras):
    client, server = halves()

    with pytest.raises(TransportError, match="127.0.0.1:9"):
        trained(client, server, "post://127.0.0.1:9")
