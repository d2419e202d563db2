"""A step of the body whose batch comes in microbatches."""

import numpy as np
import pytest

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.messages import Snapshot
from keras_split.server.service import TrainingService
from keras_split.training.server_microbatches import ServerMicrobatches
from tests import links

SIZES = (3, 3, 2)
COUNT, BATCH = len(SIZES), sum(SIZES)
ORDER = [("forward", i) for i in range(COUNT)] + [
    ("backward", i) for i in range(COUNT)
]


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture(autouse=True)
def same_start(server):
    before = server.half.weights()
    yield
    server.half.set_weights(before)


def opened(server, **options):
    """A host and the name of a session."""
    host = TrainingService(server.half, **options)
    return host, host.handle(Hello(server.contract, links.MOMENTUM)).session


def cut(tensors, index):
    """The rows of a microbatch."""
    first = sum(SIZES[:index])
    rows = slice(first, first + SIZES[index])
    return [
        CutTensor(
            t.name,
            (SIZES[index], *t.shape[1:]),
            t.codes[rows],
            None if t.scales is None else t.scales[rows],
        )
        for t in tensors
    ]


def message(server, session, kind, index, step=0, attempt=1, seed=0, **changed):
    """A message of a step of `SIZES`."""
    about = {"count": COUNT, "batch": BATCH, "attempt": attempt} | changed
    about = Microbatch(index, **about)
    if kind == "forward":
        tensors = links.smashed(server.contract, seed=seed)
        return Forward(session, step, cut(tensors, index), about)
    tensors = links.features_grad(server.contract, seed=seed + 100)
    return Backward(session, step, cut(tensors, index), 0.1, about)


def take(host, server, session, order=ORDER, **options):
    """Sends messages in an order; returns the replies."""
    return [
        host.handle(message(server, session, *which, **options))
        for which in order
    ]


def arrays(replies):
    return [part for reply in replies for part in links.parts(reply.tensors)]


def everything(server, host):
    slots = [a for s in host._sessions for a in s.state().slots]
    return links.state(server) + slots


@pytest.fixture
def quiet(server):
    """Replies and the state after a step without any trouble."""
    before = server.half.weights()
    host, session = opened(server)
    replies = take(host, server, session)
    state = everything(server, host)
    host.close_all()
    server.half.set_weights(before)
    return replies, state


def test_nothing_moves_before_the_last_microbatch(server):
    host, session = opened(server)
    before = links.state(server)

    for which in ORDER[:-1]:
        host.handle(message(server, session, *which))
        assert links.same(links.state(server), before)
    host.handle(message(server, session, *ORDER[-1]))

    assert not links.same(links.state(server), before)
    assert next(iter(host._sessions)).next_step == 1


def test_each_message_gets_its_part_of_the_answer(quiet):
    features, grads = quiet[0][:COUNT], quiet[0][COUNT:]

    assert all(isinstance(reply, Features) for reply in features)
    assert all(isinstance(reply, SmashedGrad) for reply in grads)
    for replies in (features, grads):
        assert [r.tensors[0].shape[0] for r in replies] == list(SIZES)


def test_the_order_of_forwards_and_backwards_is_free(server, quiet):
    host, session = opened(server)
    order = sorted(ORDER, key=lambda which: which[1])

    take(host, server, session, order)

    assert order != ORDER
    assert links.same(everything(server, host), quiet[1])


def test_a_mean_moves_as_with_the_whole_batch(server, quiet):
    """Moving means are exact; variances lack what is between the parts."""
    names = [v.path for v in server.body.variables]
    host, session = opened(server)
    links.take_step(host.handle, session, server.contract)
    whole = dict(zip(names, links.state(server), strict=True))

    parts = dict(zip(names, quiet[1], strict=False))

    (mean,) = [name for name in names if name.endswith("moving_mean")]
    np.testing.assert_allclose(parts[mean], whole[mean], rtol=1e-5, atol=1e-7)


def test_each_microbatch_has_a_seed_of_its_own(server):
    """Dropout does not drop the same places in all of them."""
    host, session = opened(server)
    tensors = cut(links.smashed(server.contract), 0)
    replies = [
        host.handle(Forward(session, 0, tensors, Microbatch(i, 2, 6)))
        for i in range(2)
    ]

    assert not links.same(arrays(replies[:1]), arrays(replies[1:]))


@pytest.mark.parametrize("places", [0, 1])
def test_microbatches_without_a_place_are_computed_anew(
    server, quiet, monkeypatch, places
):
    monkeypatch.setattr(server.half.in_flight, "limit", places)
    host, session = opened(server)

    replies = take(host, server, session)

    assert links.same(arrays(replies), arrays(quiet[0]))
    assert links.same(everything(server, host), quiet[1])


