"""Every layer that docs/on-the-phone.md lists, against the layer of Keras."""

import contextlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import activations
from keras import layers

import keras_split
from keras_split.litert.layer_overrides import Batch
from keras_split.litert.layer_overrides import layer_overrides
from tests.litert.phone import Phone

PAGE = Path(__file__).parents[2] / "docs" / "on-the-phone.md"
SIZE = 4
ROWS = (4, 3)  # the phone fills the second batch up
RATE = 0.1

IMAGE = (8, 6, 4)
SERIES = (6, 4)
RANDOM = ("Dropout", "SpatialDropout1D", "SpatialDropout2D")
# `glu` halves what Activation takes for unchanged, `threshold` needs a number.
FUNCTIONS = [
    name
    for name, value in vars(activations).items()
    if callable(value)
    and name not in ("get", "serialize", "deserialize", "glu", "threshold")
]


def of(layer, shape, *options):
    """A case: one layer for each of several options."""
    return shape, [lambda x, o=o: layer(**o)(x) for o in options or ({},)]


def pooling(layer, shape):
    return of(
        layer,
        shape,
        {"pool_size": 2},
        {"pool_size": 3, "strides": 2, "padding": "same"},
        {"pool_size": 3, "strides": 1},
    )


def merge(layer):
    return SERIES, [
        lambda x: layer()([x, layers.Dense(4)(x)]),
        lambda x: layer()([x, x]),
    ]


def numbers(x):
    """0, 1 or 2 for each number, which repeat."""
    return keras.ops.cast(x > 0, "int32") + keras.ops.cast(x > 1, "int32")


