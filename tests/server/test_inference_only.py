import grpc
import keras
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

import keras_split
from keras_split.errors import OptionError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.protocol.messages import SnapshotTaken
from keras_split.server.config import ServerConfig
from keras_split.transports.grpc.status import fetch
from tests import links
from tests import nets

ADAM = '{"class_name": "Adam", "config": {"learning_rate": 0.1}}'
STATUS = health_pb2.HealthCheckResponse


@pytest.fixture(scope="module")
def running():
    """`(client, server, address)` of a server that only predicts."""
    with links.served(inference_only=True) as served:
        yield served


@pytest.fixture
def client(running):
    client, _, address = running
    return links.compile(client, keras.optimizers.Adam(), address)


def test_it_evaluates_and_predicts_as_the_server_in_this_process(client):
    x, y = links.batch()
    alone, _ = links.halves()
    links.compile(alone)

    scores = client.evaluate(x, y, batch_size=4, verbose=0)

    assert scores == alone.evaluate(x, y, batch_size=4, verbose=0)
    np.testing.assert_array_equal(
        client.predict(x, verbose=0), alone.predict(x, verbose=0)
    )


def test_fit_ends_before_its_first_step_and_moves_neither_half(running, client):
    _, server, _ = running
    before = nets.values_of(client) + nets.values_of(server)

    with pytest.raises(RefusedError, match="--inference-only") as info:
        client.fit(*links.batch(), verbose=0)

    assert info.value.reason == "inference-only"
    after = nets.values_of(client) + nets.values_of(server)
    assert nets.largest_difference(before, after) == 0
    assert client.optimizer.iterations == 0


def test_fit_in_one_graph_with_such_a_server_is_refused_as_well():
    client, server = links.halves()
    links.compile(client)
    client._server_link._host = server.host(inference_only=True)

    with pytest.raises(RefusedError, match="part of training") as info:
        client.fit(*links.batch(), verbose=0)

    assert info.value.reason == "inference-only"


def test_a_file_that_its_client_saves_names_no_snapshot(running, tmp_path):
    client = links.compile(running[0], address=running[2])
    client.evaluate(*links.batch(), verbose=0)

    client.save(tmp_path / "client.keras")
    weights = client.get_weights()
    client.set_weights(weights)

    assert weights.tag == ""
    assert keras_split.load_model(tmp_path / "client.keras").snapshot_tag == ""


def test_the_client_is_told_when_it_connects(client, caplog):
    client.close()
    client.connect()

    assert "This server only predicts" in caplog.text


def test_status_and_health_say_so(running):
    address = running[2]
    target = address.removeprefix("grpc://")

    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        said = [
            health.Check(health_pb2.HealthCheckRequest(service=name)).status
            for name in (
                "",
                "keras_split.v1.SplitTraining",
                "keras_split.v1.SplitTraining/training",
            )
        ]
        first = next(
            health.Watch(
                health_pb2.HealthCheckRequest(
                    service="keras_split.v1.SplitTraining/training"
                )
            )
        )

    assert said == [STATUS.SERVING, STATUS.SERVING, STATUS.NOT_SERVING]
    assert first.status == STATUS.NOT_SERVING
    assert fetch(address).inference_only


@pytest.fixture(scope="module")
def host():
    """`(server, service)`, whose server has an optimizer of its own."""
    _, server = links.halves()
    server.compile("adam")
    return server, server.host(inference_only=True)


@pytest.mark.parametrize(
    "optimizer", [links.MOMENTUM, ADAM, '{"class_name": "Mine"}', "", "no"]
)
def test_a_client_of_any_optimizer_is_let_in_and_none_is_made(host, optimizer):
    server, service = host

    welcome = service.handle(links.hello(server.contract, optimizer))

    assert welcome.notice.startswith("This server only predicts")
    body = service.find(welcome.session).body
    shapes = [
        variable.shape
        for step in server.half.optimizers._steps.values()
        for variable in step.optimizer.variables
    ]
    assert set(shapes) == {()}  # a step count and a learning rate
    assert body._own.servers is None


def test_messages_of_a_training_are_refused_and_others_answered(host):
    server, service = host
    session = service.handle(links.hello(server.contract)).session
    tensors = links.smashed(server.contract)
    grads = links.features_grad(server.contract)

    for message in (
        Forward(session, 0, tensors),
        Backward(session, 0, grads, 0.1),
        LabeledStep(session, 0, tensors, [], [], 0.1),
        Snapshot(session),
        Restore(session, "x"),
    ):
        reply = service.handle(message)
        assert isinstance(reply, Refusal)
        assert reply.reason == "inference-only"
        assert type(message).__name__ in reply.text
    assert not isinstance(service.handle(Infer(session, tensors)), Refusal)


def test_another_server_still_takes_snapshots():
    _, server = links.halves()
    service = server.host()
    session = service.handle(links.hello(server.contract)).session

    assert isinstance(service.handle(Snapshot(session)), SnapshotTaken)


@pytest.mark.parametrize(
    "options",
    [{"checkpoints": "state"}, {"snapshots": "state"}, {"bodies": "private"}],
)
def test_what_only_a_training_keeps_is_refused_beside_it(options):
    with pytest.raises(OptionError, match="Expected one body") as info:
        ServerConfig(inference_only=True, **options)

    assert next(iter(options)) in str(info.value)
