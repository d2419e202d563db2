import threading

import keras
import numpy as np
import pytest

import keras_split
from keras_split.errors import DefenseError
from keras_split.errors import OptionError
from keras_split.errors import RefusedError
from keras_split.server.cohorts.config import CohortConfig
from tests import nets
from tests.federation import fake_mode

LOSS = "sparse_categorical_crossentropy"


@pytest.fixture
def made(monkeypatch):
    return fake_mode.install(monkeypatch)


def halves(build=nets.dense, cut=("a", "b"), seed=0):
    model = nets.built(build, seed)
    return keras_split.compile(model, list(cut), quantization="float32")


def whole(optimizer, build=nets.dense):
    model = nets.built(build)
    model.compile(optimizer, LOSS)
    return model


def values(client, server):
    models = (client.head, server.body, client.tail)
    return [v for model in models for v in model.get_weights()]


def phone(serve, server, optimizer="sgd", build=nets.dense, **options):
    strategy = serve(server, cohort=CohortConfig(**options))
    client, _ = halves(build)
    client.compile(optimizer, LOSS, strategy=strategy)
    return client


@pytest.mark.parametrize("mode", ["private", "shared"])
def test_one_phone_in_rounds_trains_as_it_does_alone(serve, mode):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode=mode, phones=1)
    alone = whole("sgd")

    client.fit(
        *(x, y, 4, 2, 0),
        callbacks=[keras_split.FederatedAveraging()],
        shuffle=False,
    )
    alone.fit(x, y, 4, 2, 0, shuffle=False)

    assert (
        nets.largest_difference(values(client, server), alone.get_weights())
        < 1e-6
    )


@pytest.mark.parametrize("first", [True, False])
def test_what_is_averaged_has_no_epsilon(serve, first):
    mechanism = keras_split.defenses.GaussianMechanism(
        1.0, 4.0, ("smashed", "features_grad")
    )
    client, server = keras_split.compile(
        nets.built(nets.dense), ["a", "b"], defenses=[mechanism]
    )
    strategy = serve(server, cohort=CohortConfig(mode="private", phones=1))
    client.compile("sgd", LOSS, strategy=strategy)
    callbacks = [
        keras_split.defenses.PrivacyBudget(),
        keras_split.FederatedAveraging(),
    ]

    with pytest.raises(DefenseError, match="other phones, whose averages"):
        client.fit(
            *nets.vectors(),
            verbose=0,
            callbacks=callbacks if first else callbacks[::-1],
        )

    assert int(client.optimizer.iterations) == 0


def test_steps_of_a_phone_in_rounds_are_checked(serve):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="shared", phones=1)
    detector = keras_split.HijackDetector(1)
    alone = whole("sgd")

    client.fit(
        *(x, y, 4, 2, 0),
        callbacks=[detector, keras_split.FederatedAveraging(every=3)],
        shuffle=False,
    )
    alone.fit(x, y, 4, 2, 0, shuffle=False)

    assert len(detector.checks) == 14
    assert min(check.agreement for check in detector.checks) > 0.9
    after = values(client, server)
    assert nets.largest_difference(after, alone.get_weights()) < 1e-6


def test_steps_of_a_merged_cohort_cannot_be_checked(serve, made):
    x, y = nets.vectors()
    client = phone(serve, halves()[1], mode="merged", phones=1, batch=6)
    callbacks = [
        keras_split.HijackDetector(),
        keras_split.FederatedAveraging(),
    ]

    with pytest.raises(OptionError, match="merged cohort"):
        client.fit(x, y, 4, 2, 0, callbacks=callbacks)