SAME = {"strides": 2, "padding": "same"}
DILATED = {"dilation_rate": 2}
LAYERS = {
    "Conv1D": of(
        layers.Conv1D,
        SERIES,
        {"filters": 3, "kernel_size": 3, **SAME},
        {"filters": 3, "kernel_size": 2, "padding": "causal", **DILATED},
    ),
    "Conv2D": of(
        layers.Conv2D,
        IMAGE,
        {"filters": 3, "kernel_size": 3, **SAME},
        {"filters": 3, "kernel_size": 3, **DILATED},
        {"filters": 4, "kernel_size": 3, "groups": 2},
        {"filters": 4, "kernel_size": 3, "groups": 2, **DILATED},
        {"filters": 4, "kernel_size": 3, "groups": 2, "trainable": False},
        {"filters": 4, "kernel_size": 3, "trainable": False, **SAME},
    ),
    "SeparableConv1D": of(
        layers.SeparableConv1D,
        SERIES,
        {"filters": 3, "kernel_size": 3, "depth_multiplier": 2},
        {"filters": 3, "kernel_size": 2, **DILATED},
    ),
    "SeparableConv2D": of(
        layers.SeparableConv2D,
        IMAGE,
        {"filters": 3, "kernel_size": 3, "depth_multiplier": 2, **SAME},
        {"filters": 3, "kernel_size": 2, **DILATED},
    ),
    "DepthwiseConv1D": of(
        layers.DepthwiseConv1D,
        SERIES,
        {"kernel_size": 3, "depth_multiplier": 2, **SAME},
        {"kernel_size": 2, **DILATED},
    ),
    "DepthwiseConv2D": of(
        layers.DepthwiseConv2D,
        IMAGE,
        {"kernel_size": 3, "depth_multiplier": 2, **SAME},
        {"kernel_size": 2, **DILATED},
    ),
    "Conv1DTranspose": of(
        layers.Conv1DTranspose,
        SERIES,
        {"filters": 3, "kernel_size": 3, **SAME},
        {"filters": 3, "kernel_size": 3},
    ),
    "Conv2DTranspose": of(
        layers.Conv2DTranspose,
        IMAGE,
        {"filters": 3, "kernel_size": 3, "output_padding": 1, **SAME},
        {"filters": 3, "kernel_size": 2, "strides": 3},
        {"filters": 3, "kernel_size": 3},
    ),
    "Dense": of(layers.Dense, SERIES, {"units": 5, "activation": "relu"}),
    "Embedding": (
        SERIES,
        [
            lambda x: layers.Concatenate()(
                [x, layers.Embedding(3, 4)(numbers(x))[:, :, 0]]
            )
        ],
    ),
    "EinsumDense": of(
        layers.EinsumDense,
        SERIES,
        {"equation": "abc,cd->abd", "output_shape": (6, 3), "bias_axes": "d"},
    ),
    "MaxPooling1D": pooling(layers.MaxPooling1D, SERIES),
    "MaxPooling2D": pooling(layers.MaxPooling2D, IMAGE),
    "AveragePooling1D": pooling(layers.AveragePooling1D, SERIES),
    "AveragePooling2D": pooling(layers.AveragePooling2D, IMAGE),
    "GlobalMaxPooling1D": of(layers.GlobalMaxPooling1D, SERIES),
    "GlobalMaxPooling2D": of(layers.GlobalMaxPooling2D, IMAGE),
    "GlobalAveragePooling1D": of(layers.GlobalAveragePooling1D, SERIES),
    "GlobalAveragePooling2D": of(
        layers.GlobalAveragePooling2D, IMAGE, {}, {"keepdims": True}
    ),
    "BatchNormalization": of(
        layers.BatchNormalization,
        IMAGE,
        {"momentum": 0.9},
        {"axis": 1},
        {"trainable": False},
    ),
    "LayerNormalization": of(
        layers.LayerNormalization, IMAGE, {}, {"axis": [1, 2, 3]}
    ),
    "GroupNormalization": of(layers.GroupNormalization, IMAGE, {"groups": 2}),
    "Activation": of(
        layers.Activation, SERIES, *({"activation": f} for f in FUNCTIONS)
    ),
    "ReLU": of(
        layers.ReLU,
        SERIES,
        {},
        {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2},
    ),
    "LeakyReLU": of(layers.LeakyReLU, SERIES),
    "PReLU": of(layers.PReLU, SERIES, {"alpha_initializer": "uniform"}),
    "ELU": of(layers.ELU, SERIES),
    "Softmax": of(layers.Softmax, SERIES),
    "ZeroPadding1D": of(layers.ZeroPadding1D, SERIES, {"padding": (1, 2)}),
    "ZeroPadding2D": of(
        layers.ZeroPadding2D, IMAGE, {"padding": ((1, 2), (0, 3))}
    ),
    "Cropping1D": of(layers.Cropping1D, SERIES, {"cropping": (1, 2)}),
    "Cropping2D": of(layers.Cropping2D, IMAGE, {"cropping": ((1, 2), (0, 3))}),
    "UpSampling1D": of(layers.UpSampling1D, SERIES),
    "UpSampling2D": of(
        layers.UpSampling2D,
        IMAGE,
        {},
        {"size": (3, 2), "interpolation": "bilinear"},
    ),
    "Flatten": of(layers.Flatten, IMAGE),
    "Reshape": of(layers.Reshape, IMAGE, {"target_shape": (4, 12, 4)}),
    "Permute": of(layers.Permute, IMAGE, {"dims": (2, 3, 1)}),
    "RepeatVector": (
        SERIES,
        [lambda x: layers.RepeatVector(3)(layers.Flatten()(x))],
    ),
    "Rescaling": of(layers.Rescaling, IMAGE, {"scale": 2.0, "offset": 1.0}),
    "Add": merge(layers.Add),
    "Subtract": merge(layers.Subtract),
    "Multiply": merge(layers.Multiply),
    "Average": merge(layers.Average),
    "Maximum": merge(layers.Maximum),
    "Minimum": merge(layers.Minimum),
    "Concatenate": merge(layers.Concatenate),
    "Attention": (
        SERIES,
        [
            lambda x: layers.Attention()([x, x]),
            lambda x: layers.Attention(True, "concat")([x, x]),
        ],
    ),
    "AdditiveAttention": (
        SERIES,
        [lambda x: layers.AdditiveAttention()([x, x])],
    ),
    "MultiHeadAttention": (
        SERIES,
        [
            lambda x: layers.MultiHeadAttention(2, 3)(x, x),
            lambda x: layers.MultiHeadAttention(2, 3)(
                x, x, use_causal_mask=True
            ),
        ],
    ),
    "GroupQueryAttention": (
        SERIES,
        [lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x)],
    ),
    "SimpleRNN": of(layers.SimpleRNN, SERIES, {"units": 3, "unroll": True}),
    "LSTM": of(
        layers.LSTM,
        SERIES,
        {"units": 3, "unroll": True, "return_sequences": True},
    ),
    "GRU": of(
        layers.GRU,
        SERIES,
        {"units": 3, "unroll": True, "go_backwards": True},
        {"units": 3, "unroll": True, "reset_after": False},
    ),
    "Bidirectional": (
        SERIES,
        [lambda x: layers.Bidirectional(layers.GRU(3, unroll=True))(x)],
    ),
    "Dropout": of(layers.Dropout, IMAGE, {"rate": 0.5}),
    "SpatialDropout1D": (
        IMAGE,
        [lambda x: layers.SpatialDropout1D(0.5)(layers.Reshape((48, 4))(x))],
    ),
    "SpatialDropout2D": of(layers.SpatialDropout2D, IMAGE, {"rate": 0.5}),
}

