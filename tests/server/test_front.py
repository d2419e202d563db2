"""A front that sends clients to the server that has their session."""

import keras
import pytest

from keras_split.client.strategy import SplitStrategy
from keras_split.compression import codecs
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.server.callbacks import Caller
from keras_split.server.config import ServerConfig
from keras_split.server.endpoint import Endpoint
from keras_split.server.front import Front
from keras_split.server.grpc.server import Server
from keras_split.server.session_state import not_open
from tests import links
from tests import nets
from tests.golden.messages import CONTRACT


class Listed:
    """Servers in a list: a new session is for the next one."""

    def __init__(self, *servers):
        self.servers = servers
        self.new = 0
        self.asked, self.clients = [], []

    def choose(self, client):
        self.clients.append(client)
        self.new += 1
        return self.servers[self.new % len(self.servers)].target

    def find(self, session):
        self.asked.append(session)
        for server in self.servers:
            if session in server.endpoint.service.session_names:
                return server.target
        raise not_open()


class Away(Listed):
    """Servers that are just being started again."""

    def choose(self, client):
        raise ProtocolError("Expected one. Received: none.", "busy")


@pytest.fixture
def fronted():
    """Two servers of equal bodies, and a front before them."""
    halves = [links.halves() for _ in range(2)]
    contract = halves[0][1].contract
    servers = [server.serve(port=0, bodies="private") for _, server in halves]
    listed = Listed(*servers)
    config = ServerConfig(port=0)
    endpoint = Endpoint(
        Front(contract, listed, config), codecs.get(contract.codec), config
    )
    front = Server(endpoint).start()
    yield front, listed
    for server in (front, *servers):
        server.stop(0)


def weights_of(client):
    return [*client.head.get_weights(), *client.tail.get_weights()]


def test_a_client_trains_where_it_was_sent_and_finds_its_way_back(fronted):
    front, listed = fronted
    x, y = links.batch(24)
    client, _ = links.halves()
    links.compile(client, address=f"grpc://{front.target}", retry=None)
    alone, _ = links.halves()
    links.compile(alone)

    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    session = client.strategy.session.connection.session
    client.strategy.session.connection.hang_up()
    client.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    alone.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)

    assert listed.asked == [session]
    assert [len(s.endpoint.service.session_names) for s in listed.servers] == [
        0,
        1,
    ]
    assert nets.largest_difference(weights_of(client), weights_of(alone)) == 0
    assert client.strategy.uplink_bytes > 2 * x.nbytes // 4
    client.close()
    alone.close()


def test_sessions_are_shared_out(fronted):
    front, listed = fronted
    x, y = links.batch(8)

    clients = []
    for _ in range(4):
        client, _ = links.halves()
        links.compile(client, address=f"grpc://{front.target}", retry=None)
        client.train_on_batch(x, y)
        clients.append(client)

    counts = [len(s.endpoint.service.session_names) for s in listed.servers]
    assert counts == [2, 2]
    for client in clients:
        client.close()


def test_a_client_that_was_cut_otherwise_hears_it_at_the_front(fronted):
    front, listed = fronted
    client, _ = links.halves(width=5)
    links.compile(client, address=f"grpc://{front.target}", retry=None)

    with pytest.raises(RefusedError, match="Fingerprint"):
        client.train_on_batch(*links.batch(8))
    assert listed.new == 0


def test_who_does_not_follow_is_told_to(fronted):
    front, _ = fronted
    service = front.endpoint.service
    contract = fronted[1].servers[0].endpoint.service._contract

    reply = service.handle(Hello(contract, links.SGD))

    assert isinstance(reply, Refusal)
    assert reply.reason == "unimplemented"
    assert "newer keras_split" in reply.text


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Forward("s", 0, []), "session"),
        (Hello(CONTRACT, follows=True, protocol=9), "protocol"),
        (Hello(CONTRACT, follows=True, session="s"), "session"),
        (Hello(CONTRACT, follows=True), "busy"),
    ],
)
def test_what_it_cannot_answer_is_refused(message, reason):
    front = Front(CONTRACT, Away())

    assert front.handle(message).reason == reason


def test_it_sends_nobody_on_when_it_stops():
    class Here(Listed):
        def choose(self, client):
            return "127.0.0.1:1" if client == "ann" else ""

    front = Front(CONTRACT, Here())
    hello = Hello(CONTRACT, follows=True)

    before = front.handle(hello, Caller("ann"))
    front.drain(0.0)

    assert before == Welcome("", address="127.0.0.1:1")
    assert front.handle(hello).reason == "stopping"


def test_nobody_goes_in_circles(fronted):
    front, listed = fronted
    listed.servers = (front, front)
    client, _ = links.halves()
    client.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=SplitStrategy(f"grpc://{front.target}", retry=None),
    )

    with pytest.raises(RefusedError, match="several servers"):
        client.train_on_batch(*links.batch(8))
