"""Gradients that leave before the server has taken its step."""

import keras
import pytest
import tensorflow as tf

from keras_split.client.retry import Retry
from keras_split.client.session import ClientSession
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Welcome
from keras_split.server.service import TrainingService
from keras_split.training.in_flight import StepHandle
from keras_split.transports import Route
from keras_split.transports import Transport
from tests import links


def opened():
    """A body, its host, and the session of a client."""
    server = links.halves("int8")[1]
    host = TrainingService(server.half)
    welcome = host.handle(links.hello(server.contract, links.MOMENTUM))
    assert welcome.replies_early
    return server, host, welcome.session


def take(host, server, session, number, early=True):
    """The two or three replies of one step."""
    contract = server.contract
    replies = []
    smashed = links.smashed(contract, seed=number)
    grad = links.features_grad(contract, seed=number + 100)
    replies.append(host.handle(Forward(session, number, smashed, early=early)))
    last = Backward(session, number, grad, 0.1, early=early)
    replies.append(host.handle(last, early=replies.append))
    return replies


def test_the_second_reply_says_that_the_step_is_taken():
    ends = []
    for early in (True, False):
        server, host, session = opened()
        replies = [
            reply
            for number in range(3)
            for reply in take(host, server, session, number, early)
        ]
        kinds = [type(reply) for reply in replies]
        assert kinds == [Features, SmashedGrad, *[Committed] * early] * 3
        grads = [r.tensors for r in replies if isinstance(r, SmashedGrad)]
        ends.append([links.state(server), *map(links.parts, grads)])

    for one, other in zip(*ends, strict=True):
        assert links.same(one, other)


@pytest.mark.parametrize(
    ("forward", "backward"), [(True, False), (False, True)]
)
def test_a_client_may_change_its_mind(forward, backward):
    server, host, session = opened()
    contract, early = server.contract, []
    host.handle(Forward(session, 0, links.smashed(contract), early=forward))

    grad = links.features_grad(contract)
    message = Backward(session, 0, grad, 0.1, early=backward)
    reply = host.handle(message, early=early.append)

    kinds = [type(found) for found in (*early, reply)]
    assert kinds == ([SmashedGrad, Committed] if backward else [SmashedGrad])


def test_both_replies_are_given_again():
    server, host, session = opened()
    first = take(host, server, session, 0)[1:]
    after, again = links.state(server), []

    grad = links.features_grad(server.contract, seed=100)
    message = Backward(session, 0, grad, 0.1, early=True)
    again.append(host.handle(message, early=again.append))

    assert [type(r) for r in again] == [type(r) for r in first]
    assert links.same(
        links.parts(again[0].tensors), links.parts(first[0].tensors)
    )
    assert links.same(links.state(server), after)


def test_where_there_is_one_reply_the_step_is_taken_with_it():
    server, host, session = opened()
    contract, before = server.contract, links.state(server)
    host.handle(Forward(session, 0, links.smashed(contract), early=True))

    grad = links.features_grad(contract)
    reply = host.handle(Backward(session, 0, grad, 0.1, early=True))

    assert isinstance(reply, SmashedGrad)
    assert not links.same(links.state(server), before)


def test_gradients_of_weights_wait_until_the_others_have_left():
    server, host, session = opened()
    take(host, server, session, 0)
    (found,) = host._sessions
    graph = found.optimizer.graph
    traced = graph.run_early.get_concrete_function(*_inputs(server))

    operations = traced.graph.get_operations()
    _, out = [op for op in operations if "PyFunc" in op.type]
    before = _ancestors(out)
    late = [op for op in operations if op.type == "Conv2DBackpropFilter"]

    assert late and "Conv2DBackpropInput" in {op.type for op in before}
    for operation in late:
        assert operation not in before
        assert out in operation.control_inputs


def _inputs(server):
    smashed = links.smashed(server.contract)
    parts = server.half.cut_codecs.smashed.unwrap(smashed)
    queue = tf.queue.FIFOQueue(1, [tf.float32])
    step_handle = StepHandle(tf.constant(0, tf.int64), queue.queue_ref)
    return [step_handle, *map(tf.convert_to_tensor, parts)]


def _ancestors(operation):
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [t.op for t in one.inputs] + list(one.control_inputs)
    return found


# -- the client ------------------------------------------------------------


def compiled(client, address, overlap=True, **options):
    client.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        strategy=SplitStrategy(address, overlap=overlap, **options),
    )
    return client


def test_fit_ends_with_the_same_bits():
    x, y = links.batch(24)
    ends = []
    for overlap in (True, False):
        with links.served("int8") as (client, server, address):
            compiled(client, address, overlap)
            history = client.fit(x, y, 8, epochs=3, shuffle=False, verbose=0)
            assert client.strategy.next_step == 9
            client.strategy.close()
            weights = [v.numpy() for v in client.variables]
            ends.append(
                (history.history["loss"], weights + links.state(server))
            )

    (logs, weights), (other_logs, others) = ends
    assert logs == other_logs
    assert links.same(weights, others)


