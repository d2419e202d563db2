import functools
import subprocess
import sys
import tomllib
import urllib.error
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split import zoo
from keras_split.compression.rules import Quantization
from keras_split.errors import OptionError
from keras_split.errors import ZooError
from keras_split.partition import costs
from keras_split.partition.partition import Partition
from keras_split.zoo import Cut
from keras_split.zoo import Facts
from keras_split.zoo import ImagePreset

PROJECT = Path(__file__).parents[1]
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
    "entry-points"
][zoo.GROUP]
NAMES = sorted(DECLARED)
IMAGES = [
    name
    for name in NAMES
    if EntryPoint(name, DECLARED[name], zoo.GROUP).load().KIND == "images"
]
# The others build for seconds, and those of hundreds of layers for most.
QUICK = ("mobilenet_v2",)
DEEP = ("densenet121", "inception_resnet_v2")

every_preset = pytest.mark.parametrize("name", NAMES)
quick_presets = pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
        for n in IMAGES
    ],
    scope="module",  # one network after the other, see `whole`
)


# What is built anew at its smallest size.
quick_builds = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n,
            marks=[pytest.mark.slow] * (n not in QUICK)
            + [pytest.mark.long] * (n in DEEP),
        )
        for n in IMAGES
    ],
)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The presets that pyproject.toml declares, installed or not."""
    entries = [EntryPoint(n, v, zoo.GROUP) for n, v in DECLARED.items()]
    monkeypatch.setattr(zoo, "entry_points", lambda group: entries)


# -- finding presets ---------------------------------------------------------


def test_there_are_spliteasys_five_networks_mobilenet_and_two_of_texts():
    assert zoo.names("texts") == ["bert_tiny", "gpt2"]
    assert zoo.names("images") == [
        "densenet121",
        "inception_resnet_v2",
        "inception_v3",
        "mobilenet_v2",
        "resnet50",
        "vgg19",
    ]


def test_listing_presets_loads_neither_keras_nor_tensorflow_nor_grpc():
    code = (
        "import sys, keras_split.zoo, importlib\n"
        f"for name in {NAMES}:\n"
        "    importlib.import_module('keras_split_zoo.' + name)\n"
        "heavy = {'keras', 'keras_hub', 'tensorflow', 'grpc', "
        "'google.protobuf'}\n"
        "sys.exit(str(heavy & set(sys.modules) or ''))"
    )
    path = [str(PROJECT), str(PROJECT / "zoo")]

    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n{code}"],
        capture_output=True,
        text=True,
    )

    assert done.stderr.strip() == ""


def test_an_unknown_preset_is_refused():
    with pytest.raises(ZooError, match="Received: 'resnet51'") as caught:
        zoo.get("resnet51")

    assert "resnet50" in str(caught.value)


def test_an_entry_point_that_is_no_preset_is_refused(monkeypatch):
    entry = EntryPoint("odd", "keras_split.zoo:GROUP", zoo.GROUP)
    monkeypatch.setattr(zoo, "entry_points", lambda group: [entry])

    with pytest.raises(ZooError, match="Received: 'odd'"):
        zoo.get("odd")


def test_a_package_can_bring_presets_of_its_own(monkeypatch):
    entry = EntryPoint("tiny", "tests.test_zoo:TINY", zoo.GROUP)
    monkeypatch.setattr(zoo, "entry_points", lambda group: [entry])

    client, server = zoo.load("tiny")

    assert zoo.names() == ["tiny"]
    assert client.contract.cut == ("conv", "pool")
    assert server.contract == client.contract


# -- what presets say of themselves ------------------------------------------


@every_preset
def test_a_preset_reads_like_a_card(name):
    preset = zoo.get(name)

    assert preset.name == name
    assert preset.summary.endswith(".") and len(preset.summary) <= 80
    assert preset.paper
    assert tuple(preset.cuts) == zoo.CUT_NAMES
    assert preset.cut() is preset.cut("spliteasy")
    assert preset.example and preset.limit
    if preset.KIND == "texts":
        assert preset.sizes["vocabulary_size"] > 1
        assert preset.sequence_length <= preset.sizes["max_sequence_length"]
        assert all(c.facts.shared_bytes == 16 for c in preset.cuts.values())
        return
    assert callable(zoo.resolve(preset.model))
    pixels = np.full((1, 2, 2, 3), 255.0, np.float32)
    assert zoo.resolve(preset.preprocess)(pixels.copy()).shape == pixels.shape


@functools.lru_cache(maxsize=1)
def whole(name):
    """The network at the size that its facts are for."""
    return zoo.get(name).build()


@quick_presets
def test_the_facts_are_what_is_computed(name):
    preset, model = zoo.get(name), whole(name)

    for cut in preset.cuts.values():
        assert zoo.compute_facts(model, list(cut.layers)) == cut.facts


def test_a_layer_that_head_and_tail_call_is_a_parameter_of_the_phone_once():
    x = values = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    x = keras.layers.Dense(3, name="body")(shared(x))
    x = keras.layers.Dense(4, name="last")(x)
    model = keras.Model(values, shared(x))

    facts = zoo.compute_facts(model, ["shared#1", "body"])

    assert facts.phone_parameters == (4 * 4 + 4) + (3 * 4 + 4)
    assert facts.server_parameters == 4 * 3 + 3
    # Both calls of it take their time.
    assert facts.phone_multiply_adds == 2 * 4 * 4 + 3 * 4


def first_cuts(name):
    """Each first cut that sends one tensor, with the preset's second cut.

    Yields `(elements, head, body, weighted)`: elements of the tensor,
    multiply-adds of head and body, and whether the head has a weighted layer.
    """
    preset, model = zoo.get(name), whole(name)
    partition = Partition(model, list(preset.cut().layers))
    graph = partition.graph
    second = graph.find(preset.cut().layers[1])
    cost = {call: costs.call_multiply_adds(call) for call in graph.calls}
    for call in graph.calls:
        works = partition._works([call.outputs, second])
        if works and len(partition.smashed) == 1:
            of = {"head": 0, "body": 0, "tail": 0}
            weighted = False
            for member, segment in partition.segment_of.items():
                of[segment] += cost[member]
                if segment == "head" and member.operation.weights:
                    weighted = True
            (smashed,) = partition.smashed
            size = costs.elements(smashed.shape)
            yield size, of["head"], of["body"], weighted


@quick_presets
def test_deep_sends_the_fewest_bytes(name):
    """Of all first cuts with one tensor that leave the server enough.

    Enough is 9 % of the multiply-adds: without a bound the fewest bytes are
    those of the last layer, with nothing left to share.
    """
    preset = zoo.get(name)
    facts = preset.cut("deep").facts
    total = facts.phone_multiply_adds + facts.server_multiply_adds

    fewest = min(
        size for size, _, body, _ in first_cuts(name) if body >= 0.09 * total
    )

    assert [costs.elements(shape) for shape in facts.smashed] == [fewest]
    assert facts.server_multiply_adds >= 0.09 * total


@quick_presets
def test_light_computes_least_on_the_phone(name):
    """Of all first cuts with one tensor and a weighted layer in the head."""
    preset = zoo.get(name)
    light = preset.cut("light").facts
    tail = sum(
        costs.call_multiply_adds(call)
        for call, segment in Partition(
            whole(name), list(preset.cut("light").layers)
        ).segment_of.items()
        if segment == "tail"
    )

    least = min(head for _, head, _, weighted in first_cuts(name) if weighted)

    assert light.phone_multiply_adds == least + tail
    spliteasy = preset.cut("spliteasy").facts
    assert light.phone_multiply_adds <= spliteasy.phone_multiply_adds


@pytest.mark.parametrize("name", IMAGES)
def test_every_cut_keeps_the_classifier_on_the_phone(name):
    preset = zoo.get(name)

    for cut in preset.cuts.values():
        (features,) = cut.facts.features
        assert len(features) == 1
        classifier = features[0] * preset.classes
        assert cut.facts.phone_multiply_adds > classifier
        assert cut.facts.phone_parameters > classifier + preset.classes


@pytest.mark.parametrize("quantization", ["float32", "int8", "int4"])
def test_bytes_per_sample_are_those_of_the_contract(quantization):
    preset = zoo.get("mobilenet_v2")
    facts = preset.cut("deep").facts
    partition = Partition(
        whole("mobilenet_v2"), list(preset.cut("deep").layers)
    )
    contract = partition.contract(Quantization(quantization))

    assert facts.bytes_per_sample(quantization) == contract.bytes_per_sample(16)
    assert facts.bytes_per_sample("float32") == (
        4 * (7840 + 1280),
        4 * (7840 + 1280),
    )


def test_an_unknown_cut_is_refused():
    with pytest.raises(ZooError, match="Received: 'shallow'") as caught:
        zoo.get("vgg19").cut("shallow")

    assert "spliteasy, deep, light" in str(caught.value)


# -- building ----------------------------------------------------------------


def tiny_network(
    input_shape=None, classes=1000, weights=None, include_top=True
):
    """A network with the options of keras.applications."""
    x = image = keras.Input(input_shape or (24, 24, 3))
    start = {}
    if weights == "imagenet":
        start = {"kernel_initializer": "ones"}
    elif weights is not None:
        raise ValueError("no such weights")
    x = layers.Conv2D(4, 3, name="conv", **start)(x)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if include_top:
        x = layers.Dense(classes, name="out", **start)(x)
    return keras.Model(image, x)


TINY = ImagePreset(
    name="tiny",
    summary="The smallest of all.",
    model="tests.test_zoo:tiny_network",
    preprocess="keras.applications.vgg19:preprocess_input",
    input_shape=(16, 16, 3),
    min_size=8,
    cuts={
        name: Cut(("conv", "pool"), Facts(0, 0, 0, 0, (), ()))
        for name in zoo.CUT_NAMES
    },
)


def weights_of(model, layer):
    return model.get_layer(layer).get_weights()


def test_size_and_classes_are_the_presets_by_default():
    model = TINY.build()

    assert model.input_shape == (None, 16, 16, 3)
    assert model.output_shape == (None, 10)


def test_size_and_classes_can_be_chosen():
    model = TINY.build(input_shape=(8, 20, 3), classes=2)

    assert model.input_shape == (None, 8, 20, 3)
    assert model.output_shape == (None, 2)


@quick_builds
def test_a_network_has_the_size_and_the_classes_asked_for(name):
    preset = zoo.get(name)
    size = preset.min_size

    model = preset.build(input_shape=(size, size + 8, 3), classes=3)

    assert model.input_shape == (None, size, size + 8, 3)
    assert model.output_shape == (None, 3)


def test_a_seed_makes_the_initial_weights_repeatable():
    one, same, other = (
        weights_of(TINY.build(seed=seed), "conv")[0] for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_a_seed_each_build_is_another():
    one, other = (weights_of(TINY.build(), "conv")[0] for _ in range(2))

    assert not np.array_equal(one, other)


def test_batchnorm_momentum_reaches_every_batchnorm():
    preset = zoo.get("mobilenet_v2")

    model = preset.build(input_shape=(32, 32, 3), batchnorm_momentum=0.9)
    untouched = preset.build(input_shape=(32, 32, 3))

    def momenta(model):
        kind = layers.BatchNormalization
        return {x.momentum for x in model.layers if isinstance(x, kind)}

    assert momenta(model) == {0.9}
    assert momenta(untouched) == {0.999}


def test_weights_come_back_from_a_file(tmp_path):
    path = tmp_path / "tiny.weights.h5"
    trained = TINY.build(seed=1)
    trained.save_weights(path)

    for given in (path, str(path)):
        model = TINY.build(weights=given, seed=2)

        for one, two in zip(
            model.get_weights(), trained.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, two)


def test_weights_of_another_class_count_are_taken_but_for_the_classifier(
    tmp_path, caplog
):
    path = tmp_path / "tiny.weights.h5"
    trained = TINY.build(classes=1000, seed=1)
    trained.save_weights(path)

    model = TINY.build(weights=path, classes=3, seed=2)

    one, other = (weights_of(x, "conv")[0] for x in (model, trained))
    np.testing.assert_array_equal(one, other)
    assert "Loaded 2 of 3 layers" in caplog.text
    assert "out ((4, 1000) in the file, (4, 3) here)" in caplog.text


def test_a_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "broken.weights.h5"
    path.write_bytes(b"these are no weights")

    with pytest.raises(ZooError, match="cannot be read"):
        TINY.build(weights=path)


def test_a_download_that_fails_says_what_to_fetch_and_where_to_put_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path)
    )

    def fail(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)

    with pytest.raises(ZooError, match="no route to host") as caught:
        zoo.get("mobilenet_v2").build(
            input_shape=(96, 96, 3), weights="imagenet"
        )

    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    text = str(caught.value)
    assert f"mobilenet_v2/{name}" in text
    assert f"put it to {tmp_path / 'models' / name}" in text


def test_imagenet_weights_reach_all_layers_but_a_classifier_of_another_size():
    model = TINY.build(weights="imagenet")

    assert (weights_of(model, "conv")[0] == 1).all()
    assert not (weights_of(model, "out")[0] == 1).any()
    assert model.input_shape == (None, 16, 16, 3)


def test_imagenet_weights_reach_a_classifier_of_a_thousand_classes():
    model = TINY.build(weights="imagenet", classes=1000)

    assert (weights_of(model, "conv")[0] == 1).all()
    assert (weights_of(model, "out")[0] == 1).all()


@quick_builds
def test_imagenet_weights_reach_every_layer_of_a_network(name, monkeypatch):
    preset = zoo.get(name)
    real = zoo.resolve(preset.model)

    def builder(weights=None, **options):
        model = real(weights=None, **options)
        if weights == "imagenet":  # stands for the download
            for variable in model.variables:
                variable.assign(keras.ops.full_like(variable, 0.125))
        return model

    monkeypatch.setattr(zoo.image, "resolve", lambda path: builder)
    size = preset.min_size

    model = preset.build(input_shape=(size, size, 3), weights="imagenet")

    loaded = [
        all((value == 0.125).all() for value in layer.get_weights())
        for layer in model.layers
        if layer.weights and not isinstance(layer, layers.Dense)
    ]
    assert len(loaded) > 10
    assert all(loaded)
    assert not (model.layers[-1].get_weights()[0] == 0.125).any()


def test_without_a_network_imagenet_is_refused(monkeypatch):
    def builder(weights=None, **options):
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://…")
        return tiny_network(weights=weights, **options)

    monkeypatch.setattr(zoo.image, "resolve", lambda path: builder)

    with pytest.raises(ZooError, match="URL fetch failure") as caught:
        TINY.build(weights="imagenet")

    assert ".weights.h5" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (7, 8, 3)}, r"8 or more each. Received: \(7, 8, 3\)"),
        ({"input_shape": (8, 7, 3)}, "8 or more each"),
        ({"input_shape": (8, 8, 1)}, "repeat one channel three times"),
        ({"input_shape": (8, 8)}, r"Received: \(8, 8\)"),
        ({"classes": 0}, "1 class or more. Received: classes=0"),
        ({"sequence_length": 9}, "takes images: .* Received: sequence_length"),
        ({"weights": "nowhere.h5"}, "Received: 'nowhere.h5', which is no file"),
        ({"weights": "."}, "which is no file"),
        ({"batchnorm_momentum": 1.0}, "below 1. Received: 1.0"),
        ({"batchnorm_momentum": -0.1}, "Received: -0.1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ZooError, match=message):
        TINY.build(**options)


# -- loading -----------------------------------------------------------------


def test_a_preset_loads_as_client_and_server():
    client, server = zoo.load(
        "mobilenet_v2", "deep", input_shape=(32, 32, 3), classes=3, seed=0
    )

    assert client.contract == server.contract
    assert client.contract.cut == zoo.get("mobilenet_v2").cut("deep").layers
    assert client.contract.quantization == Quantization("int8")
    assert client.tail.output_shape == (None, 3)


def test_quantization_and_codec_can_be_chosen():
    client, _ = TINY.load(quantization="float16", codec="zstd")

    assert client.contract.quantization == Quantization("float16")
    assert client.contract.codec == "zstd"


def test_the_body_comes_from_the_seed_and_the_ends_from_a_secret():
    layers = list(TINY.cut().layers)
    _, known = keras_split.compile(TINY.build(seed=3), layers)
    secret = b"a secret of tests"
    (one, body), (again, _), (other, _) = (
        TINY.load(seed=3, secret=secret) for secret in (secret, secret, None)
    )

    assert known.variables
    assert all(map(np.array_equal, known.variables, body.variables))
    drawn = 0
    for variable, a, b in zip(
        *(client.variables for client in (one, again, other)), strict=True
    ):
        assert np.array_equal(variable, a)
        if variable.path.endswith(("kernel", "seed_generator_state")):
            drawn += 1
            assert not np.array_equal(variable, b), variable.path
    assert drawn > 1


@quick_builds
def test_head_and_tail_of_each_network_can_be_drawn(name):
    size = zoo.get(name).min_size

    # With a secret it is refused if not.
    client, _ = zoo.load(
        name, "deep", input_shape=(size, size, 3), secret=b"a secret of tests"
    )

    assert client.contract.cut == zoo.get(name).cut("deep").layers


def test_what_a_file_does_not_have_comes_from_the_secret(tmp_path):
    trained, built = TINY.build(seed=1), TINY.build(classes=3, seed=2)
    path = tmp_path / "trained.weights.h5"
    trained.save_weights(path)

    client, _ = TINY.load(weights=path, classes=3, seed=2)

    first = weights_of(client.head, "conv")[0]
    assert np.array_equal(first, weights_of(trained, "conv")[0])
    last = weights_of(client.tail, "out")[0]
    assert last.shape == (4, 3)
    assert not np.isin(last, weights_of(built, "out")[0]).any()


def trained_network(**options):
    model = tiny_network(**options)
    model.get_layer("out").bias.assign_add(np.ones(3))
    return model


def test_a_network_that_cannot_be_drawn_says_so(caplog):
    preset = replace(TINY, model="tests.test_zoo:trained_network")
    known = weights_of(preset.build(classes=3, seed=2), "conv")[0]

    client, _ = preset.load(classes=3, seed=2)

    assert np.array_equal(weights_of(client.head, "conv")[0], known)
    assert "which a server that builds it knows" in caplog.text
    with pytest.raises(OptionError, match="was trained or loaded"):
        preset.load(classes=3, seed=2, secret=b"a secret of tests")


@pytest.mark.parametrize(
    "cut, layers",
    [
        ("light", ["Conv1_relu", "GlobalAveragePooling2D#1"]),
        ("a,b", ["a", "b"]),
        ("a+b, c/d#2", [["a", "b"], "c/d#2"]),
        (["a", ["b", "c"]], ["a", ["b", "c"]]),
    ],
)
def test_a_cut_is_a_name_or_layers(cut, layers):
    assert zoo.get("mobilenet_v2").layers(cut) == layers


def test_an_unknown_cut_cannot_be_loaded():
    with pytest.raises(ZooError, match="Received: 'shallow'"):
        TINY.load("shallow")


def test_phone_and_server_that_load_one_preset_fit_together():
    client, _ = zoo.load("mobilenet_v2", input_shape=(32, 32, 3), seed=0)
    _, server = zoo.load("mobilenet_v2", input_shape=(32, 32, 3), seed=0)

    assert client.contract == server.contract
