"""Two halves of a model become one ordinary Keras model again."""

import logging
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.protocol.moment import Moment
from tests import nets

RUN, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
OPTIONS = {"batch_size": 8, "verbose": 0}


def split(build, cut, **options):
    return keras_split.compile(
        nets.built(build), cut, **{"quantization": "float32"} | options
    )


def through_files(client, server, folder):
    """The halves as another process would find them."""
    client.save(folder / "client.keras")
    server.save(folder / "server.keras")
    return [
        keras_split.load_model(folder / f"{name}.keras")
        for name in ("client", "server")
    ]


def shared():
    """A layer that head and tail call, and a nested model that both call."""
    image = keras.Input((4,), name="values")
    twice = layers.Dense(4, name="twice")
    inside = keras.Input((4,))
    nest = keras.Model(inside, layers.Dense(4, name="deep")(inside), name="n")
    x = layers.Activation("tanh", name="a")(nest(twice(image)))
    x = layers.Dense(4, name="b")(x)
    return keras.Model(image, layers.Dense(2, name="c")(nest(twice(x))))


def beside():
    """A layer of a nested model that is called outside of it as well."""
    inside = keras.Input((4,))
    both = layers.Dense(4, name="both")
    nest = keras.Model(inside, layers.ReLU()(both(inside)), name="nest")
    image = keras.Input((4,), name="values")
    x = layers.Dense(4, name="a")(nest(image))
    x = layers.Dense(4, name="b")(x)
    return keras.Model(image, layers.Dense(2, name="c")(both(x)))


def crossed_names():
    """Two nested models, cut inside, whose layers have the same names."""
    x = image = keras.Input((4,), name="values")
    for name in ("one", "two"):
        inside = keras.Input((4,))
        y = layers.Dense(4, activation="tanh", name="first")(inside)
        y = layers.Dense(4, name="second")(y)
        x = keras.Model(inside, y, name=name)(x)
    return keras.Model(image, x)


def odd_ends():
    """Inputs in a dict, one that nobody reads; outputs made in a model."""
    one, two = keras.Input((4,), name="one"), keras.Input((2,), name="two")
    idle = keras.Input((7,), dtype="int32", name="idle")
    x = layers.Dense(4, name="a")(one)
    x = layers.Dense(4, activation="tanh", name="b")(x)
    inside = keras.Input((4,))
    y = layers.Dense(3, name="c1")(inside)
    kind = keras.Model(inside, layers.Dense(3, name="c2")(y), name="kind")(x)
    size = layers.Dense(1, name="size")(
        layers.Concatenate(name="all")([x, two])
    )
    return keras.Model({"p": one, "q": two, "r": idle}, [kind, size])


def normalized():
    x = values = keras.Input((4,), name="values")
    norm = layers.Normalization(name="norm")
    norm.adapt(np.arange(40.0).reshape(10, 4))
    for name in ("a", "b", "c"):
        x = layers.Dense(3, name=name)(norm(x) if name == "a" else x)
    return keras.Model(values, x)


VECTORS = nets.vectors()[0]
IMAGES = nets.images()[0]
GRAY = nets.images(channels=1)[0]
EXTRA = VECTORS[:, :3]


