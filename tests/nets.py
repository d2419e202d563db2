"""The smallest networks that show a point, and data that fits them.

Two calls of one builder behind `keras.utils.set_random_seed` give two equal
models, which is how tests compare a split model with an unsplit one.
"""

import keras
import numpy as np
from keras import layers


def plain():
    """BatchNorm, Dropout and L2 in each segment of `["a_relu", "b_drop"]`."""
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", name="a")(image)
    x = layers.BatchNormalization(name="a_bn")(x)
    x = layers.Dropout(0.3, seed=1, name="a_drop")(x)
    x = layers.ReLU(name="a_relu")(x)
    x = layers.Conv2D(6, 3, kernel_regularizer="l2", name="b")(x)
    x = layers.BatchNormalization(name="b_bn")(x)
    x = layers.ReLU(name="b_relu")(x)
    x = layers.Dropout(0.3, seed=2, name="b_drop")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(8, kernel_regularizer="l2", name="c")(x)
    x = layers.BatchNormalization(name="c_bn")(x)
    x = layers.Dropout(0.3, seed=3, name="c_drop")(x)
    x = layers.Dense(3, activation="softmax", name="out")(x)
    return keras.Model(image, x)


def smooth():
    """`plain` without a kink, where a last bit of a CPU decides on much.

    Nor with the step that BatchNormalization makes of a batch of two.
    """

    def smoothed(layer):
        if isinstance(layer, layers.ReLU):
            return layers.Activation("softplus", name=layer.name)
        config = layer.get_config()
        if isinstance(layer, layers.BatchNormalization):
            config["epsilon"] = 0.1
        return type(layer).from_config(config)

    return keras.models.clone_model(plain(), clone_function=smoothed)


def dense():
    """Three dense layers `a`, `b` and `c`: the smallest U shape."""
    x = values = keras.Input((4,), name="values")
    x = layers.Dense(5, activation="tanh", name="a")(x)
    x = layers.Dense(6, activation="tanh", name="b")(x)
    x = layers.Dense(3, activation="softmax", name="c")(x)
    return keras.Model(values, x)


def tied():
    """`twice` is in head and tail, as the embeddings of a language model."""
    twice = layers.Dense(
        4, activation="tanh", kernel_regularizer="l2", name="twice"
    )
    x = values = keras.Input((4,), name="values")
    x = layers.Dense(5, activation="tanh", name="a")(twice(x))
    x = layers.Dense(4, activation="tanh", name="b")(x)
    x = layers.Dense(3, activation="softmax", name="c")(twice(x))
    return keras.Model(values, x)


def unet():
    """Two skip connections; the outer one goes from head to tail."""
    image = keras.Input((8, 8, 1), name="image")
    down1 = layers.Conv2D(3, 3, padding="same", name="down1")(image)
    x = layers.MaxPooling2D(name="pool1")(down1)
    down2 = layers.Conv2D(4, 3, padding="same", name="down2")(x)
    x = layers.MaxPooling2D(name="pool2")(down2)
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="deep")(x)
    x = layers.UpSampling2D(name="up2")(x)
    x = layers.Concatenate(name="join2")([x, down2])
    x = layers.Conv2D(4, 3, padding="same", activation="tanh", name="mix2")(x)
    x = layers.UpSampling2D(name="up1")(x)
    x = layers.Concatenate(name="join1")([x, down1])
    x = layers.Conv2D(3, 3, padding="same", activation="tanh", name="mix1")(x)
    x = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    return keras.Model(image, x)


def residual():
    """A block `stem -> inner -> outer -> sum` with `stem -> sum` beside it."""
    image = keras.Input((8, 8, 2), name="image")
    stem = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    x = layers.Conv2D(4, 3, padding="same", name="inner")(stem)
    x = layers.BatchNormalization(name="inner_bn")(x)
    x = layers.ReLU(name="inner_relu")(x)
    x = layers.Conv2D(4, 3, padding="same", name="outer")(x)
    x = layers.Add(name="sum")([x, stem])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(3, activation="softmax", name="out")(x)
    return keras.Model(image, x)


def transfer():
    """A backbone as one nested model, with a classifier on top of it."""
    image = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, name="conv1")(image)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(4, 3, name="conv2")(x)
    x = layers.ReLU(name="relu2")(x)
    base = keras.Model(image, x, name="base")

    image = keras.Input((8, 8, 2), name="image")
    x = layers.Rescaling(0.5, name="scale")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(base(x))
    x = layers.Dense(5, activation="relu", name="hidden")(x)
    x = layers.Dense(3, activation="softmax", name="out")(x)
    return keras.Model(image, x)