@pytest.mark.parametrize(
    "every",
    [1, *(pytest.param(k, marks=pytest.mark.slow) for k in ("epoch", 3))],
)
def test_one_phone_of_a_merged_cohort_trains_with_its_shares(
    serve, made, every
):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, "adam", mode="merged", phones=1, batch=6)
    alone = whole("adam")

    history = client.fit(
        *(x, y, 4, 2, 0),
        callbacks=[keras_split.FederatedAveraging(every)],
        shuffle=False,
        validation_data=(x, y),
    ).history
    alone.fit(x, y, 6, 2, 0, shuffle=False)

    assert (
        nets.largest_difference(values(client, server), alone.get_weights())
        < 1e-5
    )
    assert len(history["val_loss"]) == 2
    asked = [message.left for message in made[0].asked]
    assert asked[-6:] == [26, 20, 14, 8, 2, 0]  # the first epoch knows less


def test_phones_average_what_they_learned_by_examples(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    strategy = serve(server, cohort=CohortConfig("private", phones=2))
    clients = []
    for seed in (0, 1):
        client, _ = halves(seed=seed)
        other = keras_split.SplitStrategy(strategy.address, retry=None)
        client.compile("sgd", LOSS, strategy=other)
        clients.append(client)
    shards = [(x[:8], y[:8]), (x[8:], y[8:])]
    failed = []

    def train(client, shard):
        try:
            client.fit(
                *(*shard, 4, 2, 0),
                callbacks=[keras_split.FederatedAveraging()],
                shuffle=False,
            )
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=train, args=pair)
        for pair in zip(clients, shards, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not failed
    assert sorted(made[0].weights) == [8, 8, 18, 18]
    one, other = (nets.values_of(client.head) for client in clients)
    assert nets.largest_difference(one, other) == 0


def test_a_server_without_a_cohort_is_told_apart(serve):
    x, y = nets.vectors()
    client, server = halves()
    client.compile("sgd", LOSS, strategy=serve(server))

    with pytest.raises(RefusedError, match="serve --cohort"):
        client.fit(
            x, y, verbose=0, callbacks=[keras_split.FederatedAveraging()]
        )


def test_a_server_in_this_process_has_no_cohort():
    x, y = nets.vectors()
    client, _ = halves()
    client.compile("sgd", LOSS)

    with pytest.raises(RefusedError, match="serve --cohort"):
        client.fit(
            x, y, verbose=0, callbacks=[keras_split.FederatedAveraging()]
        )
    client.fit(x, y, verbose=0)  # as before


def test_a_phone_without_the_callback_is_refused_by_a_cohort(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="private", phones=1)

    with pytest.raises(RefusedError, match="FederatedAveraging") as caught:
        client.fit(x, y, verbose=0)

    assert caught.value.reason == "cohort"


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"every": "step"},
        {"every": True},
        {"batchnorm": "global"},
        {"what": "changes"},
        {"examples": 0},
    ],
)
def test_arguments_that_cannot_be_are_refused(options):
    with pytest.raises(OptionError):
        keras_split.FederatedAveraging(**options)


def test_gradients_are_for_each_step_of_a_merged_cohort(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="private", phones=1)
    averaging = keras_split.FederatedAveraging(1, what="gradients")

    with pytest.raises(OptionError, match="merged"):
        client.fit(x, y, verbose=0, callbacks=[averaging])


