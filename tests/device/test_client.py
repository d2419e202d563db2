import json

import keras
import numpy as np
import pytest

import keras_split
from keras_split import device
from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.litert import calibration
from tests import links
from tests import nets
from tests.device.conftest import export

NOWHERE = "grpc://127.0.0.1:9"


@pytest.fixture(scope="module")
def address():
    """Of a server for all tests that do not look at its weights."""
    with links.served() as (_, _, address):
        yield address


def keras_client(client, address):
    """The Keras client with the optimizer that the files have."""
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    return links.compile(client, optimizer, address)


def same_weights(client, phone, tolerance=1e-5):
    """Whether a Keras client and a phone have the same weights."""
    described = json.loads(phone.path.with_suffix(".json").read_bytes())
    state = phone.get_state()
    values = {v.path: np.array(v) for v in client.variables}
    pairs = [
        (state[item["name"]], values[item["variable"]])
        for item in described["state"]
        if item["kind"] != "slot"
    ]
    return pairs and all(
        np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs
    )


def unmoved(before, phone):
    now = phone.get_state()
    return links.same(list(before.values()), list(now.values()))


# -- the same as Keras -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["float32", "int8", "small"])
def test_fit_logs_and_learns_what_the_keras_client_does(phone, quantization):
    """21 examples in batches of 8: the last batch has 5.

    Without the fused operation, whose last bits decide where examples are
    as good as tied.
    """
    x, y = links.batch(21)
    exact = {"fused_batchnorm": False}
    with links.served(quantization, **exact) as (client, server, address):
        history = keras_client(client, address).fit(
            *(x, y, 8, 2, 0),
            validation_data=links.batch(11, seed=1),
            shuffle=False,
        )
        body = links.state(server)
    with links.served(quantization, **exact) as (_, server, address):
        subject = phone(address, quantization)
        logs = subject.fit(
            device.batches(x, y, 8, seed=None),
            epochs=2,
            validation=device.batches(*links.batch(11, seed=1), 8, seed=None),
            verbose=False,
        )

        assert subject.step == 6
        assert same_weights(client, subject, 1e-4)
        assert nets.largest_difference(body, links.state(server)) < 1e-4
    assert set(logs) == set(history.history)
    for name, values in history.history.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_frozen_head_gets_no_gradients_and_its_file_wants_none(
    phone, tmp_path
):
    """Nothing of this head moves, so its `head_backward` takes no images."""
    x, y = links.batch(11)
    with links.served() as (client, server, address):
        client.head.trainable = False
        keras_client(client, address).fit(x, y, 8, shuffle=False, verbose=0)
        body, down = links.state(server), client.strategy.downlink_bytes
    exported = links.halves()[0]
    exported.head.trainable = False
    path = export(exported, tmp_path / "frozen.tflite")
    with links.served() as (_, server, address):
        subject = phone(address, path=path)
        subject.fit(device.batches(x, y, 8, seed=None), verbose=False)

        assert same_weights(client, subject)
        assert nets.largest_difference(body, links.state(server)) < 1e-5
        assert subject.downlink_bytes == down < 11 * 4 * 7 * 7 * 4
    about = json.loads(path.with_suffix(".json").read_bytes())
    inputs = about["signatures"]["head_backward"]["inputs"]
    assert about["frozen_head"] is True
    assert [tensor["name"] for tensor in inputs] == ["step"]


def test_sample_weights_count_as_in_keras(phone):
    x, y = links.batch(5)
    weights = np.array([0.0, 1.0, 2.0, 0.5, 3.0], "float32")
    with links.served() as (client, _, address):
        expected = keras_client(client, address).train_on_batch(x, y, weights)
    with links.served() as (_, _, address):
        subject = phone(address)

        logs = subject.train_on_batch(x, y, weights)

        assert same_weights(client, subject)
    assert logs["loss"] == pytest.approx(expected[0], rel=1e-5)
    assert logs["accuracy"] == pytest.approx(expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["skips", "many"])