def two_by_two():
    """Inputs `image` and `extra`, outputs `kind` and `size` in a dict.

    Only the tail reads `extra`.
    """
    image = keras.Input((8, 8, 1), name="image")
    extra = keras.Input((3,), name="extra")
    x = layers.Conv2D(3, 3, activation="relu", name="a")(image)
    x = layers.Conv2D(3, 3, activation="relu", name="b")(x)
    x = layers.Flatten(name="flat")(x)
    y = layers.Dense(4, activation="tanh", name="wide")(extra)
    x = layers.Concatenate(name="join")([x, y])
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    size = layers.Dense(1, name="size")(x)
    return keras.Model([image, extra], {"kind": kind, "size": size})


def masked(length=10):
    """Attention between `a` and `b` that reads the input `padding_mask`."""
    ids = keras.Input((length,), dtype="int32", name="token_ids")
    mask = keras.Input((length,), dtype="int32", name="padding_mask")
    x = layers.Embedding(12, 4, name="embed")(ids)
    x = layers.Dense(4, activation="tanh", name="a")(x)
    keep = keras.ops.cast(mask, "bool")
    attend = layers.MultiHeadAttention(1, 4, name="attend")
    y = attend(x, x, attention_mask=keras.ops.expand_dims(keep, 1))
    x = layers.Dense(4, activation="tanh", name="b")(x + y)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(3, activation="softmax", name="c")(x)
    return keras.Model({"token_ids": ids, "padding_mask": mask}, x)


def two_branches():
    """Two ways through `["left2", "right2"]`, joined behind it."""
    image = keras.Input((8, 8, 1))
    ends = []
    for side in ("left", "right"):
        x = layers.Conv2D(2, 3, name=f"{side}1")(image)
        x = layers.Conv2D(3, 3, name=f"{side}2")(x)
        ends.append(layers.Conv2D(2, 3, name=f"{side}3")(x))
    x = layers.Concatenate(name="join")(ends)
    return keras.Model(image, layers.Flatten(name="flat")(x))


def texts(count=14, length=10, classes=3):
    """Tokens of uneven lengths, their padding masks, and classes."""
    rng = np.random.default_rng(0)
    mask = np.arange(length) < rng.integers(1, length + 1, (count, 1))
    ids = rng.integers(1, 12, (count, length)) * mask
    x = {"token_ids": ids.astype("int32"), "padding_mask": mask.astype("int32")}
    return x, rng.integers(0, classes, count)


def built(build, seed=0):
    """A model with the same weights and seeds at every call."""
    keras.utils.set_random_seed(seed)
    return build()


def images(count=26, channels=2, classes=3):
    """Random images of 8x8 pixels and labels that depend on them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 8, 8, channels)).astype("float32")
    order = np.argsort(np.argsort(x.mean(axis=(1, 2, 3))))
    return x, (order * classes // count).astype("int32")


def vectors(count=26, size=4, classes=3):
    """Random vectors and labels that depend on them."""
    x, y = images(count, 2, classes)
    return x.reshape(count, -1)[:, :size], y


def values_of(model):
    """A copy of each variable: weights, statistics and seeds."""
    return [np.array(v.numpy()) for v in model.variables]


def largest_difference(one, other):
    """The largest difference between two lists of arrays."""
    return max(
        float(np.abs(a.astype("float64") - b.astype("float64")).max())
        for a, b in zip(one, other, strict=True)
    )


def run(partition, inputs):
    """Outputs of head, body and tail, one behind the other."""
    made = dict(zip(partition.graph.inputs, inputs, strict=True))
    for part in (partition.head, partition.body, partition.tail):
        if part is not None:
            outputs = part.model([made[t] for t in part.inputs])
            flat = keras.tree.flatten(outputs)
            made.update(zip(part.outputs, flat, strict=True))
    return [np.array(made[t]) for t in partition.graph.outputs]


def random_inputs(model, count=4):
    """Random values for each input of a model."""
    rng = np.random.default_rng(0)
    return [
        keras.ops.convert_to_tensor(
            rng.normal(size=(count, *spec.shape[1:])), spec.dtype
        )
        for spec in model.inputs
    ]


def assert_equals_whole(model, partition):
    """Head, body and tail, one behind the other, give what `model` gives."""
    inputs = random_inputs(model)

    made = run(partition, inputs)

    expected = keras.tree.flatten(model(inputs if inputs[1:] else inputs[0]))
    for actual, wanted in zip(made, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)