def test_a_repeated_microbatch_gets_the_same_answer(server, quiet):
    host, session = opened(server)
    order = [which for which in ORDER for _ in range(2)]

    replies = take(host, server, session, order)

    assert links.same(arrays(replies[::2]), arrays(quiet[0]))
    assert links.same(arrays(replies[1::2]), arrays(quiet[0]))
    assert links.same(everything(server, host), quiet[1])


def test_all_answers_to_the_last_step_are_kept(server, quiet, tmp_path):
    host, session = opened(server, checkpoints=tmp_path)
    take(host, server, session)
    host.close_all()

    host = TrainingService(server.half, checkpoints=tmp_path)
    replies = take(host, server, session, ORDER[COUNT:])

    assert links.same(arrays(replies), arrays(quiet[0][COUNT:]))
    assert links.same(everything(server, host), quiet[1])


def test_an_attempt_replaces_the_one_before(server, quiet):
    host, session = opened(server)
    take(host, server, session, ORDER[:-1], seed=7)

    take(host, server, session, attempt=2)
    late = host.handle(message(server, session, "forward", 0, seed=7))

    assert late.reason == "order"
    assert links.same(everything(server, host), quiet[1])


def test_what_was_given_up_does_not_disturb(server, quiet):
    host, session = opened(server)
    take(host, server, session, ORDER[:4], attempt=2)

    refusals = take(host, server, session, attempt=1, seed=7)
    take(host, server, session, ORDER[4:], attempt=2)

    assert {r.reason for r in refusals} == {"order"}
    assert links.same(everything(server, host), quiet[1])


def test_after_a_lost_connection_all_are_sent_again(server, quiet):
    host, session = opened(server)
    take(host, server, session, ORDER[:-1])
    host.leave(session)
    host.handle(Hello(server.contract, links.MOMENTUM, session=session))

    refused = host.handle(message(server, session, *ORDER[-1]))
    take(host, server, session)

    assert refused.reason == "order"
    assert links.same(everything(server, host), quiet[1])


def bad_messages():
    """What is wrong, and with which message of `ORDER`."""
    for where, (kind, index) in enumerate(ORDER):
        yield from ((where, "nan"), (where, "count"))
        if kind == "backward" or index == COUNT - 1:
            yield where, "rows"  # only the last forward shows them missing
        if index < COUNT - 1:
            yield where, "order"


@pytest.mark.parametrize(("where", "what"), [*bad_messages()])
def test_one_bad_message_undoes_the_step(server, quiet, where, what):
    host, session = opened(server)
    before = links.state(server)
    take(host, server, session, ORDER[:where])
    kind, index = ORDER[where]
    bad = message(server, session, kind, index)
    (tensor,) = bad.tensors
    if what == "nan":
        codes = tensor.codes.copy()
        codes[0, 0] = np.nan
        bad = _with(bad, CutTensor(tensor.name, tensor.shape, codes))
    elif what == "rows":
        shape = (1, *tensor.shape[1:])
        bad = _with(bad, CutTensor(tensor.name, shape, tensor.codes[:1]))
    elif what == "order":
        bad = message(server, session, kind, index + 1)
    else:
        bad = message(server, session, kind, index, count=1 << 20)

    refusal = host.handle(bad)

    assert isinstance(refusal, Refusal)
    assert links.same(links.state(server), before)
    take(host, server, session, attempt=2)
    assert links.same(everything(server, host), quiet[1])


def _with(message, tensor):
    values = {**vars(message), "tensors": [tensor]}
    return type(message)(**values)


def test_gradients_that_overflow_in_the_sum_undo_the_step(server):
    host, session = opened(server, max_grad_norm=float("inf"))
    before = links.state(server)
    replies = []

    for kind, index in ORDER:
        sent = message(server, session, kind, index)
        if kind == "backward":
            t = sent.tensors[0]
            codes = np.full_like(t.codes, 3e38)
            sent = _with(sent, CutTensor(t.name, t.shape, codes))
        replies.append(host.handle(sent))

    assert "not-finite" in [getattr(r, "reason", "") for r in replies]
    assert links.same(links.state(server), before)
    assert next(iter(host._sessions)).next_step == 0


def test_microbatches_that_cannot_be_are_refused(server):
    host, session = opened(server)

    for index, count in ((3, 3), (0, 65), (0, 0)):
        sent = message(server, session, "forward", 0, count=count)
        about = Microbatch(index, count, BATCH, 1)
        refusal = host.handle(Forward(session, 0, sent.tensors, about))
        assert refusal.reason == "microbatches"
        assert f"index {index} of {count}" in refusal.text