def test_every_kind_of_model_takes_the_step_of_the_keras_client(
    phone, tmp_path, kind
):
    rng = np.random.default_rng(0)
    if kind == "skips":
        build, cut, loss = nets.unet, ["pool1", "up1"], "binary_crossentropy"
        x = rng.normal(size=(5, 8, 8, 1)).astype("float32")
        y = (x > 0).astype("float32")
    else:
        build, cut = nets.two_by_two, ["a", "flat"]
        loss = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
        x = {
            "image": rng.normal(size=(5, 8, 8, 1)).astype("float32"),
            "extra": rng.normal(size=(5, 3)).astype("float32"),
        }
        y = {
            "kind": np.arange(5) % 3,
            "size": rng.normal(size=(5, 1)).astype("float32"),
        }
    results = []
    for which in ("keras", "phone"):
        client, server = keras_split.compile(
            nets.built(build), cut, quantization="float32"
        )
        with server.serve(port=0) as running:
            address = f"grpc://{running.target}"
            client.compile(
                keras.optimizers.SGD(0.1),
                loss,
                strategy=keras_split.SplitStrategy(address),
            )
            if which == "phone":
                path = tmp_path / "client.tflite"
                client.export(path, batch_size=8)
                client = phone(address, path=path)
            first = client.train_on_batch(x, y)
            results.append(
                (
                    first["loss"] if which == "phone" else first,
                    client.predict(x),
                )
            )
            client.close()

    (loss, outputs), (own_loss, own_outputs) = results
    assert own_loss == pytest.approx(float(np.ravel(loss)[0]), rel=1e-4)
    if kind == "skips":
        outputs, own_outputs = {"mask": outputs}, {"mask": own_outputs}
    assert set(outputs) == set(own_outputs)
    for name in outputs:
        np.testing.assert_allclose(
            own_outputs[name], outputs[name], rtol=1e-3, atol=1e-5
        )


@pytest.mark.slow
def test_the_loss_of_evaluate_has_the_penalties_of_all_three_parts(
    phone, tmp_path
):
    x, y = nets.images(11)
    client, server = keras_split.compile(
        nets.built(nets.plain), ["a_relu", "b_drop"], quantization="float32"
    )
    with server.serve(port=0) as running:
        address = f"grpc://{running.target}"
        client.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            strategy=keras_split.SplitStrategy(address),
        )
        expected = client.evaluate(x, y, 8, 0, return_dict=True)
        client.export(tmp_path / "client.tflite", batch_size=8)
        subject = phone(address, path=tmp_path / "client.tflite")

        logs = subject.evaluate(device.batches(x, y, 8))

        client.close()
    assert logs == pytest.approx(expected, rel=1e-4)


# -- what fit takes and gives -------------------------------------------------


def test_batches_may_be_a_list_or_a_function(phone, address):
    x, y = links.batch(16)
    given = [(x[:8], y[:8]), [x[8:], y[8:], np.ones(8)]]
    subject = phone(address)

    subject.fit(given, epochs=2, verbose=False)
    history = subject.fit(lambda: iter(given), epochs=2, verbose=False)

    assert subject.step == 8
    assert len(history["loss"]) == 2


def test_a_generator_lasts_for_one_epoch(phone, address):
    x, y = links.batch(8)
    subject = phone(address)

    with pytest.raises(DataError, match="one batch in epoch 2.*generator"):
        subject.fit(iter([(x, y)]), epochs=2, verbose=False)

    assert subject.step == 1


def test_listeners_hear_of_batches_and_epochs_and_may_stop(phone, address):
    data = device.batches(*links.batch(16), 8)
    batches, epochs = [], []

    def on_epoch(number, logs):
        epochs.append((number, sorted(logs)))
        return number < 1

    subject = phone(address)
    history = subject.fit(
        data,
        epochs=5,
        on_batch=lambda number, logs: batches.append(number),
        on_epoch=on_epoch,
        verbose=False,
    )
    subject.fit(data, 5, on_batch=lambda *_: False, verbose=False)

    assert batches == [0, 1, 0, 1]
    assert epochs == [(n, ["accuracy", "loss"]) for n in (0, 1)]
    assert len(history["loss"]) == 2
    assert subject.step == 5


