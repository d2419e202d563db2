import gc
import json

import keras
import numpy as np
import pytest

from keras_split.client import snapshots
from keras_split.client.retry import Retry
from keras_split.client.strategy import SplitStrategy
from keras_split.compression import codecs
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import SnapshotTaken
from keras_split.protocol.messages import Welcome
from keras_split.server.in_process import InProcessTransport
from keras_split.transports import Transport
from tests import links


class Recording(Transport):
    """Hands messages to a host and remembers their names."""

    def __init__(self, answer):
        self.answer = answer
        self.names = []

    def carry(self, message):
        self.names.append(type(message).__name__)
        return self.answer(message)

    def close(self):
        self.names.append("close")


class Watched(SplitStrategy):
    """A strategy whose transport is recorded."""

    def __init__(self, answer):
        self.recorded = Recording(answer)
        super().__init__(transport=self.recorded, retry=None)


@pytest.fixture
def trained():
    """A client that took two steps, its strategy and its server."""
    client, server = links.halves()
    strategy = Watched(server.host().handle)
    links.compile(client)
    client.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=strategy,
        run_eagerly=True,  # messages are the same, and a graph takes a second
    )
    x, y = links.batch(16)
    client.fit(x, y, batch_size=8, verbose=0)
    return client, strategy, server


def opened(answer):
    """A strategy with an open session at whatever answers."""
    strategy = Watched(answer)
    strategy.connect(links.halves()[0].contract, links.SGD)
    return strategy


def test_a_step_is_a_forward_and_a_backward(trained):
    _, strategy, _ = trained

    assert strategy.recorded.names == ["Hello"] + 2 * ["Forward", "Backward"]
    assert strategy.next_step == 2


def test_evaluation_is_one_message_a_batch(trained):
    client, strategy, _ = trained
    x, y = links.batch(16)
    strategy.recorded.names.clear()

    client.evaluate(x, y, batch_size=8, verbose=0)
    client.predict(x, batch_size=8, verbose=0)

    assert strategy.recorded.names == 4 * ["Infer"]


def test_a_client_that_is_closed_says_goodbye(trained):
    client, strategy, _ = trained
    strategy.recorded.names.clear()

    client.close()
    client.close()

    assert strategy.recorded.names == ["Goodbye", "close"]
    assert not strategy.connected


def test_a_new_strategy_ends_the_session_of_the_old_one(trained):
    client, strategy, _ = trained

    client.compile("sgd", "mse", strategy=SplitStrategy())

    assert strategy.recorded.names[-2:] == ["Goodbye", "close"]
    assert client.strategy is not strategy