@pytest.mark.parametrize(
    ("build", "cut", "x"),
    [
        pytest.param(
            nets.plain, ["a_relu", "b_drop"], IMAGES, marks=pytest.mark.slow
        ),
        (nets.plain, ["b_relu"], IMAGES),
        pytest.param(
            nets.unet, ["pool1", "mix2"], GRAY, marks=pytest.mark.slow
        ),
        pytest.param(
            nets.residual,
            ["inner", "inner_relu"],
            IMAGES,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            nets.transfer,
            ["base/bn1", "hidden"],
            IMAGES,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            nets.two_by_two, ["a", "b"], [GRAY, EXTRA], marks=pytest.mark.slow
        ),
        (shared, ["a", "b"], VECTORS),
        (beside, ["a", "b"], VECTORS),
        pytest.param(
            *(crossed_names, ["one/first", "two/first"], VECTORS),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(normalized, ["a", "b"], VECTORS), marks=pytest.mark.slow
        ),
        (
            odd_ends,
            ["a", "b"],
            {
                "p": VECTORS,
                "q": VECTORS[:, :2],
                "r": np.zeros((len(VECTORS), 7), "int32"),
            },
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_the_whole_predicts_as_the_client(build, cut, x, tmp_path):
    client, server = split(build, cut)
    for half in (client, server):  # as after a training
        for variable in half.trainable_variables:
            variable.assign(variable + 0.1)
    client.compile(loss="mse")
    client.optimizer.build(client.trainable_variables)
    model = nets.built(build)
    expected = client.predict(x, **OPTIONS)
    names = [
        layer.name for layer in model.layers if not hasattr(layer, "layers")
    ]

    found = [(client, server)]
    if build is not beside:  # Keras itself cannot load such a head
        found.append(through_files(client, server, tmp_path))
    for halves in found:
        whole = keras_split.join(*halves)

        same(whole.predict(x, **OPTIONS), expected)
        assert whole.count_params() == model.count_params()
        assert [t.name for t in whole.inputs] == [t.name for t in model.inputs]
        assert whole.output_names == model.output_names
        assert set(names) <= {layer.name for layer in whole.layers}
        whole.save(tmp_path / "whole.keras")
        loaded = keras.saving.load_model(tmp_path / "whole.keras")
        same(loaded.predict(x, **OPTIONS), expected)
        assert loaded.output_names == model.output_names
        assert b"keras_split" not in config_of(tmp_path / "whole.keras")


def same(actual, expected):
    keras.tree.assert_same_structure(actual, expected)
    for one, two in zip(
        keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def config_of(path):
    return zipfile.ZipFile(path).read("config.json")


def test_a_nested_model_that_no_cut_opened_stays_one():
    whole = keras_split.join(*split(nets.transfer, ["hidden"]))

    assert isinstance(whole.get_layer("base"), keras.Model)


def test_a_nested_model_beside_bottlenecks_stays_one():
    whole = keras_split.join(*split(nets.transfer, ["hidden"], bottleneck=2))

    assert isinstance(whole.get_layer("base"), keras.Model)
    assert whole.get_layer("hidden_code")
    assert whole.output_names == ["out"]


def test_the_output_of_a_sequential_model_is_that_of_its_last_layer():
    model = keras.Sequential([keras.Input((4,))])
    for name in ("a", "b", "c"):
        model.add(layers.Dense(3, name=name))

    whole = keras_split.join(
        *keras_split.compile(model, ["a", "b"], bottleneck=2)
    )

    assert whole.output_names == ["c"]
    assert [layer.name for layer in whole.layers[1:]] == [
        *("a", "a_code", "a_decoder", "b", "b_code", "b_decoder", "c")
    ]


def test_what_head_and_tail_share_is_one_layer_of_the_whole():
    whole = keras_split.join(*split(shared, ["a", "b"]))

    assert len(whole.trainable_variables) == 8
    assert isinstance(whole.get_layer("n"), keras.Model)


def level():
    """Weight decay and statistics in each part."""
    x = values = keras.Input((4,), name="values")
    for name in ("a", "b", "c"):
        x = layers.Dense(3, kernel_regularizer="l2", name=name)(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.Model(values, layers.Softmax(name="out")(x))


@pytest.fixture(scope="module")
def small():
    """A client and a server that were trained, with layers at the cut."""
    x, y = nets.vectors()
    model = nets.built(level)
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    client, server = keras_split.compile(
        model, ["a_bn", "b_bn"], quantization="float32", bottleneck=2
    )
    client.fit(x, y, epochs=2, batch_size=8, verbose=0)
    return client, server


def test_bottlenecks_are_layers_of_the_whole_which_evaluates_alike(small):
    x, y = nets.vectors()
    client, server = small

    whole = keras_split.join(client, server)

    names = {layer.name for layer in level().layers}
    assert names | {"a_bn_code"} <= {layer.name for layer in whole.layers}
    expected = client.evaluate(x, y, return_dict=True, **OPTIONS)
    actual = whole.evaluate(x, y, return_dict=True, **OPTIONS)
    assert actual == pytest.approx(expected, rel=1e-5)


def test_training_the_whole_moves_neither_half(small):
    x, y = nets.vectors()
    client, server = small
    before = nets.values_of(client) + nets.values_of(server)
    steps = int(client.optimizer.iterations)

    whole = keras_split.join(client, server)
    whole.fit(x, y, **OPTIONS)

    after = nets.values_of(client) + nets.values_of(server)
    assert nets.largest_difference(before, after) == 0
    assert isinstance(whole.optimizer, keras.optimizers.Adam)
    assert float(whole.optimizer.learning_rate) == pytest.approx(0.01)
    assert int(whole.optimizer.iterations) == 4
    assert int(keras_split.join(client, server).optimizer.iterations) == 0
    assert int(client.optimizer.iterations) == steps


def test_weights_that_do_not_decay_are_those_of_the_whole():
    model = nets.built(nets.dense)
    optimizer = keras.optimizers.AdamW(0.01)
    optimizer.exclude_from_weight_decay([model.get_layer("b").kernel])
    model.compile(optimizer, "mse")
    client, server = keras_split.compile(model, ["a", "b"])

    whole = keras_split.join(client, server)

    decays = keras_split.utils.keras_private.decays
    assert [decays(whole.optimizer, v) for v in whole.trainable_variables] == [
        "b/kernel" not in v.path for v in whole.trainable_variables
    ]


@pytest.mark.slow
def test_a_process_without_keras_split_loads_the_whole(small, tmp_path):
    x, y = nets.vectors()
    whole = keras_split.join(*small)
    whole.save(tmp_path / "whole.keras")
    np.savez(tmp_path / "x.npz", x=x, expected=whole.predict(x, verbose=0))
    program = (
        "import sys, keras, numpy as np;"
        "a = np.load('x.npz');"
        "whole = keras.saving.load_model('whole.keras');"
        "made = whole.predict(a['x'], verbose=0);"
        "assert np.allclose(made, a['expected'], atol=1e-6);"
        "assert whole.get_compile_config()['metrics'] == ['accuracy'];"
        "assert 'keras_split' not in sys.modules"
    )

    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        cwd=tmp_path,
        check=True,
        env=os.environ | {"PYTHONPATH": ""},
    )


# -- what is refused ---------------------------------------------------------


def test_halves_of_other_cuts_are_refused_whatever_is_said():
    client, _ = split(nets.plain, ["a_relu", "b_drop"])
    _, server = split(nets.plain, ["a_relu", "flat"])

    with pytest.raises(DataError, match="(?s)Expected.*flat.*b_drop.*take the"):
        keras_split.join(client, server, anyway=True)


def test_two_of_a_kind_are_refused():
    client, server = split(nets.dense, ["a", "b"])

    with pytest.raises(OptionError, match="the client is a ServerModel"):
        keras_split.join(server, client)
    with pytest.raises(OptionError, match="the server is a Functional"):
        keras_split.join(client, server.body)


@pytest.mark.parametrize(
    ("mine", "theirs", "says"),
    [
        (Moment(RUN, 7), Moment(OTHER, 7), "run 01234567, step 7.*fedcba98"),
        (Moment(RUN, 7), Moment(RUN, 9), "The client is 2 steps behind"),
        (Moment(RUN, 1_010), Moment(RUN, 1_009), "server is 1 step behind"),
        (Moment(), Moment(RUN, 9), "client that was never trained"),
        (Moment(RUN, 9), Moment(), "server that was never trained"),
    ],
)
def test_halves_of_two_moments_are_refused_unless_they_are_wanted(
    mine, theirs, says, caplog
):
    client, server = split(nets.dense, ["a", "b"])
    client.moment, server.moment = mine, theirs

    with pytest.raises(DataError, match=f"(?s)Expected.*{says}.*anyway=True"):
        keras_split.join(client, server)
    with caplog.at_level(logging.WARNING, "keras_split"):
        keras_split.join(client, server, anyway=True)

    assert says.split(".*")[0] in caplog.text


def test_a_body_that_was_saved_before_the_last_epoch_is_refused(tmp_path):
    x, y = nets.vectors()
    client, server = split(nets.dense, ["a", "b"])
    client.compile("sgd", "sparse_categorical_crossentropy")
    client.fit(x, y, **OPTIONS)
    server.save(tmp_path / "server.keras")
    early = keras_split.load_model(tmp_path / "server.keras")
    assert keras_split.join(client, early)

    client.fit(x, y, **OPTIONS)

    with pytest.raises(DataError, match="The server is 4 steps behind"):
        keras_split.join(client, early)


def test_halves_of_one_moment_are_joined():
    client, server = split(nets.dense, ["a", "b"])
    client.moment = Moment(RUN, 9)
    server.moment = replace(client.moment)

    assert keras_split.join(client, server).count_params()


def test_a_layer_that_keras_cannot_bring_back_is_named():
    def bent(x):
        return keras.ops.tanh(x)

    model = keras.Sequential([keras.Input((4,))])
    for name in ("a", "b", "c"):
        model.add(layers.Dense(3, activation=bent, name=name))
    client, server = keras_split.compile(model, ["a", "b"])

    with pytest.raises(DataError, match="(?s)the head.*bent.*register_keras"):
        keras_split.join(client, server)