def test_an_epoch_is_a_line(phone, address, capsys):
    phone(address).fit([links.batch(8)], epochs=2)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Epoch 2/2: ")
    assert "loss " in lines[1] and "accuracy " in lines[1]


def test_the_learning_rate_may_be_a_function_of_the_step(phone):
    steps = []

    def rate(step):
        steps.append(step)
        return 0.0

    x, y = links.batch(8)
    with links.served() as (_, server, address):
        subject = phone(address)
        before = subject.get_state()
        subject.fit([(x, y)] * 3, learning_rate=rate, verbose=False)

        assert steps == [0, 1, 2]
        assert unmoved(before, subject)


def interrupted(subject, x, y, monkeypatch):
    """Has a phone's step end when its gradients are to leave."""

    def never(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(subject.session, "backward_of", never)
        subject.train_on_batch(x, y)


def test_an_interrupted_step_is_finished_before_the_rate_of_the_next(
    phone, monkeypatch
):
    steps = []

    def rate(step):
        steps.append(step)
        return 0.1

    x, y = links.batch(8)
    with links.served() as (_, server, address):
        subject = phone(address)
        interrupted(subject, x, y, monkeypatch)
        subject.train_on_batch(x, y, learning_rate=rate)

        assert steps == [1]
        assert subject.step == server.moment.steps == 2


@pytest.mark.parametrize("before", [0, 1])
def test_an_interrupted_step_is_over_with_its_session(
    phone, monkeypatch, before, tmp_path, caplog
):
    x, y = links.batch(8)
    with links.served() as (_, _, address):
        subject = phone(address)
        for _ in range(before):
            subject.train_on_batch(x, y)
        subject.save_state(tmp_path / "state.npz")
        interrupted(subject, x, y, monkeypatch)
        subject.close()
        subject.load_state(tmp_path / "state.npz")
        subject.fit([(x, y)], verbose=False)

        assert subject.step == before + 1
    assert "its session is over" in caplog.text


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_none_is_an_error(phone, address, rate):
    subject = phone(address)

    with pytest.raises(ProtocolError, match="Expected a learning rate"):
        subject.train_on_batch(*links.batch(8), learning_rate=rate)

    assert subject.uplink_bytes < 2000  # the session, no step


def test_a_batch_that_is_too_large_is_refused(phone):
    subject = phone(NOWHERE)

    with pytest.raises(DataError, match="1 to 8 examples.*Received: 9"):
        subject.train_on_batch(*links.batch(9))


@pytest.mark.parametrize("item", [np.zeros((8, 16, 16, 1)), (1,), 7])
def test_batches_without_labels_are_refused(phone, address, item):
    with pytest.raises(DataError, match="batches of \\(x, y\\)"):
        phone(address).fit([item])


def test_predict_takes_arrays_and_batches(phone, address):
    x, y = links.batch(21)
    subject = phone(address)

    whole = subject.predict(x)
    in_a_list = subject.predict([x])
    in_batches = subject.predict(device.batches(x, y, 5, seed=None))
    of_inputs = subject.predict(iter([x[:8], x[8:16], x[16:]]))

    assert whole.shape == (21, 3)
    for other in (in_a_list, in_batches, of_inputs):
        np.testing.assert_allclose(whole, other, rtol=1e-5, atol=1e-6)


def test_arrays_given_as_to_keras_are_refused_with_the_way_to_do_it(phone):
    with pytest.raises(DataError, match=r"batches\(x, y, client.batch_size"):
        phone(NOWHERE).fit(*links.batch(8))


def test_predict_without_examples_is_an_error(phone, address):
    for nothing in (np.zeros((0, 16, 16, 1)), []):
        with pytest.raises(DataError):
            phone(address).predict(nothing)


def exported(inputs, outputs, tmp_path):
    """A client that is cut behind `a` and `b`, its server and its file."""
    client, server = keras_split.compile(
        keras.Model(inputs, outputs), ["a", "b"], quantization="float32"
    )
    client.compile("sgd", "mse")
    client.export(tmp_path / "client.tflite", batch_size=8)
    return client, server, tmp_path / "client.tflite"


def test_an_input_that_no_layer_reads_is_none_of_the_file(phone, tmp_path):
    rng = np.random.default_rng(0)
    sizes = {"one": 4, "unread": 2, "two": 3}
    x = {k: rng.normal(size=(5, n)).astype("float32") for k, n in sizes.items()}
    inputs = [keras.Input((n,), name=name) for name, n in sizes.items()]
    made = keras.layers.Concatenate()(inputs[::2])
    for name in "abc":
        made = keras.layers.Dense(3, name=name)(made)
    client, server, path = exported(inputs, made, tmp_path)
    expected = client.predict(x, verbose=0)

    with server.serve(port=0) as running:
        subject = phone(f"grpc://{running.target}", path=path)
        found = subject.predict(x)

    assert [i.name for i in subject.description.inputs] == ["one", "two"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    arrays = calibration.flat_inputs(client, x)
    assert links.same(arrays, [x["one"], x["two"]])


def test_outputs_of_one_layer_have_names_of_their_own(phone, tmp_path):
    x, _ = nets.vectors(5)
    made = values = keras.Input((4,))
    for name in "abc":
        made = keras.layers.Dense(4, name=name)(made)
    outputs = list(keras.ops.split(made, 2, axis=-1))
    client, server, path = exported(values, outputs, tmp_path)
    expected = client.predict(x, verbose=0)

    with server.serve(port=0) as running:
        found = phone(f"grpc://{running.target}", path=path).predict(x)

    assert len(found) == 2
    for one, other in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_only_real_rows_travel(phone):
    x, y = links.batch(3)
    with links.served("int8") as (_, _, address):
        subject = phone(address, "int8")
        subject.connect()
        before = subject.uplink_bytes, subject.downlink_bytes

        subject.train_on_batch(x, y)

        sent = subject.uplink_bytes - before[0]
        received = subject.downlink_bytes - before[1]
    up, down = subject.contract.bytes_per_sample()
    assert 3 * up < sent < 3 * up + 300
    assert 3 * down < received < 3 * down + 300


def test_laps_tell_where_the_time_goes(phone, address):
    subject = phone(address)
    subject.train_on_batch(*links.batch(8))

    calls = {name: lap.calls for name, lap in subject.laps.items()}
    assert calls == {
        "head_forward": 1,
        "tail_step": 1,
        "head_backward": 1,
        "server": 2,
    }
    assert all(lap.seconds > 0 for lap in subject.laps.values())


# -- steps that fail -----------------------------------------------------------


def test_a_step_that_is_not_finite_is_not_taken_and_logged_as_nan(phone):
    x, y = links.batch(8)
    broken = x.copy()
    broken[3, 0, 0] = np.nan
    with links.served() as (_, server, address):
        subject = phone(address)
        before, body = subject.get_state(), links.state(server)

        logs = subject.train_on_batch(broken, y)

        assert np.isnan(logs["loss"])
        assert unmoved(before, subject)
        assert links.same(body, links.state(server))
        assert subject.step == 0
        history = subject.fit([(broken, y), (x, y)], verbose=False)
        assert np.isnan(history["loss"][0])
        assert subject.step == 1


def test_a_refused_step_leaves_no_trace(phone, monkeypatch):
    """The run with a refusal in it ends where the run without one does."""
    x, y = links.batch(8)
    ends = []
    for refused in (True, False):
        with links.served() as (_, server, address):
            subject = phone(address)
            subject.train_on_batch(x, y)
            if refused:
                before, body = subject.get_state(), links.state(server)
                backward = subject.session.backward_of
                monkeypatch.setattr(
                    subject.session,
                    "backward_of",
                    lambda step, grads, rate, send=backward: send(
                        step, grads, -1.0
                    ),
                )
                with pytest.raises(RefusedError, match="learning rate"):
                    subject.train_on_batch(x, y)
                monkeypatch.undo()
                assert unmoved(before, subject)
                assert links.same(body, links.state(server))
            subject.train_on_batch(x, y)
            ends.append([*subject.get_state().values(), *links.state(server)])

    assert links.same(*ends)


@pytest.mark.parametrize("when", ["forward", "backward_of"])
def test_a_server_that_dies_in_a_step_leaves_no_trace_and_is_found_again(
    phone, when
):
    x, y = links.batch(8)
    _, server = links.halves()
    running = server.serve(port=0)
    port = running.port
    subject = phone(f"grpc://{running.target}")
    subject.train_on_batch(x, y)
    before = subject.get_state()
    send = getattr(subject.session, when)

    def die(*arguments):
        running.stop(0)
        return send(*arguments)

    setattr(subject.session, when, die)
    with pytest.raises(TransportError, match="Expected a reply"):
        subject.train_on_batch(x, y)
    delattr(subject.session, when)

    assert unmoved(before, subject)
    assert subject.step == 1
    with server.serve(port=port):
        subject.train_on_batch(x, y)
        assert subject.step == 2
        subject.close()


def test_a_server_that_is_not_there_is_named(files):
    subject = device.Client(files["float32"], NOWHERE, connect_timeout_s=0.2)

    with pytest.raises(TransportError, match="at 127.0.0.1:9"):
        subject.fit([links.batch(8)])


def test_a_server_of_another_model_refuses_the_session(phone):
    _, server = links.halves(width=5)
    with server.serve(port=0) as running:
        subject = phone(f"grpc://{running.target}")

        with pytest.raises(RefusedError, match="Expected smashed data"):
            subject.predict(links.batch(8)[0])


# -- files ---------------------------------------------------------------------


def test_a_file_for_inference_only_predicts(phone, tmp_path, caplog):
    x, y = links.batch(6)
    path = tmp_path / "client.tflite"
    with links.served() as (client, server, address):
        links.compile(client, address=address)
        client.train_on_batch(x, y)
        expected = client.predict(x, verbose=0)
        client.export(path, mode="infer", batch_size=4)
        subject = phone(address, path=path)
        assert subject.moment == client.moment == server.moment

        made = subject.predict(x)
        assert "half" not in caplog.text
        for call in (
            lambda: subject.fit([(x[:4], y[:4])]),
            lambda: subject.train_on_batch(x[:4], y[:4]),
            lambda: subject.evaluate([(x[:4], y[:4])]),
            lambda: subject.save_state("nowhere.npz"),
            lambda: subject.load_state("nowhere.npz"),
        ):
            with pytest.raises(DataError, match="exported for inference"):
                call()
        client.train_on_batch(x, y)
        subject.close()
        subject.predict(x)

    (line,) = [r.message for r in caplog.records if "half" in r.message]
    assert f"This half is of {subject.moment}, and the body of" in line
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_without_litert_the_pip_line_is_named(files, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert", None)
    monkeypatch.setitem(
        __import__("sys").modules, "ai_edge_litert.interpreter", None
    )

    with pytest.raises(BackendError, match=r"pip install 'ai-edge-litert"):
        device.Client(files["float32"], NOWHERE)


def test_an_address_that_is_none_is_an_error(files):
    with pytest.raises(ValueError, match="such as 'grpc://"):
        device.Client(files["float32"], "127.0.0.1:9")


@pytest.mark.slow
def test_images_are_prepared_as_client_json_says(phone, tmp_path):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(2, 3, name="a"),
            layers.Conv2D(2, 3, name="b"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    client, _ = keras_split.compile(model, ["a", "b"])
    client.compile("sgd", "sparse_categorical_crossentropy")
    prepare = keras.applications.vgg19.preprocess_input  # BGR, minus a mean
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3))
    images = images.astype("uint8")
    plain = keras_split.datasets.to_model_input(images, (12, 12, 3))
    for function in (None, prepare):
        path = tmp_path / "client.tflite"
        client.export(path, batch_size=2, preprocess=function)

        made = phone(NOWHERE, path=path).preprocess(images)

        expected = plain if function is None else prepare(plain.copy())
        assert made.dtype == "float32"
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-3)
