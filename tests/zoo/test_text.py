"""Presets of texts; the slow tests build small ones of keras_hub's."""

import importlib
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_split_zoo.bert_tiny
import keras_split_zoo.gpt2
from keras_split import device
from keras_split.errors import BackendError
from keras_split.errors import OptionError
from keras_split.errors import ZooError
from keras_split.zoo import compute_facts
from tests import nets

BERT = keras_split_zoo.bert_tiny.PRESET
GPT2 = keras_split_zoo.gpt2.PRESET
LENGTH = 10
SMALL = {
    "sequence_length": LENGTH,
    "vocabulary_size": 20,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 16,
    "dropout": 0.0,
    "seed": 0,
}


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub").models


# -- without keras_hub -------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        (BERT, {"sequence_length": 0}, "1 to 512 tokens .* sequence_length=0"),
        (BERT, {"sequence_length": 513}, "sequence_length=513. Cut longer"),
        (BERT, {"vocabulary_size": 0}, "1 token or more"),
        (BERT, {"classes": 0}, "1 class or more. Received: classes=0"),
        (GPT2, {"classes": 3}, "a language model.* Received: classes=3"),
        (GPT2, {"input_shape": (96, 96, 3)}, "takes texts: .*input_shape"),
        (BERT, {"num_layer": 2}, "num_layers.* Received: num_layer. Leave"),
    ],
)
def test_options_that_do_not_fit_are_refused(preset, options, message):
    with pytest.raises(ZooError, match=message):
        preset.build(**options)


def test_a_text_without_a_limit_has_any_length():
    sizes = {k: v for k, v in BERT.sizes.items() if k != "max_sequence_length"}
    preset = replace(BERT, sizes=sizes, pretrained="")

    with pytest.raises(ZooError, match="1 or more tokens"):
        preset.build(sequence_length=0)
    assert preset.limit == ""


@pytest.mark.parametrize("share", [(), ["token_ids"]])
def test_what_the_server_reads_is_never_implied(share):
    with pytest.raises(OptionError, match="padding_mask.*how long") as info:
        BERT.load(share=share)

    assert "share=['padding_mask']" in str(info.value)
    assert "--share padding_mask" in str(info.value)


def test_a_missing_keras_hub_is_named_with_what_to_install(monkeypatch):
    load = importlib.import_module

    def missing(name):
        if name.startswith("keras_hub"):
            raise ModuleNotFoundError(name="keras_hub")
        return load(name)

    monkeypatch.setattr(importlib, "import_module", missing)

    with pytest.raises(BackendError, match="Expected the package keras_hub"):
        BERT.load(share=["padding_mask"])


def test_another_missing_package_is_said_as_python_says_it():
    preset = replace(BERT, backbone="nowhere_to_be_found.models:Backbone")

    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        preset.build()


def test_a_plan_is_refused_with_what_there_is():
    with pytest.raises(ZooError, match="read padding_mask.*zoo show bert_tiny"):
        BERT.candidates()


def test_other_sizes_become_its_own():
    other = BERT.sized(sequence_length=64, classes=5, vocabulary_size=99)

    assert other.example == "texts of 64 tokens, 5 classes"
    assert other.takes == {
        "sequence_length": 64,
        "max_sequence_length": 512,
        "vocabulary_size": 99,
        "classes": 5,
    }
    assert BERT.sized(num_layers=1).sizes["num_layers"] == 1


# -- with it -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("preset", [BERT, GPT2], ids=lambda p: p.name)
def test_the_facts_are_what_is_computed(hub, preset):
    model = preset.build()

    for cut in {c.layers: c for c in preset.cuts.values()}.values():
        found = compute_facts(model, list(cut.layers), preset.shares)
        assert found == cut.facts


def data(preset):
    x, y = nets.texts(count=12, length=LENGTH, classes=2)
    if preset is GPT2:
        return x, np.roll(x["token_ids"], -1, axis=1)
    return x | {"segment_ids": np.zeros_like(x["token_ids"])}, y