# What is trained together: a model for each layer would be traced and
# converted 57 times.
GROUPS = {
    "convolutions 1D": (
        *("Conv1D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose"),
    ),
    "Conv2D": ("Conv2D",),
    "convolutions 2D": (
        *("SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose"),
    ),
    "pooling 1D": (
        *("MaxPooling1D", "AveragePooling1D"),
        *("GlobalMaxPooling1D", "GlobalAveragePooling1D"),
    ),
    "pooling 2D": (
        *("MaxPooling2D", "AveragePooling2D"),
        *("GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    ),
    "normalizations": (
        *("BatchNormalization", "LayerNormalization", "GroupNormalization"),
    ),
    "Activation": ("Activation",),
    "units": (
        *("Dense", "Embedding", "EinsumDense", "ReLU", "LeakyReLU", "PReLU"),
        *("ELU", "Softmax"),
    ),
    "shapes 1D": (
        *("ZeroPadding1D", "Cropping1D", "UpSampling1D", "RepeatVector"),
    ),
    "shapes 2D": (
        *("ZeroPadding2D", "Cropping2D", "UpSampling2D", "Flatten", "Reshape"),
        *("Permute", "Rescaling"),
    ),
    "merges": (
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
        "Concatenate",
    ),
    "attention": (
        *("Attention", "AdditiveAttention", "MultiHeadAttention"),
        "GroupQueryAttention",
    ),
    "recurrent": ("SimpleRNN", "LSTM", "GRU", "Bidirectional"),
    "random": RANDOM,
}


def client_of(names):
    """A client whose head has all variants of some layers side by side.

    Each comes behind a layer that is trained, so that the gradient of its
    inputs counts too; that one is named after it.
    """
    (shape,) = {LAYERS[name][0] for name in names}
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    ends = [
        layers.Flatten()(
            variant(layers.Dense(shape[-1], name=f"to_{name}_{i}")(inputs))
        )
        for name in names
        for i, variant in enumerate(LAYERS[name][1])
    ]
    x = layers.Concatenate(name="a")(ends)
    x = layers.Dense(4, name="b")(x)
    x = layers.Dense(3, activation="softmax")(x)
    client, _ = keras_split.compile(
        keras.Model(inputs, x), ["a", "b"], quantization="float32"
    )
    client.compile(
        keras.optimizers.SGD(RATE, momentum=0.9),
        "sparse_categorical_crossentropy",
        run_eagerly=names == RANDOM,
    )
    return client


def masks_of_the_phone(client, count, step):
    batch = Batch(count, tf.constant(count), tf.constant(step))
    return layer_overrides(client.head, batch)


def listed():
    """The layers in the rows of the page's first table."""
    rows = re.findall(r"^\| layers.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    return re.findall(r"`([A-Z]\w+)`", " ".join(rows))


def test_the_page_lists_what_is_tested():
    assert sorted(listed()) == sorted(LAYERS)
    assert sorted(LAYERS) == sorted(sum(GROUPS.values(), ()))


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_layers_train_on_the_phone_as_in_keras(group, tmp_path):
    rng = np.random.default_rng(0)
    names = GROUPS[group]
    shape, _ = LAYERS[names[0]]
    batches = [
        (
            rng.normal(size=(count, *shape)).astype("float32"),
            rng.integers(0, 3, count).astype("int32"),
        )
        for count in ROWS
    ]
    client, other = client_of(names), client_of(names)
    other.export(tmp_path / "client.tflite", batch_size=SIZE)
    other.connect()
    phone = Phone(tmp_path / "client.tflite", other.strategy)

    before = [v.numpy() for v in client.variables]
    losses = []
    for step, (x, y) in enumerate(batches):
        swapped = contextlib.nullcontext()
        if names == RANDOM:  # Keras would draw other masks
            swapped = masks_of_the_phone(client, len(x), step)
        with swapped:
            losses.append(np.ravel(client.train_on_batch(x, y))[0])
    found = [phone.step([x], [y], rate=RATE)["loss"] for x, y in batches]

    np.testing.assert_allclose(found, losses, rtol=1e-5)
    state = {path: value for (path, _), value in phone.state().items()}
    pairs = zip(other.variables, client.variables, before, strict=True)
    compared = 0
    for variable, trained, old in pairs:
        if variable.path not in state:
            continue
        largest = np.abs(trained.numpy() - old).max()
        # A bias in front of a normalization has a gradient of 0.
        bound = max(1e-4 * largest, 2e-6)
        error = np.abs(state[variable.path] - trained.numpy()).max()
        assert error <= bound, variable.path
        compared += 1
    assert compared == len(state) > 2 * len(names)
