import keras
import numpy as np
import pytest

import keras_split
from keras_split import Partition
from keras_split import add_bottlenecks
from keras_split.errors import CutError
from keras_split.errors import QuantizationError
from tests import nets

LOSS = "sparse_categorical_crossentropy"
FIT = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}


def crossing(partition):
    return [t.shape for t in partition.smashed + partition.features]


@pytest.mark.parametrize(
    ("build", "cut", "shapes"),
    [
        (nets.plain, ["a_relu", "b_drop"], [(6, 6, 2), (4, 4, 3)]),
        (nets.dense, ["a", "b"], [(2,), (3,)]),
        (nets.unet, ["pool1", "up1"], [(4, 4, 1), (8, 8, 2)]),
        (nets.residual, ["inner", "sum"], [(8, 8, 2), (8, 8, 2), (8, 8, 2)]),
        (nets.transfer, ["base/relu1", "pool"], [(6, 6, 2), (2,)]),
        (nets.two_by_two, ["a", "b"], [(6, 6, 1), (4, 4, 1)]),
    ],
)
def test_so_many_times_fewer_channels_cross(build, cut, shapes):
    model = build()

    slim, narrow = add_bottlenecks(model, cut, 2)

    assert crossing(Partition(slim, narrow)) == shapes
    ours = {id(v) for v in slim.variables}
    assert all(id(v) in ours for v in model.variables)
    assert [t.name for t in slim.inputs] == [t.name for t in model.inputs]


def test_what_stays_on_the_phone_is_as_wide_as_before():
    model = nets.unet()

    partition = Partition(*add_bottlenecks(model, ["pool1", "up1"], 2))

    assert [t.shape for t in partition.skips] == [(8, 8, 3)]


def test_a_model_that_is_cut_once_has_one_bottleneck():
    model = nets.plain()

    partition = Partition(*add_bottlenecks(model, ["a_relu"], 4))

    assert crossing(partition) == [(6, 6, 1), (3,)]


def test_outputs_keep_their_names_and_structure():
    slim, cut = add_bottlenecks(nets.two_by_two(), ["a", "flat"], 2)
    x = nets.random_inputs(slim)

    assert {k: v.shape[1:] for k, v in slim(x).items()} == {
        "kind": (3,),
        "size": (1,),
    }
    client, _ = keras_split.compile(slim, cut)
    client.connect()
    assert set(client(x)) == {"kind", "size"}


def test_both_sides_start_with_the_same_weights():
    def weights():
        keras.backend.clear_session()
        model = nets.built(nets.plain)
        keras.utils.set_random_seed(np.random.randint(1000))
        slim, _ = add_bottlenecks(model, ["a_relu", "b_drop"], 2)
        return nets.values_of(slim)

    assert nets.largest_difference(weights(), weights()) == 0


@pytest.mark.slow
def test_split_equals_whole_with_bottlenecks():
    x, y = nets.images()
    slim, cut = add_bottlenecks(nets.built(nets.plain), ["a_relu", "b_drop"], 2)
    whole, _ = add_bottlenecks(nets.built(nets.plain), ["a_relu", "b_drop"], 2)
    client, _ = keras_split.compile(slim, cut, quantization="float32")
    for model in (client, whole):
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), LOSS)

    client.fit(x, y, **FIT)
    whole.fit(x, y, **FIT)

    difference = nets.largest_difference(
        nets.values_of(slim), nets.values_of(whole)
    )
    assert difference <= 1e-5


@pytest.mark.parametrize(
    ("quantization", "options", "channels", "codec"),
    [
        ("int8", {}, 4, "raw"),
        ("int8", {"bottleneck": 2}, 2, "raw"),
        ("balanced", {}, 4, "zstd"),
        ("small", {}, 1, "zstd"),
        ("small", {"bottleneck": 1, "codec": "raw"}, 4, "raw"),
        ("tiny", {}, 1, "zstd"),
    ],
)
def test_compile_knows_presets_and_what_overrides_them(
    quantization, options, channels, codec
):
    client, _ = keras_split.compile(
        nets.plain(), ["a_relu", "b_drop"], quantization=quantization, **options
    )

    assert client.contract.smashed[0].shape == (6, 6, channels)
    assert client.contract.codec == codec


def test_both_halves_train_the_layers_of_the_model():
    model = nets.built(nets.plain)
    model.compile("sgd", LOSS)
    before = nets.values_of(model)
    client, _ = keras_split.compile(
        model, ["a_relu", "b_drop"], quantization="small"
    )

    client.fit(*nets.images(), **FIT)

    kernels = [i for i, v in enumerate(before) if v.ndim > 1]
    after = nets.values_of(model)
    assert all((before[i] != after[i]).any() for i in kernels)


def test_halves_survive_saving_and_loading(tmp_path):
    client, server = keras_split.compile(
        nets.built(nets.plain), ["a_relu", "b_drop"], quantization="small"
    )
    expected = client.predict(nets.images()[0], verbose=0)
    client.save(tmp_path / "client.keras")
    server.save(tmp_path / "server.keras")

    phone = keras_split.load_model(tmp_path / "client.keras")
    other = keras_split.load_model(tmp_path / "server.keras")

    with other.serve(port=0) as listener:
        phone.compile(
            "sgd",
            LOSS,
            strategy=keras_split.SplitStrategy(f"grpc://{listener.target}"),
        )
        actual = phone.predict(nets.images()[0], verbose=0)
        phone.close()
    np.testing.assert_array_equal(actual, expected)


def test_a_cut_that_cannot_be_and_a_ratio_of_zero_are_refused():
    with pytest.raises(CutError, match="nope"):
        add_bottlenecks(nets.plain(), ["nope", "b_drop"], 2)
    with pytest.raises(QuantizationError, match="Received: 0"):
        keras_split.compile(nets.plain(), ["a_relu", "b_drop"], bottleneck=0)