def compiled(model, preset):
    # Where gradients are rounding alone, a smaller epsilon makes steps of it.
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-4), preset.loss)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("preset", [BERT, GPT2], ids=lambda p: p.name)
def test_it_trains_as_the_whole_here_and_on_a_phone(hub, preset, tmp_path):
    x, y = data(preset)
    file, path = tmp_path / "w.weights.h5", tmp_path / "client.tflite"
    whole = compiled(preset.build(**SMALL), preset)
    whole.save_weights(file)
    options = {"quantization": "float32", "share": preset.shares}
    client, _ = preset.load(weights=file, **options, **SMALL)
    phones, server = preset.load(weights=file, **options, **SMALL)
    fitting = {"batch_size": 6, "shuffle": False, "verbose": 0}

    expected = whole.fit(x, y, epochs=2, **fitting).history["loss"]
    made = compiled(client, preset).fit(x, y, epochs=2, **fitting)
    compiled(phones, preset).export(path, batch_size=6)
    with (
        server.serve(port=0) as running,
        device.Client(path, f"grpc://{running.target}") as phone,
    ):
        batches = device.batches(x, y, 6, seed=None)
        far = phone.fit(batches, epochs=2, verbose=False)

    np.testing.assert_allclose(made.history["loss"], expected, 1e-5)
    np.testing.assert_allclose(far["loss"], expected, 1e-4)
    np.testing.assert_allclose(
        client.predict(x, verbose=0), whole.predict(x, verbose=0), 0, 1e-5
    )


@pytest.mark.slow
def test_sizes_that_do_not_go_together_are_said_as_keras_hub_says_it(hub):
    with pytest.raises(ZooError, match="BertBackbone says"):
        BERT.build(**SMALL | {"num_heads": 0})


@pytest.mark.slow
def test_head_and_tail_come_from_a_secret_and_have_names_of_classes(hub):
    secret = b"a secret of tests"
    made = [
        BERT.load(
            share=["padding_mask"], secret=each, class_names="abc", **SMALL
        )
        for each in (secret, secret, None)
    ]

    (one, body), (again, same), (other, _) = made
    assert one.data_spec.class_names == ("a", "b", "c")
    assert one.tail.output_shape == (None, 3)
    assert all(map(np.array_equal, one.weights, again.weights))
    assert all(map(np.array_equal, body.weights, same.weights))
    assert not all(map(np.array_equal, one.weights, other.weights))


# -- weights -----------------------------------------------------------------


def backbone(hub, **sizes):
    names = {*BERT.sizes} - {"vocabulary_size"}
    given = {name: SMALL[name] for name in names}
    return hub.BertBackbone(vocabulary_size=20, **given | sizes)


@pytest.mark.slow
def test_weights_come_from_a_folder_of_keras_hub(hub, tmp_path, caplog):
    donor = backbone(hub)
    donor.save_to_preset(tmp_path)

    model = BERT.build(weights=tmp_path, **SMALL)

    name = "transformer_layer_1"
    mine, theirs = (x.get_layer(name).get_weights() for x in (model, donor))
    assert all(map(np.array_equal, mine, theirs))
    assert f"from {tmp_path}. Not loaded: logits" in caplog.text


@pytest.mark.slow
def test_weights_of_another_network_are_refused(hub, tmp_path):
    backbone(hub, hidden_dim=12).save_to_preset(tmp_path)

    with pytest.raises(ZooError, match="none fits"):
        BERT.build(weights=tmp_path, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights", ["bert_tiny_en_uncased", "kaggle://keras/bert/keras/mine"]
)
def test_a_download_that_fails_says_what_else_would_do(
    hub, monkeypatch, weights
):
    def fail(handle, **options):
        assert handle == weights
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub.BertBackbone, "from_preset", fail)

    with pytest.raises(ZooError, match="no route to host") as info:
        BERT.load(weights=weights, share=["padding_mask"], **SMALL)

    assert f"{weights!r}" in str(info.value)
    assert "the folder" in str(info.value)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["imagenet", "nowhere.weights.h5"])
def test_weights_that_are_nowhere_are_refused(hub, weights):
    with pytest.raises(ZooError, match=f"Received: '{weights}', which") as info:
        BERT.build(weights=weights, **SMALL)

    assert "'bert_tiny_en_uncased'" in str(info.value)
