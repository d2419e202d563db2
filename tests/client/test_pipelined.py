"""Messages of a step on the way at the same time, and lost connections."""

from types import SimpleNamespace

import keras
import pytest

from keras_split.client.pipelined import PipelinedSession
from keras_split.client.retry import Retry
from keras_split.client.session import ClientSession
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Refusal
from keras_split.server.service import TrainingService
from keras_split.transports import Route
from keras_split.transports import Transport
from tests import links
from tests.disturbances import Proxy
from tests.disturbances import ServeProcess
from tests.disturbances import committed

COUNT = 3
RETRY = Retry(give_up_s=30, first_s=0.01, longest_s=0.1)


class Line(Transport):
    """To a host in this process, until it breaks.

    Args:
        answer: Of the host.
        breaks: Called with each message; True ends the connection.
        late: Whether the server still gets the message at which it broke.
    """

    def __init__(self, answer, breaks, late):
        self.answer, self.breaks, self.late = answer, breaks, late
        self.whole = True

    def carry(self, message):
        if not self.whole:
            raise TransportError("It is broken.")
        broken = self.breaks(message)
        if not broken or self.late:
            reply = self.answer(message)
        if broken:
            self.whole = False
            raise TransportError("It broke.")
        return reply

    def close(self):
        self.whole = False


class Talk(PipelinedSession):
    """A pipeline to the host that `hosts` gives for each connection."""

    def __init__(self, hosts, breaks=lambda message: False, late=False):
        self.hosts, self.breaks, self.late = hosts, breaks, late
        self.sent = []
        self.session = ClientSession(
            Route.to(transport=self._reach), retry=RETRY
        )
        super().__init__(self.session)

    def _reach(self, route, contract):
        answer = self.hosts().handle

        def record(message):
            self.sent.append(message)
            return answer(message)

        return Line(record, self.breaks, self.late)


def opened(server, **options):
    host = TrainingService(server.half)
    talk = Talk(lambda: host, **options)
    talk.session.connect(server.contract, links.MOMENTUM)
    return talk


def take(talk, contract, seed=0, count=COUNT):
    """A step as a client sends it; returns all replies' arrays."""
    received = []
    for i in range(count):
        smashed = links.smashed(contract, size=2, seed=seed + i)
        talk.send_forward(smashed, i, count, 2 * count)
    for i in range(count):
        received.append(talk.receive_features()[0])
        grads = links.features_grad(contract, size=2, seed=seed + 50 + i)
        talk.send_backward(grads, 0.1)
    for _ in range(count):
        received.append(talk.receive_smashed_grad())
    return [part for tensors in received for part in links.parts(tensors)]


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture(autouse=True)
def same_start(server):
    before = server.half.weights()
    yield
    server.half.set_weights(before)


@pytest.fixture
def quiet(server):
    before = server.half.weights()
    talk = opened(server)
    replies = [take(talk, server.contract, seed) for seed in (0, 10)]
    state = links.state(server)
    server.half.set_weights(before)
    return replies, state


def test_a_step_is_so_many_forwards_and_as_many_backwards(server):
    talk = opened(server)

    take(talk, server.contract)

    hello, *messages = talk.sent
    kinds = [type(message) for message in messages]
    assert kinds == COUNT * [Forward] + COUNT * [Backward]
    assert [m.microbatch.index for m in messages] == 2 * [0, 1, 2]
    assert {m.step for m in messages} == {0}
    assert {m.microbatch.batch for m in messages} == {2 * COUNT}
    assert talk.session.next_step == 1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("when", range(2 * COUNT))
def test_a_broken_connection_changes_nothing(server, quiet, when, late):
    """At each message of a step; the server has got it, or has not."""
    seen = []

    def breaks(message):
        if getattr(message, "step", 0) != 1:
            return False
        seen.append(message)
        return len(seen) == when + 1

    talk = opened(server, breaks=breaks, late=late)

    replies = [take(talk, server.contract, seed) for seed in (0, 10)]

    assert len(seen) > 2 * COUNT
    assert talk.session.next_step == 2
    assert all(map(links.same, replies, quiet[0]))
    assert links.same(links.state(server), quiet[1])