def test_a_loss_scale_is_refused_where_gradients_are_averaged(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    client = phone(serve, server, optimizer, mode="merged", phones=1)

    with pytest.raises(OptionError, match="LossScaleOptimizer"):
        client.fit(
            x, y, verbose=0, callbacks=[keras_split.FederatedAveraging(1)]
        )


def test_a_sum_over_the_examples_is_refused_where_steps_are_merged(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="merged", phones=1)
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    client.compile("sgd", loss, strategy=client.strategy)

    with pytest.raises(OptionError, match="mean over the examples"):
        client.fit(
            x, y, verbose=0, callbacks=[keras_split.FederatedAveraging(1)]
        )


def test_data_of_unknown_length_need_a_number_of_examples(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="merged", phones=1, batch=6)

    def data():
        for start in range(0, 26, 4):
            yield x[start : start + 4], y[start : start + 4]

    with pytest.raises(OptionError, match="examples="):
        client.fit(
            data(),
            shuffle=False,
            verbose=0,
            callbacks=[keras_split.FederatedAveraging()],
        )
    with pytest.warns(UserWarning, match="ran out of data"):  # of Keras
        client.fit(
            data(),
            shuffle=False,
            verbose=0,
            callbacks=[keras_split.FederatedAveraging(examples=26)],
        )

    assert [m.left for m in made[0].asked] == [26, 20, 14, 8, 2, 0]
    np.testing.assert_array_equal(made[0].weights, [26])


def test_a_phone_that_resumes_takes_over_the_half_of_the_others(
    serve, made, tmp_path, caplog
):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="private", phones=1)
    callbacks = [
        keras_split.FederatedAveraging(),
        keras_split.Resume(tmp_path / "state"),
    ]
    client.fit(x, y, epochs=1, verbose=0, callbacks=callbacks)
    client.save(tmp_path / "half.keras")
    assert "The body stays" not in caplog.text  # nothing was to bring it back
    body = nets.values_of(server.body)
    theirs = np.full(made[0].half.vector.size, 0.25, "float32")
    made[0].half.put(7, theirs)
    other, _ = halves()
    other.compile(
        keras.optimizers.SGD(0.0),
        LOSS,
        strategy=keras_split.SplitStrategy(client.strategy.address, retry=None),
    )
    callbacks = [
        keras_split.FederatedAveraging(),
        keras_split.Resume(tmp_path / "state"),
    ]
    callbacks[1].on_train_begin = _rate_of_zero_after(
        callbacks[1].on_train_begin, other
    )
    other.fit(x, y, epochs=2, verbose=0, callbacks=callbacks)

    assert callbacks[1].epoch == 1
    assert "The body stays" in caplog.text
    assert nets.largest_difference(body, nets.values_of(server.body)) == 0
    for value in other.head.get_weights() + other.tail.get_weights():
        np.testing.assert_array_equal(value, np.full(value.shape, 0.25))


def _rate_of_zero_after(begin, client):
    def on_train_begin(logs=None):
        begin(logs)
        client.optimizer.learning_rate = 0.0

    return on_train_begin


def test_a_phone_does_not_bring_the_body_back_under_the_others(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="private", phones=1)
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=0, min_delta=9.0, restore_best_weights=True
    )

    with pytest.raises(RefusedError, match="allow-restore") as caught:
        client.fit(
            *(x, y, 8, 3, 0),
            callbacks=[keras_split.FederatedAveraging(), stopping],
        )

    assert caught.value.reason == "cohort"
    client.fit(x, y, verbose=0, callbacks=[keras_split.FederatedAveraging()])


def test_a_second_fit_with_gradients_goes_on_where_the_first_ended(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, "sgd", mode="merged", phones=1, batch=6)
    averaging = keras_split.FederatedAveraging(1, examples=26)
    client.fit(x, y, verbose=0, callbacks=[averaging])
    client.fit(x, y, verbose=0, callbacks=[averaging])

    # The server has the half that was given first, and must not bring it back.
    assert int(client.optimizer.iterations) == 10


def test_a_phone_may_ask_for_a_server_that_cannot_read_halves(serve, made):
    x, y = nets.vectors()
    _, server = halves()
    client = phone(serve, server, mode="private", phones=1)
    averaging = keras_split.FederatedAveraging(require_secure=True)

    with pytest.raises(RefusedError) as caught:
        client.fit(x, y, verbose=0, callbacks=[averaging])

    assert caught.value.reason == "cohort"


def test_a_round_of_an_epoch_does_not_end_with_a_step_not_taken(serve, made):
    x, y = nets.vectors()
    x = x.copy()
    x[:4] = np.nan
    client = phone(serve, halves()[1], mode="private", phones=1)

    client.fit(
        *(x, y, 4, 1, 0),
        callbacks=[keras_split.FederatedAveraging()],
        shuffle=False,
    )

    assert made[0].weights == [22]