def test_a_step_that_comes_to_nothing_moves_neither_half(monkeypatch):
    with links.served() as (client, server, address):
        compiled(client, address, retry=None)
        x, y = links.batch(8)
        client.train_on_batch(x, y)
        before = [v.numpy() for v in client.variables]
        body = links.state(server)
        with monkeypatch.context() as patched:
            patched.setattr(server.half, "backward", _refusing(server.half))
            with pytest.raises(RefusedError, match="Expected room"):
                client.train_on_batch(x, y)
        assert links.same([v.numpy() for v in client.variables], before)
        assert links.same(links.state(server), body)

        client.train_on_batch(x, y)

        assert client.strategy.next_step == 2
        assert not links.same(links.state(server), body)


def _refusing(half):
    def backward(step, smashed, grad, optimizer, rate, early=None, **rest):
        early([tensor for tensor in smashed])
        half.abandon(step)
        raise ProtocolError("Expected room.", "memory")

    return backward


class Scripted(Transport):
    """Gives prepared replies; raises those that are errors."""

    replies_early = True

    def __init__(self, replies):
        self.replies, self.sent = list(replies), []

    def carry(self, message):
        self.sent.append(message)
        return self._collect()

    def _collect(self):
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self):
        self.sent.append("close")


class Talk(ClientSession):
    """A conversation with one scripted connection after the other."""

    def __init__(self, *scripts, overlap=True):
        self.waiting = [Scripted(script) for script in scripts]
        self.all = list(self.waiting)
        super().__init__(
            Route.to(transport=lambda route, contract: self.waiting.pop(0)),
            overlap=overlap,
            retry=Retry(give_up_s=10, first_s=0.01),
        )
        self.connect(links.halves()[0].contract, links.SGD)


WELCOME = Welcome("s", keeps_checkpoints=True, replies_early=True)


def test_the_next_message_waits_for_the_step():
    talk = Talk(
        [
            *(WELCOME, Features(0, []), SmashedGrad(0, []), Committed(0)),
            *(Features(1, []), Done()),
        ]
    )
    talk.forward([])
    talk.backward([], 0.1)
    before = talk.next_step

    talk.forward([])
    after = talk.next_step
    talk.close()

    assert (before, after) == (0, 1)
    _, _, backward, forward, _, _ = talk.all[0].sent
    assert (backward.early, forward.step) == (True, 1)


def test_a_connection_lost_between_the_replies_takes_no_step_twice():
    talk = Talk(
        [WELCOME, Features(0, []), SmashedGrad(0, []), TransportError("cut")],
        [
            *(Welcome("s", 1, keeps_checkpoints=True, replies_early=True),),
            *(SmashedGrad(0, []), Done()),
        ],
    )
    talk.forward([])
    talk.backward([], 0.1)

    talk.committed()

    assert talk.next_step == 1
    hello, again = talk.all[1].sent
    assert hello.session == "s"
    assert (again.step, again.early) == (0, False)  # it has one reply
    kept = list(talk.connection.replay_log.since(0))
    assert [type(message) for message in kept] == [Forward, Backward]
    assert not any(message.early for message in kept)
    talk.close()


def test_a_refusal_in_place_of_the_step_is_told_once():
    talk = Talk(
        [
            *(WELCOME, Features(0, []), SmashedGrad(0, [])),
            *(Refusal("not-finite", "no"), Features(0, []), Done()),
        ]
    )
    talk.forward([])
    talk.backward([], 0.1)

    with pytest.raises(RefusedError, match="no"):
        talk.committed()
    talk.committed()
    talk.forward([])

    assert talk.next_step == 0
    talk.close()


def test_a_step_that_was_refused_for_now_is_asked_for_again():
    talk = Talk(
        [
            *(WELCOME, Features(0, []), SmashedGrad(0, [])),
            *(Refusal("memory", "later"), SmashedGrad(0, []), Done()),
        ]
    )
    talk.forward([])
    talk.backward([], 0.1)

    talk.committed()

    assert talk.next_step == 1
    first, again = talk.all[0].sent[2:]
    assert (first.early, again.early) == (True, False)
    talk.close()


@pytest.mark.parametrize(
    ("address", "overlap", "expected"),
    [
        (None, None, False),
        ("grpc://127.0.0.1:1", None, False),
        ("grpc://localhost:1", None, False),
        ("grpc://10.0.0.2:1", None, True),
        ("grpcs://phones.example:1", None, True),
        ("grpc://127.0.0.1:1", True, True),
        ("grpc://10.0.0.2:1", False, False),
    ],
)
def test_it_is_the_rule_where_the_server_is_on_another_machine(
    address, overlap, expected
):
    strategy = SplitStrategy(address, overlap=overlap)

    assert strategy.overlap is expected
    assert strategy.get_config()["overlap"] is overlap


def test_a_server_that_cannot_is_not_asked():
    talk = Talk([Welcome("s"), Features(0, []), SmashedGrad(0, []), Done()])
    talk.forward([])
    talk.backward([], 0.1)
    talk.close()

    assert [m.early for m in talk.all[0].sent[1:3]] == [False, False]
    assert talk.next_step == 1