def test_a_batch_larger_than_the_server_takes_is_refused(server):
    host, session = opened(server, max_batch=BATCH - 1)

    refusal = host.handle(message(server, session, "forward", 0))

    assert refusal.reason == "size"
    assert "--max-batch" in refusal.text


def test_the_limits_hold_for_the_whole_batch(server):
    grads = links.features_grad(server.contract, seed=100)
    norm = norm_of(grads)
    shares = np.array(SIZES) / BATCH
    parts = [norm_of(cut(grads, i)) / norm for i in range(COUNT)]
    # What each part may have is the root of its share: squares add up.
    enough = norm * max(parts / np.sqrt(shares)) * 1.001
    assert (enough * shares < norm * np.array(parts)).any()

    host, session = opened(server, max_grad_norm=norm * 0.95)
    before = links.state(server)
    refused = take(host, server, session)
    after = links.state(server)
    host, session = opened(server, max_grad_norm=enough)
    taken = take(host, server, session)

    assert "norm" in [getattr(r, "reason", "") for r in refused]
    assert links.same(after, before)
    assert all(isinstance(r, Features | SmashedGrad) for r in taken)


def norm_of(tensors):
    flat = [part.ravel() for part in links.parts(tensors)]
    return float(np.linalg.norm(np.concatenate(flat)))


def test_gradients_are_scaled_down_to_the_limit(server, monkeypatch):
    sent, norm = [], 0.25
    host, session = opened(server, clip_grad_norm=norm)
    backward = ServerMicrobatches.backward

    def watch(self, index, smashed, features_grad, *rest, **last):
        sent.extend(links.parts(features_grad))
        return backward(self, index, smashed, features_grad, *rest, **last)

    monkeypatch.setattr(ServerMicrobatches, "backward", watch)
    take(host, server, session)

    squares = sum(np.square(part).sum() for part in sent)
    assert norm / 2 < np.sqrt(squares) <= norm * 1.0001


def test_other_sessions_come_in_between(server):
    """They do not notice a step until its last message commits it."""
    before, kept = server.half.weights(), []
    for alone in (True, False):
        server.half.set_weights(before)
        host, session = opened(server)
        other = host.handle(Hello(server.contract, links.SGD)).session
        replies = []
        for number, which in enumerate(ORDER[:-1]):
            if not alone:
                host.handle(message(server, session, *which))
            replies += links.take_step(
                host.handle, other, server.contract, number
            )
        kept.append(arrays(replies))
    quiet = links.state(server)
    reply = host.handle(message(server, session, *ORDER[-1]))

    assert links.same(kept[0], kept[1])
    assert isinstance(reply, SmashedGrad)
    assert not links.same(links.state(server), quiet)
    assert [s.next_step for s in host._sessions] == [1, len(ORDER) - 1]


def test_a_whole_batch_may_come_instead(server):
    host, session = opened(server)
    take(host, server, session, ORDER[:4])

    _, reply = links.take_step(host.handle, session, server.contract)

    assert isinstance(reply, SmashedGrad)
    assert not server.half.in_flight.waiting


def test_a_snapshot_that_comes_back_ends_the_step(server):
    host, session = opened(server)
    tag = host.handle(Snapshot(session)).tag
    take(host, server, session, ORDER[:4])

    host.handle(Restore(session, tag))

    assert host.handle(message(server, session, *ORDER[4])).reason == "order"
    assert not server.half.in_flight.waiting


def test_a_server_about_to_stop_finishes_a_step_in_microbatches(server):
    host, session = opened(server)
    take(host, server, session, ORDER[:1])

    host.drain(0.05)
    replies = take(host, server, session, ORDER[1:])
    begun = host.handle(message(server, session, "forward", 0, step=1))

    assert isinstance(replies[-1], SmashedGrad)
    assert begun.reason == "stopping"


def test_gradients_that_found_no_room_are_computed_anew(server, quiet):
    limit = 2 * server.half.in_flight.limit
    host, session = opened(server)
    rows = [take(host, server, session, ORDER[:-2])]
    for _ in range(limit):  # others, whose steps are never finished
        name = host.handle(Hello(server.contract, links.MOMENTUM)).session
        take(host, server, name, ORDER[:-2])

    held = [
        len(s._step._body._sums) for s in host._sessions if s._step is not None
    ]
    replies = rows[0] + take(host, server, session, ORDER[-2:])

    assert held == [0] + [1] * limit
    assert links.same(arrays(replies), arrays(quiet[0]))
    for other in list(host._sessions)[1:]:
        host.close(other.name)
    assert links.same(everything(server, host), quiet[1])
    host.close_all()
