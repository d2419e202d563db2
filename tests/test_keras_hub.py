"""Transformers of keras_hub: split, they train as the whole ones.

Small, with random weights; importing keras_hub takes ten seconds.
"""

import re

import keras
import numpy as np
import pytest

import keras_split
from keras_split import device
from tests import nets

pytestmark = pytest.mark.slow

LONG = pytest.mark.long
LENGTH = 10
SIZES = {
    "vocabulary_size": 20,
    "num_layers": 3,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 16,
}
CUT = ["transformer_layer_0", "transformer_layer_1"]
MASK = ["padding_mask"]


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub").models


def bert(hub, dropout=0.1):
    return hub.BertTextClassifier(
        backbone=hub.BertBackbone(**SIZES, dropout=dropout),
        num_classes=3,
        dropout=dropout,
        preprocessor=None,
    )


def bert_lora(hub, dropout=0.1):
    """Adapters and the classifier train, and one block is frozen whole."""
    model = bert(hub, dropout)
    model.backbone.enable_lora(2)
    model.backbone.get_layer("transformer_layer_1").trainable = False
    return model


def gpt2(hub, dropout=0.1):
    return hub.GPT2CausalLM(
        backbone=hub.GPT2Backbone(**SIZES, dropout=dropout), preprocessor=None
    )


def gemma(hub, dropout=0.1):
    """Rotary positions, grouped queries, gated blocks, soft caps, a window."""
    backbone = hub.GemmaBackbone(
        vocabulary_size=20,
        num_layers=3,
        num_query_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        hidden_dim=8,
        intermediate_dim=16,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        attention_logit_soft_cap=50.0,
        final_logit_soft_cap=30.0,
        use_sliding_window_attention=True,
        sliding_window_size=4,
        dropout=dropout,
    )
    return hub.GemmaCausalLM(backbone=backbone, preprocessor=None)


def vit(hub, dropout=0.1):
    """Its blocks are in one layer, which is opened up."""
    backbone = hub.ViTBackbone(
        image_shape=(8, 8, 2),
        patch_size=4,
        num_layers=3,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
        use_mha_bias=False,  # a key's has a gradient of 0, Adam sees noise
        dropout_rate=dropout,
        attention_dropout=dropout,
    )
    return hub.ViTImageClassifier(
        backbone=backbone, num_classes=3, dropout=dropout, preprocessor=None
    )


def siglip(hub, dropout=0.0):
    """The image tower, which has no dropout, and a classifier.

    Its embedding says that it makes one patch too many.
    """
    tower = hub.SigLIPVisionEncoder(
        image_shape=(8, 8, 2),
        patch_size=4,
        num_layers=3,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
    )
    logits = keras.layers.Dense(3, name="logits")(tower.output)
    return keras.Model(tower.input, logits)


def distil_bert(hub, dropout=0.1):
    return hub.DistilBertTextClassifier(
        backbone=hub.DistilBertBackbone(**SIZES, dropout=dropout),
        num_classes=3,
        dropout=dropout,
        preprocessor=None,
    )


def llama(hub, dropout=0.1):
    """Of the third generation; its blocks have a config that fails."""
    backbone = hub.Llama3Backbone(
        vocabulary_size=20,
        num_layers=3,
        num_query_heads=4,
        num_key_value_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        rope_frequency_adjustment_factor=8.0,
        rope_low_freq_factor=1.0,
        rope_high_freq_factor=4.0,
        rope_pretraining_sequence_length=8,
        dropout=dropout,
    )
    return hub.Llama3CausalLM(backbone=backbone, preprocessor=None)


IMAGES = (vit, siglip)
LANGUAGE = (gpt2, gemma, llama)
CUTS = {
    bert: (CUT, MASK),
    bert_lora: (CUT, MASK),
    gpt2: (CUT, MASK),
    gemma: (["decoder_block_0", "decoder_block_1"], MASK),
    vit: (["transformer_block_1", "transformer_block_2"], ()),
    siglip: (["encoder_block_0", "encoder_block_1"], ()),
    distil_bert: (CUT, MASK),
    llama: (CUT, MASK),
}


def data(build):
    """Inputs, labels and sample weights; a language model's are tokens."""
    if build in IMAGES:
        x, y = nets.images(count=12)
        return {"images": x} if build is siglip else x, y, None
    x, y = nets.texts(count=12, length=LENGTH)
    if build is distil_bert:
        return x, y, None
    if build not in LANGUAGE:
        segments = np.arange(LENGTH) > 4
        x["segment_ids"] = np.tile(segments.astype("int32"), (12, 1))
        return x, y, None
    tokens = x["token_ids"]
    return x, np.roll(tokens, -1, axis=1), x["padding_mask"].astype("float32")


