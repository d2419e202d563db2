"""Sequences of several lengths: split, they train as the whole model."""

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers
from keras import ops

import keras_split
from keras_split import device
from keras_split.compression.tensors import CutTensor
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import CutError
from keras_split.errors import DataError
from keras_split.errors import ExportError
from keras_split.errors import OptionError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.server.cohorts import merged_words
from keras_split_cli import main
from tests import links
from tests import nets

LENGTHS = [4, 8, 16]
SIZES = (5, 12, 3, 8, 16, 2, 13)  # of sequences, in batches
CUT = ["block_0", "block_1"]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def transformer(kind="classes", masked=True):
    """Three blocks; classes of texts, or of each of their tokens."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="int32", name="mask")
    x = layers.Embedding(20, 8, name="embed")(ids)
    for i in range(3):
        seen = ops.expand_dims(ops.cast(mask, "bool"), 1) if masked else None
        attend = layers.MultiHeadAttention(2, 4, use_bias=False)
        x = layers.Add()([x, attend(x, x, attention_mask=seen)])
        x = layers.LayerNormalization()(x)
        x = layers.Dense(8, "relu", name=f"block_{i}")(x)
    if kind == "classes":
        there = ops.expand_dims(ops.cast(mask, "float32"), -1)
        x = ops.sum(x * there, 1) / ops.sum(there, 1)
    return keras.Model({"ids": ids, "mask": mask}, layers.Dense(3)(x))


class Texts(keras.utils.PyDataset):
    """Batches of four texts, each as long as its longest."""

    def __init__(self, kind="classes", sizes=SIZES):
        super().__init__()
        rng = np.random.default_rng(0)
        self._batches = [self._batch(kind, size, rng) for size in sizes]

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[index]

    def _batch(self, kind, size, rng):
        mask = np.arange(size) < rng.integers(1, size + 1, (4, 1))
        mask[0] = True
        mask = mask.astype("int32")
        ids = rng.integers(1, 20, (4, size)).astype("int32")
        x = {"ids": ids * mask, "mask": mask}
        if kind == "classes":
            return x, rng.integers(0, 3, 4)
        return x, rng.integers(0, 3, (4, size)), mask.astype("float32")


def compiled(model, **options):
    model.compile(keras.optimizers.Adam(1e-2, epsilon=1e-4), LOSS, **options)
    return model


def halves(kind="classes", cut=CUT, **options):
    model = nets.built(lambda: transformer(kind))
    options = {"quantization": "float32", "share": ["mask"]} | options
    options = {"lengths": LENGTHS} | options
    return model, *keras_split.compile(model, cut, **options)


def fit(model, kind="classes"):
    made = model.fit(Texts(kind), epochs=2, shuffle=False, verbose=0)
    return made.history["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "tags"])
@pytest.mark.parametrize("where", ["here", "grpc"])
def test_batches_of_all_lengths_train_as_the_whole_model(kind, where, serve):
    whole = compiled(nets.built(lambda: transformer(kind)))
    model, client, server = halves(kind)
    expected = fit(whole, kind)
    options = {"strategy": serve(server)} if where == "grpc" else {}

    made = fit(compiled(client, **options), kind)

    np.testing.assert_allclose(made, expected, 1e-5)
    for one, other in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, 0, 1e-5, err_msg=one.path)
    scores = [m.evaluate(Texts(kind), verbose=0) for m in (whole, client)]
    np.testing.assert_allclose(*scores, 1e-5)
    x = Texts(kind)[1][0]
    predicted = [m.predict(x, verbose=0) for m in (whole, client)]
    np.testing.assert_allclose(*predicted, 0, 1e-5)


@pytest.mark.slow
def test_microbatches_of_any_length_train_alike():
    whole = compiled(nets.built(lambda: transformer("tags")))
    model, client, _ = halves("tags")
    compiled(client, strategy=keras_split.SplitStrategy(microbatches=2))

    for one in (whole, client):
        for x, y, _ in Texts("tags", sizes=(5, 7, 3)):
            one.train_on_batch(x, y)

    for one, other in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, 0, 1e-5, err_msg=one.path)


def sent(client, size):
    """Bytes up and down of a step with texts of that size."""
    strategy = client.strategy
    before = strategy.uplink_bytes, strategy.downlink_bytes
    x, y = Texts(sizes=[size])[0]
    client.train_on_batch(x, y)
    return (
        strategy.uplink_bytes - before[0],
        strategy.downlink_bytes - before[1],
    )


@pytest.mark.slow
def test_a_batch_costs_the_bytes_of_its_length():
    _, client, _ = halves(quantization="int8")
    compiled(client)
    sent(client, 16)  # with what is said once

    costs = {size: sent(client, size) for size in (3, 4, 5, 9, 16)}

    assert costs[3] == costs[4] < costs[5] < costs[9] == costs[16]
    up, down = client.contract.bytes_per_sample(4)
    less_up, less_down = client.contract.at(4).bytes_per_sample(4)
    assert costs[16][0] - costs[4][0] == pytest.approx(
        4 * (up - less_up), abs=20
    )
    assert costs[16][1] - costs[4][1] == pytest.approx(
        4 * (down - less_down), abs=20
    )


def forward(contract, length, session, number=0):
    """A forward whose tensors are whole, of whatever length."""
    specs = [TensorSpec(s.name, (length, 8)) for s in contract.smashed]
    tensors = links.tensors(specs, contract.quantization.activations, size=2)
    packed = np.zeros((2, -(-length // 8)), "uint8")
    mask = CutTensor("mask", (2, length), packed)
    return Forward(session, number, [*tensors, mask])


@pytest.mark.slow
def test_the_server_takes_the_lengths_of_the_contract_and_no_other():
    _, client, server = halves()
    contract, handle = client.contract, server.host().handle
    session = handle(links.hello(contract)).session
    before = links.state(server)

    refused = handle(forward(contract, 5, session))

    assert refused.reason == "shape"
    assert "a length of 4, 8, 16" in refused.text
    for length in LENGTHS:
        features = handle(forward(contract, length, session))
        assert features.tensors[0].shape == (2, length, 8)
    grad = links.features_grad(contract.at(8), size=2)
    assert handle(Backward(session, 0, grad, 0.1)).reason == "shape"
    assert links.same(links.state(server), before)


@pytest.mark.slow
def test_both_sides_must_have_the_same_lengths():
    _, client, _ = halves()
    _, _, other = halves(lengths=[4, 16])

    client._server_link.server = other
    with pytest.raises(RefusedError, match="of sequences: 4, 16 on the server"):
        client.predict(Texts()[0][0], verbose=0)


@pytest.mark.slow
def test_saved_halves_have_their_lengths_and_a_file_of_one_trains(
    serve, tmp_path
):
    whole = compiled(nets.built(transformer))
    _, client, server = halves()
    compiled(client).optimizer.build(client.trainable_variables)
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    served = keras_split.load_model(tmp_path / "server.keras")
    loaded = keras_split.load_model(tmp_path / "client.keras")
    data = Texts(sizes=[8] * 3)
    expected = whole.fit(data, shuffle=False, verbose=0).history["loss"]
    strategy = serve(served)

    command = ["export", tmp_path / "client.keras", "-o", tmp_path / "phone"]
    options = ["--sequence-length", 8, "--batch-size", 4]
    result = CliRunner().invoke(main.cli, [str(a) for a in command + options])
    assert result.exit_code == 0, result.output
    path = tmp_path / "phone" / "client.tflite"
    with device.Client(path, strategy.address) as phone:
        made = phone.fit(list(data), verbose=False)
        phone.save_state(tmp_path / "state.npz")

    np.testing.assert_allclose(made["loss"], expected, 1e-4)
    assert loaded.load_device_state(tmp_path / "state.npz") == []
    loaded.compile(strategy=strategy)
    for size in SIZES:
        x = Texts(sizes=[size])[0][0]
        np.testing.assert_allclose(
            loaded.predict(x, verbose=0), whole(x), 0, 1e-4
        )


def test_a_file_has_one_of_the_lengths(tmp_path):
    _, client, _ = halves()

    with pytest.raises(ExportError, match=r"\[4, 8, 16\]. Received: .*=5"):
        client.export(tmp_path / "client.tflite", sequence_length=5)
    with pytest.raises(ExportError, match="write a file for each length"):
        client.export(tmp_path / "client.tflite")


def test_texts_that_no_length_holds_are_refused():
    _, client, _ = halves()

    with pytest.raises(DataError, match=r"at most 16, .* sequences of 17"):
        client.predict(Texts(sizes=[17])[0][0], verbose=0)
    x = Texts(sizes=[5])[0][0]
    with pytest.raises(DataError, match="of one length. Received: 4, 5"):
        client.predict(x | {"mask": x["mask"][:, :4]}, verbose=0)


def unlike_padding(kind):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(20, 8)(ids)
    if kind == "regularized":
        x = layers.Activation("relu", activity_regularizer="l2")(x)
    if kind == "normalized":
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(8, name="block_0")(x)
    x = layers.Dense(8, name="block_1")(x)
    if kind == "mean":
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, layers.Dense(3, name="last")(x))


@pytest.mark.parametrize(
    "kind, words",
    [
        ("mean", "another 'last"),
        ("regularized", "another loss of activations"),
        ("normalized", "batch normalization 'norm'"),
    ],
)
def test_a_model_that_counts_what_is_padded_is_refused(kind, words):
    with pytest.raises(CutError, match=words):
        keras_split.compile(unlike_padding(kind), CUT, lengths=LENGTHS)


def test_labels_of_tokens_stay_on_the_phone():
    with pytest.raises(CutError, match="Name a second cut"):
        halves("tags", cut=["block_0"])


@pytest.mark.parametrize("lengths", [[], [8], [0, 8], 8, [8, "16"], [True, 4]])
def test_lengths_are_two_numbers_or_more(lengths):
    with pytest.raises(OptionError, match=r"such as lengths=\[32, 64, 128\]"):
        halves(lengths=lengths)


def test_lengths_are_for_models_of_any_length():
    model = keras_split.fix_length(transformer(), 8)

    with pytest.raises(OptionError, match="an axis of None"):
        keras_split.compile(model, CUT, share=["mask"], lengths=LENGTHS)


def test_what_needs_one_length_says_so():
    _, client, _ = halves()

    with pytest.raises(OptionError, match="steps are merged into one batch"):
        merged_words.mergeable(client.contract)
    compiled(client, strategy=keras_split.SplitStrategy(reuse=True))
    with pytest.raises(OptionError, match="sequences of several lengths"):
        client.predict(Texts()[0][0], verbose=0)
