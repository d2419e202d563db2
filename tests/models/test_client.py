"""Whatever Keras' `fit` can do, it does the same with a split model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import TransportError
from keras_split.models import ClientModel
from keras_split.models import ServerModel
from tests import nets
from tests.pair import LOSS
from tests.pair import Pair
from tests.pair import assert_fits_alike
from tests.pair import assert_same_logs
from tests.pair import sgd

CUT = ["a_relu", "b_drop"]


def plain(cut=CUT, prepare=None):
    """A pair with BatchNorm, Dropout and L2 in each segment."""
    return Pair(nets.plain, cut, prepare)


def examples():
    """26 vectors, labels, and weights of 0 to 2."""
    x, y = nets.vectors()
    return x, y, np.linspace(0, 2, len(x), dtype="float32")


def targets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 4)), rng.normal(size=(20, 5))


# -- data --------------------------------------------------------------------


@pytest.fixture(scope="module")
def traced():
    """A pair that keeps the graphs of the tests before."""
    pair = Pair().compile(
        lambda: keras.optimizers.SGD(0.1),
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    return pair, nets.values_of(pair.model)


@pytest.fixture
def pair(traced):
    """That pair as it was built: SGD without momentum keeps nothing else."""
    pair, values = traced
    for model in (pair.whole, pair.model):
        for variable, value in zip(model.variables, values, strict=True):
            variable.assign(value)
    return pair


def test_sample_weights(pair):
    x, y, weights = examples()

    assert_fits_alike(pair, lambda: (x, y), sample_weight=weights, batch_size=8)


def test_class_weights(pair):
    assert_fits_alike(pair, class_weight={0: 1.0, 1: 0.5, 2: 3.0})


def test_validation_data(pair):
    x, y = nets.vectors()

    assert_fits_alike(pair, validation_data=(x[:7], y[:7]), batch_size=5)


def test_validation_split(pair):
    assert_fits_alike(pair, validation_split=0.25)


def test_shuffled_batches(pair):
    x, y = nets.vectors()

    for model in (pair.whole, pair.client):
        keras.utils.set_random_seed(3)
        model.fit(x, y, batch_size=8, verbose=0)

    assert pair.difference() <= 1e-6


def test_tf_data(pair):
    def make():
        data = tf.data.Dataset.from_tensor_slices(nets.vectors())
        return data.batch(8).map(lambda x, y: (2 * x, y))

    assert_fits_alike(pair, make)


def test_tf_data_with_sample_weights(pair):
    def make():
        return tf.data.Dataset.from_tensor_slices(examples()).batch(8)

    assert_fits_alike(pair, make)


class Batches(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.x, self.y = nets.vectors()

    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return self.x[part], self.y[part]


def test_a_py_dataset(pair):
    assert_fits_alike(pair, Batches)


def test_a_generator(pair):
    def make():
        batches = Batches()
        return (batches[i % 4] for i in range(8))

    assert_fits_alike(pair, make, steps_per_epoch=4)


def test_train_on_batch(pair):
    x, y, weights = examples()

    for _ in range(3):
        expected, actual = (
            model.train_on_batch(x, y, sample_weight=weights, return_dict=True)
            for model in (pair.whole, pair.client)
        )
        assert_same_logs(actual, expected)

    assert pair.difference() <= 1e-6


def fitted(cut):
    """A pair with BatchNorm, Dropout and L2, and graphs of all it can do."""
    pair = plain(cut).compile(metrics=["accuracy"])
    pair.fit(nets.images)
    return pair


@pytest.fixture(scope="module")
def trained():
    """A pair that no test changes."""
    return fitted(CUT)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(CUT, id="two"),
        pytest.param(CUT[:1], id="one", marks=pytest.mark.slow),
    ],
)
def test_evaluate_and_predict(cut, trained):
    x, y = nets.images()
    weights = np.linspace(0, 2, len(x), dtype="float32")
    pair = trained if cut == CUT else fitted(cut)

    whole, client = pair.whole, pair.client
    expected = whole.evaluate(x, y, 8, 0, weights, return_dict=True)
    actual = client.evaluate(x, y, 8, 0, weights, return_dict=True)
    on_batch = client.test_on_batch(x, y, weights, return_dict=True)

    assert_same_logs(actual, expected)
    wanted = whole.test_on_batch(x, y, weights, return_dict=True)
    assert_same_logs(on_batch, wanted)
    np.testing.assert_allclose(
        client.predict(x, 8, 0), whole.predict(x, 8, 0), rtol=1e-5
    )
    np.testing.assert_allclose(
        client.predict_on_batch(x), whole.predict_on_batch(x), rtol=1e-5
    )
    np.testing.assert_allclose(client(x), whole(x), rtol=1e-5)


def test_predicting_takes_no_step_and_moves_nothing(trained):
    x, y = nets.images()
    trained.client.connect()
    before = nets.values_of(trained.model)
    step = trained.client.strategy.next_step

    trained.client.predict(x, verbose=0)
    trained.client.evaluate(x, y, verbose=0)

    after = nets.values_of(trained.model)
    assert nets.largest_difference(before, after) == 0
    assert trained.client.strategy.next_step == step


# -- how it is compiled ------------------------------------------------------


@pytest.mark.parametrize("remote", [False, True])
def test_a_step_is_traced_once_with_whatever_it_measures(remote, serve):
    traced = []

    def loss(y, outputs):
        traced.append(y)
        return keras.losses.sparse_categorical_crossentropy(y, outputs)

    client, server = keras_split.compile(nets.built(nets.dense), ["a", "b"])
    strategy = serve(server) if remote else None
    client.compile("sgd", loss, metrics=["accuracy"], strategy=strategy)
    x, y = nets.vectors(8)

    client.fit(x, y, batch_size=8, epochs=2, verbose=0)

    assert len(traced) == 1


def test_steps_per_execution():
    pair = Pair().compile(steps_per_execution=2)

    assert_fits_alike(pair, batch_size=8)
    assert pair.client.strategy.next_step == 8


@pytest.mark.slow
@pytest.mark.parametrize("cut", [CUT, CUT[:1]], ids=["two", "one"])
def test_run_eagerly(cut):
    pair = plain(cut).compile(run_eagerly=True, metrics=["accuracy"])

    assert_fits_alike(pair, nets.images, batch_size=13)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [("a", "b"), ("a",)], ids=["two", "one"])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01),
        lambda: keras.optimizers.RMSprop(0.01, clipvalue=0.05),
        lambda: keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        ),
        lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    ],
    ids=["weight decay", "clipvalue", "schedule", "accumulation"],
)
def test_an_optimizer_reaches_both_halves(optimizer, cut):
    assert_fits_alike(Pair(cut=cut).compile(optimizer), batch_size=8)


def test_a_compiled_model_hands_on_how_it_was_compiled():
    whole, model = nets.built(nets.dense), nets.built(nets.dense)
    for one in (whole, model):
        one.compile(
            sgd(),
            keras.losses.SparseCategoricalCrossentropy(),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="right")],
            weighted_metrics=["accuracy"],
            steps_per_execution=2,
        )
    client, _ = keras_split.compile(model, ["a", "b"], quantization="float32")
    x, y, weights = examples()

    expected, actual = (
        one.fit(x, y, sample_weight=weights, shuffle=False, verbose=0).history
        for one in (whole, client)
    )

    assert_same_logs(actual, expected)
    assert expected.keys() == {"loss", "right", "accuracy"}
    assert client.optimizer is not model.optimizer
    assert client.steps_per_execution == 2
    assert (
        nets.largest_difference(nets.values_of(model), nets.values_of(whole))
        <= 1e-6
    )


def test_a_model_that_was_not_compiled_hands_on_nothing():
    client, server = keras_split.compile(nets.dense(), ["a", "b"])

    assert not client.compiled
    assert not server.compiled


def test_one_cut_with_sample_weights():
    x, y, weights = examples()

    assert_fits_alike(
        Pair(cut=["a"]).compile(),
        lambda: (x, y),
        sample_weight=weights,
        batch_size=8,
    )


# -- files -------------------------------------------------------------------


@pytest.mark.parametrize("half", ["client", "server"])
def test_a_half_comes_back_from_a_file(half, trained, tmp_path):
    model = getattr(trained, half)

    model.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")

    assert type(loaded) is type(model)
    assert loaded.contract == model.contract
    for one, two in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_a_file_of_one_half_holds_no_weights_of_the_other(trained, tmp_path):
    for half, others in (
        ("client", trained.server),
        ("server", trained.client),
    ):
        path = tmp_path / f"{half}.weights.h5"
        getattr(trained, half).save_weights(path)

        content = path.read_bytes()
        for variable in others.weights:
            if variable.shape.num_elements() > 4:
                assert variable.numpy().tobytes() not in content


def test_both_halves_from_files_predict_what_they_did(trained, tmp_path, serve):
    x, y = nets.images()
    expected = trained.client.predict(x, verbose=0)
    trained.client.save(tmp_path / "client.keras")
    trained.server.save(tmp_path / "server.keras")

    client = keras.saving.load_model(tmp_path / "client.keras")
    server = keras.saving.load_model(tmp_path / "server.keras")
    assert isinstance(client, ClientModel)
    assert isinstance(server, ServerModel)
    client.compile(sgd(), LOSS, strategy=serve(server))

    np.testing.assert_array_equal(client.predict(x, verbose=0), expected)
    client.fit(x, y, verbose=0)


def test_a_loaded_client_remembers_its_server(tmp_path, serve):
    x, y = nets.vectors()
    pair = Pair()
    strategy = serve(pair.server)
    pair.client.compile(sgd(), LOSS, strategy=strategy)
    pair.client.fit(x, y, verbose=0)
    expected = pair.client.predict(x, verbose=0)
    pair.client.save(tmp_path / "client.keras")

    loaded = keras.saving.load_model(tmp_path / "client.keras")

    assert loaded.strategy.address == strategy.address
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)


def test_a_loaded_client_without_a_server_says_so(trained, tmp_path):
    trained.client.save(tmp_path / "client.keras")
    loaded = keras.saving.load_model(tmp_path / "client.keras")

    with pytest.raises(TransportError, match="loaded without one"):
        loaded.predict(nets.images()[0])


def test_a_layer_shared_by_head_and_tail_is_still_shared_when_loaded(
    tmp_path, serve
):
    def build():
        x = values = keras.Input((4,), name="values")
        shared = layers.Dense(4, activation="tanh", name="shared")
        x = layers.Dense(4, name="b")(shared(x))
        return keras.Model(values, shared(x))

    pair = Pair(build, ["shared#1", "b"]).compile(loss="mse")
    x, y = targets()
    pair.client.fit(x, y[:, :4], verbose=0)
    expected = pair.client.predict(x, verbose=0)
    pair.client.save(tmp_path / "client.keras")

    loaded = keras.saving.load_model(tmp_path / "client.keras")
    loaded.compile(sgd(), "mse", strategy=serve(pair.server))

    assert len(loaded.weights) == 2
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)


def test_a_summary_shows_the_parts_of_a_half(trained):
    lines = []

    trained.client.summary(print_fn=lines.append)
    trained.server.summary(print_fn=lines.append)

    text = "\n".join(lines)
    for name in ("head", "tail", "body"):
        assert name in text


# -- mistakes ----------------------------------------------------------------


def test_xla_is_refused_for_it_cannot_talk_to_a_server():
    pair = Pair()

    with pytest.raises(ValueError, match="Expected jit_compile=False"):
        pair.client.compile("sgd", LOSS, jit_compile=True)


def test_a_first_step_that_fails_leaves_the_optimizer_as_it_was():
    x, y = nets.vectors()
    pair = Pair().compile(lambda: keras.optimizers.Adam(0.01))
    weights = pair.model.get_weights()

    pair.client.fit(x * np.nan, y, verbose=0)

    assert nets.largest_difference(weights, pair.model.get_weights()) == 0
    slots = [v.numpy() for v in pair.client.optimizer.variables]
    shapes = [v.shape for v in pair.client.optimizer.variables]
    assert [slot.shape for slot in slots] == shapes
    assert not any(slot.any() for slot in slots if slot.shape)


def test_a_new_strategy_ends_the_session_of_the_old_one():
    pair = Pair().compile()
    pair.fit()
    old = pair.client.strategy

    pair.client.compile(sgd(), LOSS, strategy=SplitStrategy())

    assert not old.connected
    assert pair.client.strategy is not old