@pytest.mark.parametrize("reason", ["memory", "rate", "stopping"])
def test_what_may_come_later_is_sent_later(server, quiet, reason):
    host = TrainingService(server.half)
    refused = []

    def handle(message):
        microbatch = getattr(message, "microbatch", None)
        if microbatch and microbatch.index == 1 and not refused:
            refused.append(message)
            return Refusal(reason, "Come later.")
        return host.handle(message)

    reluctant = SimpleNamespace(handle=handle)
    talk = Talk(lambda: reluctant)
    talk.session.connect(server.contract, links.MOMENTUM)

    replies = [take(talk, server.contract, seed) for seed in (0, 10)]

    assert refused
    assert all(map(links.same, replies, quiet[0]))
    assert links.same(links.state(server), quiet[1])


def test_a_refusal_is_raised_and_the_next_step_goes_on(server):
    talk = opened(server)
    contract = server.contract
    before = links.state(server)
    bad = links.smashed(contract, size=2, value=float("nan"))
    good = links.smashed(contract, size=2)

    for i, smashed in enumerate((good, bad, good)):
        talk.send_forward(smashed, i, COUNT, 6)
    talk.receive_features()
    with pytest.raises(RefusedError) as info:
        talk.receive_features()
    talk.session.infer(good)

    assert info.value.reason == "not-finite"
    assert links.same(links.state(server), before)
    take(talk, contract)
    assert talk.session.next_step == 1


def test_a_server_that_died_gets_what_it_lost(server, quiet, tmp_path):
    """Steps before its last checkpoint, and what it had of this one."""
    other = links.halves()[1]
    hosts = [
        TrainingService(other.half, checkpoints=tmp_path, checkpoint_every=100)
    ]
    fresh, seen = links.halves()[1], []

    def breaks(message):
        if isinstance(message, Backward) and message.step == 1:
            seen.append(message)
        if len(seen) == 2 and len(hosts) == 1:  # it dies
            hosts.append(TrainingService(fresh.half, checkpoints=tmp_path))
            return True
        return False

    talk = Talk(lambda: hosts[-1], breaks=breaks)
    talk.session.connect(other.contract, links.MOMENTUM)

    replies = [take(talk, other.contract, seed) for seed in (0, 10)]

    assert len(hosts) == 2
    assert all(map(links.same, replies, quiet[0]))
    assert links.same(links.state(fresh), quiet[1])


@pytest.mark.slow
def test_a_death_and_two_cuts_of_a_real_link_change_nothing(tmp_path):
    ends = []
    passed = 0
    for name in ("quiet", "chaos"):
        client, server = links.halves("int8")
        server.save(tmp_path / "server.keras")
        with ServeProcess(
            *(tmp_path / "server.keras", "--checkpoints", tmp_path / name),
            *("--checkpoint-every", 7),
            *("--audit-log", tmp_path / f"{name}.log"),
            *("--save", tmp_path / f"{name}.keras"),
        ) as process:
            plan = [
                (int(passed * 0.3), "cut"),
                (int(passed * 0.55), process.kill),
                (int(passed * 0.8), "cut"),
            ]
            with Proxy(process.port, plan if passed else ()) as proxy:
                client.compile(
                    keras.optimizers.SGD(0.05, momentum=0.9),
                    keras.losses.SparseCategoricalCrossentropy(True),
                    strategy=SplitStrategy(
                        f"grpc://{proxy.target}",
                        retry=Retry(120, 0.05, 0.5),
                        microbatches=COUNT,
                    ),
                )
                x, y = links.batch(80)
                client.fit(
                    *(x, y), batch_size=8, epochs=2, shuffle=False, verbose=0
                )
                client.close()
            passed = proxy.passed
            assert process.stop() == 0
        body = keras.models.load_model(tmp_path / f"{name}.keras")
        ends.append([v.numpy() for v in [*client.variables, *body.variables]])
        taken = committed(tmp_path / f"{name}.log")
        assert list(taken.values()) == [[*range(20)]]

    assert len(proxy.done) == 3
    assert links.same(*ends)
