"""A scheme is registered once, and is an address everywhere then."""

from types import SimpleNamespace

import pytest

import keras_split
from keras_split import transports
from keras_split.device import Client
from keras_split.errors import OptionError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.transports import Route
from keras_split.transports import Transport
from keras_split.transports import route as routes
from tests import links


class Recorder(Transport):
    """Remembers what it carries, and how it was made."""

    def __init__(self, route, contract):
        self.route, self.contract, self.sent = route, contract, []

    def carry(self, message):
        self.sent.append(message)
        return Done()

    def close(self):
        pass


@pytest.fixture
def scheme(monkeypatch):
    """A scheme that is registered for the time of a test."""
    monkeypatch.setattr(routes, "_SCHEMES", dict(routes._SCHEMES))
    transports.register("pipe", Recorder)
    return "pipe"


def test_a_registered_scheme_makes_its_transport(scheme):
    made = transports.get("pipe:///tmp/x", "contract", reply_timeout_s=3.0)

    assert made.exchange(Goodbye("s")) == Done()
    assert (made.route.address.target, made.contract) == ("/tmp/x", "contract")
    assert made.route.reply_timeout_s == 3.0


def test_a_strategy_and_a_phone_take_its_addresses(scheme):
    strategy = keras_split.SplitStrategy("pipe:///tmp/x")

    assert strategy.address == "pipe:///tmp/x"
    assert not strategy.local
    again = keras_split.SplitStrategy.from_config(strategy.get_config())
    assert again.address == strategy.address


def test_a_scheme_that_is_not_known_is_refused_with_those_that_are(scheme):
    with pytest.raises(ValueError, match="grpc, grpcs, pipe") as info:
        keras_split.SplitStrategy("http://10.0.0.2:80")

    assert "Received: scheme 'http'" in str(info.value)
    assert "keras_split.transports.register" in str(info.value)


def test_an_installed_package_brings_a_scheme(monkeypatch, scheme):
    entry = SimpleNamespace(name="ray", load=lambda: Recorder)

    class Found(list):
        names = {"ray"}

    def entry_points(group, name="ray"):
        assert group == "keras_split.transports"
        return Found([entry] if name == "ray" else [])

    monkeypatch.setattr(routes.metadata, "entry_points", entry_points)

    assert "ray" in transports.names()
    assert isinstance(transports.get("ray://head", None), Recorder)


@pytest.mark.parametrize("scheme", ["", "a b", "grpc://", "a/b"])
def test_a_scheme_is_a_word(scheme):
    with pytest.raises(ValueError, match="Expected a scheme of letters"):
        transports.register(scheme, Recorder)


def test_an_address_and_a_transport_are_one_too_many():
    with pytest.raises(ValueError, match="Received: both"):
        keras_split.SplitStrategy("grpc://a:1", transport=Recorder)


def test_a_factory_is_asked_for_every_connection():
    route = Route.to(transport=Recorder, credentials={"token_file": "t"})

    one, other = route.open("contract"), route.open("contract")

    assert one is not other
    assert one.route is route
    assert one.route.credentials == Credentials(token_file="t")


def test_a_transport_is_used_for_every_connection():
    recorder = Recorder(None, None)

    route = Route.to(transport=recorder)

    assert route.open("contract") is route.open("contract") is recorder


def test_nothing_but_a_server_in_this_process_is_local():
    assert Route.to().local
    assert not Route.to("grpc://a:1").local
    assert not Route.to(transport=Recorder).local
    with pytest.raises(TransportError, match="Expected a server to train"):
        Route.to().open("contract")


def test_a_phone_has_no_server_in_its_process(tmp_path):
    with pytest.raises(ValueError, match="Received: neither"):
        Client(tmp_path / "client.tflite")


class Counting(Transport):
    """To a service in this process; counts, and goes on counting."""

    def __init__(self, handle):
        self.handle, self.closed = handle, 0

    def carry(self, message):
        self.uplink_bytes += 10
        self.downlink_bytes += 1
        return self.handle(message)

    def close(self):
        self.closed += 1


def test_a_transport_trains_a_model_to_the_same_bits():
    ends = []
    for carried in (False, True):
        client, server = links.halves("int8")
        transport = Counting(server.host().handle) if carried else None
        strategy = keras_split.SplitStrategy(transport=transport)
        client.compile(
            "sgd", "sparse_categorical_crossentropy", strategy=strategy
        )
        client.fit(*links.batch(16), batch_size=8, shuffle=False, verbose=0)
        client.close()
        weights = [v.numpy() for v in client.variables]
        ends.append(weights + links.state(server))

    assert links.same(*ends)
    assert transport.closed == 1
    # Hello, two steps and Goodbye, which leaves before the last count.
    assert (strategy.uplink_bytes, strategy.downlink_bytes) == (60, 6)


def test_bytes_of_a_transport_that_is_used_again_are_counted_once():
    client, server = links.halves()
    transport = Counting(server.host().handle)
    strategy = keras_split.SplitStrategy(transport=transport)

    for _ in range(2):
        strategy.connect(client.contract, links.SGD)
        strategy.close()

    assert strategy.uplink_bytes == transport.uplink_bytes == 40


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), None, "30", True])
def test_a_time_that_is_none_is_refused_before_anything_is_opened(value):
    for name in ("connect_timeout_s", "reply_timeout_s"):
        with pytest.raises(OptionError, match=f"Expected {name} to be seconds"):
            keras_split.SplitStrategy("grpc://127.0.0.1:1", **{name: value})

    forever = float("inf")
    assert Route.to(reply_timeout_s=forever).reply_timeout_s == forever