def test_a_method_can_be_overridden():
    """A strategy that halves the body's learning rate, for example."""
    rates = []

    class Half(SplitStrategy):
        def backward(self, features_grad, learning_rate):
            rates.append(learning_rate)
            return super().backward(features_grad, learning_rate / 2)

    client, server = links.halves()
    client.compile(
        keras.optimizers.SGD(0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=Half(),
    )
    before = links.state(server)

    client.train_on_batch(*links.batch(8))

    assert rates == [0.5]
    assert not links.same(links.state(server), before)


def test_bytes_are_counted_over_all_sessions():
    client, _ = links.halves()
    links.compile(client)
    x, y = links.batch(8)

    counts = []
    for _ in range(2):
        client.train_on_batch(x, y)
        client.close()
        strategy = client.strategy
        counts.append((strategy.uplink_bytes, strategy.downlink_bytes))

    first, second = np.array(counts)
    step = 8 * np.array(client.contract.bytes_per_sample(8))
    assert ((step < first) & (first < step + 2500)).all()
    moment = 2 + 34 + 2  # which the second Hello and its Welcome say
    assert list(second) == list(2 * first + moment)


def test_connecting_twice_opens_one_session(trained):
    client, strategy, _ = trained

    client.connect()

    assert strategy.recorded.names.count("Hello") == 1


def test_a_session_that_is_refused_is_not_open():
    strategy = Watched(lambda m: Refusal("busy", "Expected fewer."))

    with pytest.raises(RefusedError, match="Expected fewer"):
        strategy.connect(links.halves()[0].contract, links.SGD)

    assert not strategy.connected
    assert strategy.recorded.names == ["Hello", "close"]


def test_a_reply_of_another_kind_is_an_error():
    strategy = Watched(lambda m: Done())

    with pytest.raises(
        ProtocolError, match="Expected a Welcome. Received: a Done"
    ):
        strategy.connect(links.halves()[0].contract, links.SGD)

    assert not strategy.connected


def test_a_refused_message_leaves_the_session_open():
    replies = iter([Welcome("s"), Refusal("order", "no"), SnapshotTaken("t")])
    strategy = opened(lambda m: next(replies))

    with pytest.raises(RefusedError):
        snapshots.take(strategy.session)

    assert strategy.connected
    assert snapshots.take(strategy.session) == "t"


def test_a_lost_server_ends_the_session():
    def lose(message):
        if isinstance(message, Hello):
            return Welcome("s", 3)
        raise TransportError("gone")

    strategy = opened(lose)
    assert strategy.next_step == 3

    with pytest.raises(TransportError, match="gone"):
        snapshots.take(strategy.session)

    assert not strategy.connected
    strategy.close()


def test_without_a_session_nothing_is_sent():
    with pytest.raises(TransportError, match="Expected an open session"):
        snapshots.take(SplitStrategy().session)


def test_a_client_without_a_server_says_what_to_pass():
    with pytest.raises(TransportError, match="client.compile") as info:
        SplitStrategy().connect(links.halves()[0].contract, links.SGD)

    assert "strategy=keras_split.SplitStrategy('grpc://host:port')" in str(
        info.value
    )


@pytest.mark.parametrize(
    "address",
    ["localhost:50051", "grpc://", "grpc://host", "grpc://host:", "http://a:1"]
    + ["grpc://:1", "grpc://host:http", "", 50051],
)
def test_an_address_that_is_none_is_an_error(address):
    with pytest.raises(ValueError, match="such as 'grpc://127.0.0.1:50051'"):
        SplitStrategy(address)


@pytest.mark.parametrize("address", ["grpc://a.example:1", "grpc://[::1]:2"])
def test_an_address_is_kept(address):
    assert SplitStrategy(address).address == address


def test_a_config_survives_json():
    strategy = SplitStrategy(
        "grpcs://host:1",
        microbatches=4,
        credentials=Credentials("ca.pem", token_file="token"),
        retry=Retry(give_up_s=7),
        connect_timeout_s=2.5,
        reply_timeout_s=3.5,
    )

    config = json.loads(
        json.dumps(keras.saving.serialize_keras_object(strategy))
    )
    again = keras.saving.deserialize_keras_object(config)

    assert again.get_config() == strategy.get_config()
    assert again.microbatches == 4


@pytest.mark.parametrize("microbatches", [0, -1, 65, 1.5, "4"])
def test_microbatches_are_a_number(microbatches):
    with pytest.raises(ValueError, match="Expected microbatches from 1 to 64"):
        SplitStrategy(microbatches=microbatches)


def test_weights_that_nobody_holds_are_released_with_the_next_message(trained):
    client, strategy, _ = trained
    weights = client.get_weights()
    strategy.recorded.names.clear()

    del weights
    gc.collect()
    at_once = list(strategy.recorded.names)
    client.train_on_batch(*links.batch(8))

    assert at_once == []
    assert strategy.recorded.names == ["Release", "Forward", "Backward"]


def test_weights_that_die_in_an_exchange_do_not_disturb_it(trained):
    """The garbage collector runs when it likes."""
    client, strategy, _ = trained
    weights = [client.get_weights()]
    answer = strategy.recorded.answer

    def answer_and_collect(message):
        weights.clear()
        gc.collect()
        return answer(message)

    strategy.recorded.answer = answer_and_collect
    client.train_on_batch(*links.batch(8))
    client.train_on_batch(*links.batch(8))

    assert strategy.recorded.names[-5:] == [
        "Forward",
        "Release",
        "Backward",
        "Forward",
        "Backward",
    ]


def test_a_goodbye_takes_the_releases_with_it(trained):
    client, strategy, _ = trained
    weights = client.get_weights()

    del weights
    gc.collect()
    client.close()

    assert strategy.recorded.names[-3:] == ["Release", "Goodbye", "close"]


def test_released_snapshots_take_no_room_at_the_server(tmp_path):
    client, server = links.halves()
    host = server.host(snapshots=tmp_path)
    links.compile(client)
    client.strategy.connect(
        client.contract,
        links.SGD,
        local=InProcessTransport(host, codecs.get("raw")),
    )

    for _ in range(5):
        weights = client.get_weights()
        client.train_on_batch(*links.batch(8))
    held = len(list(tmp_path.iterdir()))
    del weights
    gc.collect()
    client.close()

    assert held <= 2
    assert not list(tmp_path.iterdir())


def test_weights_set_back_move_both_halves(trained):
    client, _, server = trained
    x, y = links.batch(16)
    weights = client.get_weights()
    before = [np.array(v) for v in client.variables], links.state(server)
    client.fit(x, y, verbose=0)

    client.set_weights(weights)

    kept = len(client.weights)
    after = [np.array(v) for v in client.weights]
    assert links.same(after, before[0][:kept])
    assert links.same(links.state(server), before[1])


def test_a_release_without_a_session_waits_for_one():
    replies = iter([Welcome("s"), Done(), SnapshotTaken("t")])
    strategy = Watched(lambda m: next(replies))

    snapshots.release(strategy.session, "0123456789abcdef")
    strategy.connect(links.halves()[0].contract, links.SGD)
    snapshots.take(strategy.session)

    assert strategy.recorded.names == ["Hello", "Release", "Snapshot"]


def test_a_strategy_says_where_its_server_is():
    secret = Credentials("ca.pem", token_file="t.txt")

    assert repr(SplitStrategy()) == "<SplitStrategy in this process>"
    assert (
        repr(SplitStrategy("grpcs://h:1", credentials=secret, microbatches=4))
        == "<SplitStrategy 'grpcs://h:1', microbatches=4>"
    )
