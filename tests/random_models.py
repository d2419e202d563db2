"""Random functional models, random data for them, and random cuts.

Everything follows from a seed. The models are tiny, and as odd as Keras
allows: nested and called by name, with shared layers, masks, regularizers,
dtype policies, states, and inputs and outputs in any structure.
"""

import random

import keras
import numpy as np
from keras import layers
from keras import ops

from keras_split.partition.graph import Graph

ROWS = 4
STEPS = 2
WIDTHS = (2, 3)
TIME = 3


class Moving(layers.Layer):
    """Multiplies with a number that moves while it trains."""

    def __init__(self, listed=True, trainable=False, **kwargs):
        super().__init__(**kwargs)
        number = keras.Variable(
            1.0, trainable=trainable, dtype="float32", name="number"
        )
        if listed:
            self.number = number
        else:
            vars(self)["number"] = number

    def call(self, x, training=False):
        if training:
            self.number.assign(self.number * 1.1)
        return x * ops.cast(self.number, x.dtype)


class Doubled(keras.Model):
    """A nested model with code of its own."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class Builder:
    """Makes one model.

    Args:
        seed: Says which.
        batch: Rows of a batch, for a model that must know them.
    """

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.count = 0
        self.batch = ROWS if self.chance(0.1) else None
        self.inputs = []
        self.pool = []
        self.shared = []

    def chance(self, p):
        return self.rng.random() < p

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def width(self):
        return self.rng.choice(WIDTHS)

    # -- inputs ------------------------------------------------------------

    def input(self):
        kind = self.rng.choice(["vector", "vector", "series", "words"])
        shape = {
            "vector": (self.width(),),
            "series": (TIME, self.width()),
            "words": (TIME,),
        }[kind]
        x = keras.Input(
            batch_shape=(self.batch, *shape),
            dtype="int32" if kind == "words" else "float32",
            name=self.name(self.rng.choice(["z", "m", "a"])),
        )
        self.inputs.append(x)
        if kind == "words":
            x = layers.Embedding(
                5,
                self.width(),
                mask_zero=self.chance(0.5),
                name=self.name("words"),
            )(x)
        self.pool.append(x)

    def structure(self, tensors):
        """The tensors bare, in a list, or in a dict by some keys."""
        kind = self.rng.choice(["list", "tuple", "dict", "keys"])
        if len(tensors) == 1 and self.chance(0.6):
            return tensors[0]
        if kind in ("list", "tuple"):
            return {"list": list, "tuple": tuple}[kind](tensors)
        keys = [tensor.name for tensor in tensors]
        if kind == "keys":
            keys = [f"k{i}" for i in range(len(tensors))]
            self.rng.shuffle(keys)
        return dict(zip(keys, tensors, strict=True))

    # -- layers ------------------------------------------------------------

    def pick(self, rank=None):
        """One of the tensors, of the latest most often."""
        fitting = [t for t in self.pool if rank in (None, len(t.shape))]
        if not fitting:
            return None
        late = fitting[-2:] if self.chance(0.8) else fitting
        return self.rng.choice(late)

    def dense(self, x, width=None):
        options = {}
        if self.chance(0.3):
            options["kernel_regularizer"] = "l2"
        if self.chance(0.15):
            options["activity_regularizer"] = "l2"
        if self.chance(0.15):
            options["dtype"] = self.rng.choice(["float64", "mixed_bfloat16"])
        layer = layers.Dense(
            width or self.width(),
            activation=self.rng.choice(["tanh", "linear", "sigmoid"]),
            name=self.name("dense"),
            **options,
        )
        self.shared.append((layer, x.shape[-1]))
        return layer(x)

    def add(self):
        """One more tensor, of a random layer."""
        kind = self.rng.choices(*zip(*KINDS, strict=True))[0]
        made = kind(self)
        if made is not None:
            self.pool.append(made)

    def more_dense(self):
        return self.dense(self.pick())

    def plain(self):
        """A layer that keeps the shape."""
        seed = self.rng.randrange(99)
        make = self.rng.choice(
            [
                layers.BatchNormalization,
                layers.LayerNormalization,
                layers.ReLU,
                lambda name: layers.Dropout(0.3, seed=seed, name=name),
                lambda name: layers.GaussianNoise(0.1, seed=seed, name=name),
                lambda name: layers.ActivityRegularization(l2=0.1, name=name),
                lambda name: layers.Rescaling(0.5, name=name),
                Moving,
            ]
        )
        return make(name=self.name("plain"))(self.pick())

    def hidden(self):
        return Moving(listed=False, name=self.name("hidden"))(self.pick())

    def spectral(self):
        x = self.pick(2)
        if x is None:
            return None
        return layers.SpectralNormalization(
            layers.Dense(2), name=self.name("spectral")
        )(x)

    def operation(self):
        x = self.pick()
        return self.rng.choice(
            [
                ops.tanh,
                lambda x: 0.5 * x + 0.1,
                lambda x: x[..., :1],
                lambda x: ops.concatenate([x, x * x], axis=-1),
                lambda x: ops.flip(x, axis=-1),
            ]
        )(x)

    def again(self):
        """A layer that was called before."""
        x = self.pick()
        fitting = [layer for layer, w in self.shared if w == x.shape[-1]]
        return self.rng.choice(fitting)(x) if fitting else None

    def merge(self):
        rank = len(self.pick().shape)
        one, two = self.pick(rank), self.pick(rank)
        if self.chance(0.5):
            return layers.Concatenate(name=self.name("join"))([one, two])
        width = self.width()
        return layers.Add(name=self.name("sum"))(
            [self.dense(one, width), self.dense(two, width)]
        )

    def flatten(self):
        x = self.pick(3)
        if x is None:
            return None
        return self.rng.choice(
            [
                lambda: layers.Flatten(name=self.name("flat"))(x),
                lambda: layers.GlobalAveragePooling1D(name=self.name("mean"))(
                    x
                ),
                lambda: layers.SimpleRNN(2, unroll=True, name=self.name("rnn"))(
                    x
                ),
            ]
        )()

    def series(self):
        x = self.pick(3)
        if x is None:
            x = layers.RepeatVector(TIME, name=self.name("times"))(self.pick(2))
        if self.chance(0.3):
            return layers.Masking(name=self.name("masking"))(x)
        return layers.SimpleRNN(
            self.width(),
            return_sequences=True,
            unroll=True,
            stateful=self.batch is not None and self.chance(0.5),
            name=self.name("rnn"),
        )(x)

    def fold(self):
        """Time steps as if they were examples, and back."""
        x = self.pick(3)
        if x is None:
            return None
        width = x.shape[-1]
        x = self.dense(ops.reshape(x, (-1, width)), width)
        return ops.reshape(x, (-1, TIME * width))

    def nested(self):
        """A model inside, called by place or by name, maybe twice."""
        given = [self.pick(2) for _ in range(self.rng.choice([1, 2, 2]))]
        if None in given:
            return None
        inner = [
            keras.Input(t.shape[1:], name=self.name(self.rng.choice("za")))
            for t in given
        ]
        x = [self.dense(t, 2) for t in inner]
        x = x[0] - 2 * x[1] if x[1:] else x[0]
        if self.chance(0.5):
            x = layers.BatchNormalization(name=self.name("norm"))(x)
        for _ in inner:
            self.shared.pop()
        kind = Doubled if self.chance(0.15) else keras.Model
        names = [t.name for t in inner]
        structure = self.structure(inner)
        model = kind(structure, x, name=self.name("inner"))
        made = model(self.call_of(structure, names, given))
        if self.chance(0.2):
            made = made + model(self.call_of(structure, names, given[::-1]))
        return made

    def call_of(self, structure, names, given):
        """The ways in which Keras takes inputs."""
        by_name = dict(zip(names, given, strict=True))
        if isinstance(structure, dict):
            return {key: by_name[t.name] for key, t in structure.items()}
        if self.chance(0.5):
            return dict(self.rng.sample(list(by_name.items()), len(given)))
        return given if len(given) > 1 else given[0]

    # -- all of it ---------------------------------------------------------

    def build(self):
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            self.input()
        for _ in range(self.rng.randint(4, 9)):
            self.add()
        ends = [self.pool[-1]]
        if self.chance(0.3):
            ends.append(self.pick())
        ends = [
            layers.Dense(1, name=self.name("out"))(
                layers.Flatten(name=self.name("flat"))(end)
            )
            for end in ends
        ]
        reached = {id(t) for t in keras.Model(self.inputs, ends).inputs}
        inputs = [t for t in self.inputs if id(t) in reached]
        return keras.Model(self.structure(inputs), self.structure(ends))


KINDS = [
    (Builder.more_dense, 5),
    (Builder.plain, 5),
    (Builder.nested, 3),
    (Builder.merge, 3),
    (Builder.operation, 2),
    (Builder.again, 2),
    (Builder.series, 2),
    (Builder.flatten, 2),
    (Builder.fold, 0.5),
    (Builder.hidden, 0.5),
    (Builder.spectral, 0.2),
]


def build(seed):
    """The model of a seed, with the same weights at every call."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    return Builder(seed).build()


def data(model, seed):
    """Inputs and labels for `fit`, in the structures of the model."""
    rng = np.random.default_rng(seed)
    count = ROWS * STEPS

    def values(spec):
        if "int" in spec.dtype:
            return rng.integers(0, 5, (count, *spec.shape[1:]))
        return rng.normal(size=(count, *spec.shape[1:])).astype("float32")

    x = keras.tree.map_structure(values, model.input)
    y = keras.tree.map_structure(
        lambda t: rng.normal(size=(count, 1)).astype("float32"), model.output
    )
    return x, y


def cuts(model, seed, count):
    """Random cuts of a model: most are refused."""
    rng = random.Random(seed)
    paths = [call.path for call in Graph(model).calls]
    for _ in range(count):
        first, second = sorted(rng.sample(range(len(paths)), 2))
        kind = rng.random()
        if kind < 0.15:
            yield paths[first]
        elif kind < 0.3 and first:
            other = paths[rng.randrange(first)]
            yield [[other, paths[first]], paths[second]]
        else:
            yield [paths[first], paths[second]]
