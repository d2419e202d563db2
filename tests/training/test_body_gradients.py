"""A head without weights to train: its gradients are neither made nor sent."""

import functools

import keras
import numpy as np
import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.client.tap import SessionTap
from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Microbatch
from keras_split.training.client_passes import ClientPasses
from tests import links
from tests import nets

CUT = ["a_drop", "b_drop"]
LOSS = "sparse_categorical_crossentropy"
X, Y = nets.images(18)
FIT = {"batch_size": 8, "epochs": 1, "shuffle": False, "verbose": 0}


def weights(client, server):
    parts = (client.head, server.body, client.tail)
    return [np.array(v) for part in parts for v in part.variables]


class Heard(SessionTap):
    """Keeps what was said; steps are messages for it."""

    def __init__(self):
        self.replies = []

    def received(self, message, reply):
        self.replies.append(reply)

    def of(self, name):
        return [r for r in self.replies if type(r).__name__ == name]


def frozen(*trained):
    """A model that trains these layers; the statistics of `a_bn` move."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", name="a")(image)
    x = layers.BatchNormalization(center=False, scale=False, name="a_bn")(x)
    x = layers.Dropout(0.3, seed=1, name="a_drop")(x)
    x = layers.Conv2D(6, 3, kernel_regularizer="l2", name="b")(x)
    x = layers.BatchNormalization(name="b_bn")(x)
    x = layers.Dropout(0.3, seed=2, name="b_drop")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(3, activation="softmax", name="out")(x)
    model = keras.Model(image, x)
    for layer in model.layers:
        layer.trainable = layer.name in (*trained, "a_bn")
    return model


def compiled(strategy, *trained):
    client, server = keras_split.compile(frozen(*trained), CUT)
    client.compile(keras.optimizers.Adam(0.01), LOSS, strategy=strategy)
    return client, server


WAYS = {
    "in one graph": lambda: SplitStrategy(),
    "with messages": lambda: SplitStrategy(taps=[Heard()]),
    "in microbatches": lambda: SplitStrategy(microbatches=2),
}


def fitted(strategy, *trained, cut=CUT):
    """Variables, logs and strategy after three steps."""
    model = frozen(*trained)
    client, _ = keras_split.compile(model, cut, quantization="float32")
    client.compile(keras.optimizers.Adam(0.01), LOSS, strategy=strategy)
    logs = client.fit(X, Y, **FIT).history
    assert client.strategy.next_step == 3
    return nets.values_of(model), logs, client.strategy


@functools.cache
def fitted_by(way, *trained):
    return fitted(WAYS[way](), *trained)


@functools.cache
def fitted_whole(*trained):
    model = frozen(*trained)
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    model.fit(X, Y, **FIT)
    return nets.values_of(model)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_it_trains_to_the_bits_of_one_whose_gradients_come(way, monkeypatch):
    values, logs, few = fitted_by(way, "b", "out")
    monkeypatch.setattr(ClientPasses, "head_trains", True)

    expected, expected_logs, all_ = fitted(WAYS[way](), "b", "out")

    assert nets.largest_difference(values, expected) == 0
    assert logs == expected_logs
    assert few.downlink_bytes < 0.5 * all_.downlink_bytes
    assert few.uplink_bytes <= all_.uplink_bytes + 3 * 2 * 2


def test_it_trains_as_the_whole_model():
    values, *_ = fitted_by("in one graph", "b", "out")

    difference = nets.largest_difference(fitted_whole("b", "out"), values)

    assert difference < 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_with_a_frozen_body_no_gradient_travels_at_all(way):
    values, _, strategy = fitted_by(way, "out")

    if strategy.microbatches == 1:
        whole = fitted_whole("out")
        assert nets.largest_difference(whole, values) < 1e-6
    smashed, features = 6 * 6 * 4 * 4, 4 * 4 * 6 * 4
    assert 0 < strategy.uplink_bytes - len(X) * smashed < 4000
    assert 0 < strategy.downlink_bytes - len(X) * features < 2000


@pytest.mark.parametrize("trained", [("out",), ("b", "out")])
def test_messages_and_one_graph_count_the_same_bytes(trained):
    _, _, one = fitted_by("in one graph", *trained)
    _, _, other = fitted_by("with messages", *trained)

    [heard] = other.session.taps
    for strategy in (one, other):
        strategy.close()  # a goodbye has bytes, too
    assert one.uplink_bytes == other.uplink_bytes
    assert one.downlink_bytes == other.downlink_bytes
    assert [r.tensors for r in heard.of("SmashedGrad")] == [[]] * 3


def test_cut_once_labels_go_up_and_no_gradients_come_down():
    strategy = SplitStrategy(taps=[Heard()])

    values, *_ = fitted(strategy, "b", "out", cut="a_drop")

    whole = fitted_whole("b", "out")
    assert nets.largest_difference(whole, values) < 1e-6
    replies = strategy.session.taps[0].of("LabeledResult")
    assert [r.tensors for r in replies] == [[]] * 3


def test_cut_once_with_everything_frozen_the_loss_is_still_logged():
    _, logs, _ = fitted(SplitStrategy(), cut="a_drop")

    assert np.isfinite(logs["loss"]).all()


@pytest.mark.slow
def test_over_a_network_with_early_replies_it_is_the_same():
    trained = "b", "out"
    near, body = compiled(SplitStrategy(taps=[Heard()]), *trained)
    _, server = keras_split.compile(frozen(*trained), CUT)
    near.fit(X, Y, **FIT)

    with server.serve(port=0) as running:
        far, _ = compiled(
            SplitStrategy(f"grpc://{running.target}", overlap=True), *trained
        )
        far.fit(X, Y, **FIT)
        far.close()

    assert links.same(weights(far, server), weights(near, body))
    assert far.strategy.downlink_bytes < len(X) * (4 * 4 * 6) + 4000


def test_a_layer_that_is_frozen_later_counts_from_the_next_compile():
    heard = Heard()
    model = frozen("a", "b", "out")
    client, _ = keras_split.compile(model, CUT)
    client.compile("sgd", LOSS, strategy=SplitStrategy(taps=[heard]))
    client.fit(X[:8], Y[:8], verbose=0)

    for trainable in (False, True):
        model.get_layer("a").trainable = trainable
        client.compile("sgd", LOSS, strategy=SplitStrategy(taps=[heard]))
        client.fit(X[:8], Y[:8], verbose=0)

    counts = [len(r.tensors) for r in heard.of("SmashedGrad")]
    assert counts == [1, 0, 1]


def test_a_body_that_is_frozen_after_evaluate_does_not_train():
    """As in Keras, where a training looks at it when it begins."""
    model = frozen("a", "b", "out")
    client, server = keras_split.compile(model, CUT)
    client.compile("sgd", LOSS)
    client.evaluate(X, Y, verbose=0)
    server.body.trainable = False
    before = links.state(server)[:2]

    client.fit(X, Y, **FIT)

    assert links.same(links.state(server)[:2], before)


def place_of(welcome, next_step):
    return {"session": welcome.session, "next_step": next_step}


def welcomed(server, **options):
    host = server.host(**options)
    return host, host.handle(links.hello(server.contract))


def test_a_backward_without_tensors_is_for_frozen_halves_alone():
    _, server = links.halves()
    host, welcome = welcomed(server)
    name = welcome.session
    before = links.state(server)
    sent = links.smashed(server.contract)

    assert not welcome.frozen_body
    host.handle(Forward(name, 0, sent, no_smashed_grad=True))
    refused = host.handle(Backward(name, 0, [], 0.1))

    assert "Expected tensors" in refused.text
    assert links.same(links.state(server), before)


def test_a_lost_reply_without_tensors_is_given_again_by_the_next_server(
    tmp_path,
):
    model = frozen("out")
    _, server = keras_split.compile(model, CUT, quantization="float32")
    host, welcome = welcomed(server, checkpoints=tmp_path)
    place = {"session": welcome.session, "step": 0}
    smashed = links.smashed(server.contract)
    host.handle(Forward(**place, tensors=smashed, no_smashed_grad=True))
    reply = host.handle(Backward(**place, tensors=[], learning_rate=0.1))
    host.close_all()
    statistics = links.state(server)

    host = server.host(checkpoints=tmp_path)
    host.handle(links.hello(server.contract, **place_of(welcome, 1)))
    again = host.handle(Backward(**place, tensors=[], learning_rate=0.1))

    assert welcome.frozen_body
    assert (reply.tensors, again.tensors) == ([], [])
    assert links.same(links.state(server), statistics)


def test_microbatches_of_one_step_say_the_same():
    _, server = links.halves()
    host, welcome = welcomed(server)
    tensors = links.smashed(server.contract, size=4)

    replies = [
        host.handle(
            Forward(
                *(welcome.session, 0, tensors, Microbatch(i, 2, 8)),
                no_smashed_grad=bool(i),
            )
        )
        for i in range(2)
    ]

    assert replies[1].reason == "microbatches"
    assert "no_smashed_grad" in replies[1].text


def test_an_early_reply_that_has_nothing_to_say_comes_twice_all_the_same():
    _, server = links.halves()
    host, welcome = welcomed(server)
    grads = links.features_grad(server.contract)
    name, first = welcome.session, []

    host.handle(
        Forward(
            name,
            0,
            links.smashed(server.contract),
            early=True,
            no_smashed_grad=True,
        )
    )
    last = host.handle(
        Backward(name, 0, grads, 0.1, early=True), early=first.append
    )

    assert [reply.tensors for reply in first] == [[]]
    assert type(last).__name__ == "Committed"


def test_a_client_that_did_not_ask_and_expects_gradients_is_told():
    class Forgetful(SplitStrategy):
        def expects(self, *, smashed_grad):
            super().expects(smashed_grad=False)

    client, _ = links.halves()
    links.compile(client)
    client.compile("sgd", client.loss, strategy=Forgetful(taps=[Heard()]))

    with pytest.raises(ProtocolError, match="no_smashed_grad"):
        client.train_on_batch(*links.batch(8))