def compiled(model, epsilon=1e-7, **options):
    model.compile(
        keras.optimizers.Adam(1e-3, epsilon=epsilon),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return model


def halves(hub, build, dropout=0.1, **options):
    cut, share = CUTS[build]
    length = {} if build in IMAGES else LENGTH
    model = keras_split.fix_length(
        nets.built(lambda: build(hub, dropout)), length
    )
    if build is vit:
        model = keras_split.unfold(model, "vit_encoder")
    options = {"quantization": "float32", "share": share} | options
    return model, *keras_split.compile(model, cut, **options)


def steps(model, build, weighted=True):
    """20 steps on batches of 6; the losses."""
    x, y, weights = data(build)
    history = model.fit(
        x,
        y,
        sample_weight=weights if weighted else None,
        batch_size=6,
        epochs=10,
        shuffle=False,
        verbose=0,
    )
    return history.history["loss"]


def named(variable):
    """Its layer and name; one without a name has a number of the process."""
    layer, name = variable.path.split("/")[-2:]
    return layer, re.sub(r"^(variable)_\d+$", r"\1", name)


@pytest.mark.parametrize(
    "build, where",
    [
        # In zoo/test_text.py a smaller one of both trains here.
        pytest.param(bert, "here", marks=LONG),
        (bert, "grpc"),
        pytest.param(gpt2, "here", marks=LONG),
        pytest.param(gpt2, "grpc", marks=LONG),
        (bert_lora, "grpc"),
        pytest.param(gemma, "here", marks=LONG),
        (gemma, "grpc"),
        pytest.param(vit, "here", marks=LONG),
        (vit, "grpc"),
        (siglip, "here"),
        pytest.param(siglip, "grpc", marks=LONG),
        (distil_bert, "here"),
        (llama, "here"),
    ],
)
def test_it_trains_as_the_whole_model(hub, build, where):
    # A key's bias has a gradient of 0, of which Adam makes steps by rounding.
    epsilon = 1e-4 if build is siglip else 1e-7
    whole = compiled(nets.built(lambda: build(hub)), epsilon)
    model, client, server = halves(hub, build)
    expected = steps(whole, build)

    if where == "here":
        made = steps(compiled(client, epsilon), build)
    else:
        with server.serve(port=0) as running:
            strategy = keras_split.SplitStrategy(f"grpc://{running.target}")
            made = steps(compiled(client, epsilon, strategy=strategy), build)
            client.close()

    np.testing.assert_allclose(made, expected, 1e-5)
    mine, theirs = whole.trainable_variables, model.trainable_variables
    for one, other in zip(mine, theirs, strict=True):
        assert named(one) == named(other)
        np.testing.assert_allclose(one, other, 0, 1e-5, err_msg=one.path)


@pytest.mark.parametrize(
    "build",
    [
        # Those of zoo/test_text.py train on a phone, too.
        pytest.param(bert, marks=LONG),
        pytest.param(bert_lora, marks=LONG),
        pytest.param(gpt2, marks=LONG),
        gemma,
        pytest.param(vit, marks=LONG),
        pytest.param(siglip, marks=LONG),
        pytest.param(distil_bert, marks=LONG),
    ],
)
def test_a_phone_trains_head_and_tail_as_keras(hub, build, tmp_path):
    # The masks of Dropout are others on the phone.
    def without(hub):
        return build(hub, dropout=0.0)

    path = tmp_path / "client.tflite"
    # Below it are gradients that are 0, but for rounding: of a key's bias.
    epsilon = 1e-4
    whole = compiled(nets.built(lambda: without(hub)), epsilon)
    _, client, server = halves(hub, build, dropout=0.0)
    compiled(client, epsilon).export(path, batch_size=6)
    x, y, _ = data(build)
    expected = steps(whole, build, weighted=False)

    with (
        server.serve(port=0) as running,
        device.Client(path, f"grpc://{running.target}") as phone,
    ):
        batches = device.batches(x, y, 6, seed=None)
        made = phone.fit(batches, epochs=10, verbose=False)
        predicted = phone.predict(x)
        phone.save_state(tmp_path / "state.npz")

    np.testing.assert_allclose(made["loss"], expected, 1e-4)
    np.testing.assert_allclose(predicted, whole.predict(x, verbose=0), 0, 1e-4)
    assert client.load_device_state(tmp_path / "state.npz") == []
    np.testing.assert_allclose(client.predict(x, verbose=0), predicted, 0, 1e-5)


def test_tied_embeddings_stay_on_the_phone_and_are_one_layer_when_loaded(
    hub, tmp_path
):
    _, client, server = halves(hub, gpt2)
    tied = client.head.get_layer("token_embedding")
    x, *_ = data(gpt2)
    assert tied is client.tail.get_layer("token_embedding")
    assert not any("token_embedding" in v.path for v in server.body.variables)
    steps(compiled(client), gpt2)
    expected = client.predict(x, verbose=0)

    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")
    loaded = keras_split.load_model(tmp_path / "client.keras")
    with keras_split.load_model(tmp_path / "server.keras").serve(
        port=0
    ) as running:
        strategy = keras_split.SplitStrategy(f"grpc://{running.target}")
        compiled(loaded, strategy=strategy)
        made = loaded.predict(x, verbose=0)
        loaded.close()

    np.testing.assert_allclose(made, expected, 0, 1e-5)
    assert loaded.head.get_layer("token_embedding") is (
        loaded.tail.get_layer("token_embedding")
    )
    count = sum(np.size(v) for v in client.trainable_variables)
    assert count == sum(np.size(v) for v in loaded.trainable_variables)


def test_a_task_as_it_is_is_refused_with_what_to_do(hub):
    with pytest.raises(keras_split.SplitError, match="of keras_hub, cut kera"):
        keras_split.Partition(bert(hub), CUT, share=["padding_mask"])


def test_the_other_inputs_stay_without_consent(hub):
    with pytest.raises(keras_split.SplitError, match="share=") as info:
        halves(hub, bert, share=())

    assert "padding_mask" in str(info.value)
