import pytest

from keras_split.errors import RefusedError
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Snapshot
from keras_split.server.in_process import InProcessTransport
from tests import links


@pytest.fixture(scope="module", params=["float32", "int4"])
def server(request):
    return links.halves(request.param)[1]


@pytest.fixture
def transport(server):
    return InProcessTransport(server.host())


def test_messages_reach_the_host(server, transport):
    session = transport.exchange(links.hello(server.contract)).session

    features, grads = links.take_step(
        transport.exchange, session, server.contract
    )

    assert features.step == grads.step == 0


def test_a_refusal_is_raised(transport):
    with pytest.raises(RefusedError, match="session that is open"):
        transport.exchange(Snapshot("s"))


def test_a_step_is_counted_as_the_bytes_that_the_contract_names(
    server, transport
):
    session = transport.exchange(links.hello(server.contract)).session

    links.take_step(transport.exchange, session, server.contract)

    per_sample = server.contract.bytes_per_sample(8)
    assert transport.uplink_bytes == 8 * per_sample[0]
    assert transport.downlink_bytes == 8 * per_sample[1]


def test_messages_without_tensors_cost_nothing(server, transport):
    session = transport.exchange(links.hello(server.contract)).session

    transport.exchange(Goodbye(session))
    transport.close()

    assert transport.uplink_bytes == transport.downlink_bytes == 0
