import threading
import time
from dataclasses import replace
from functools import partial
from queue import Queue

import keras
import numpy as np
import pytest

from keras_split.client.cohort import CohortClient
from keras_split.client.session import ClientSession
from keras_split.errors import RefusedError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.messages import Forward
from keras_split.server import CohortConfig
from keras_split.server.callbacks import Caller
from keras_split.server.cohorts import patience
from keras_split.server.cohorts.alarm import Call
from keras_split.training.optimizer_description import describe
from keras_split.transports import Route
from tests.nets import largest_difference
from tests.nets import values_of
from tests.server.cohorts.merged_phones import BATCH
from tests.server.cohorts.merged_phones import RATE
from tests.server.cohorts.merged_phones import TERMS
from tests.server.cohorts.merged_phones import WAIT_S
from tests.server.cohorts.merged_phones import FakeHalf
from tests.server.cohorts.merged_phones import Halves
from tests.server.cohorts.merged_phones import Phone
from tests.server.cohorts.merged_phones import compiled
from tests.server.cohorts.merged_phones import data
from tests.server.cohorts.merged_phones import network
from tests.server.cohorts.merged_phones import together

LOSS = "sparse_categorical_crossentropy"


def config(**options):
    options = {"phones": 3, "batch": BATCH, "seed": 1} | options
    return CohortConfig("merged", **options)


def whole_after(batches):
    """An unsplit model, trained on the same batches."""
    whole = network()
    whole.compile(keras.optimizers.Adam(RATE), LOSS)
    for x, y in batches:
        whole.train_on_batch(x, y)
    return whole


def pooled(phones, step, members):
    rows = [phones[m].rows[step] for m in members]
    return [np.concatenate(each) for each in zip(*rows, strict=True)]


def phones_of(server, client, sizes, halves=None, **options):
    halves = halves or Halves(client)
    x, y = data(sum(sizes))
    ends = np.cumsum(sizes)
    return halves, [
        Phone(
            server.target,
            client.contract,
            x[end - n : end],
            y[end - n : end],
            halves,
            **options,
        )
        for end, n in zip(ends, sizes, strict=True)
    ]


@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_twenty_steps_are_those_of_one_model_on_the_pooled_batches(count):
    model, client, body = compiled()
    sizes = [9 + 7 * i for i in range(count)]
    batches, seen = [], []

    with body.serve(port=0, cohort=config(phones=count)) as server:
        halves, phones = phones_of(server, client, sizes)
        while len(batches) < 20:
            shares = together([phone.step for phone in phones])
            steps = {share.step for share in shares}
            assert len(steps) == 1
            if steps == {-1}:
                assert sum(seen) == sum(sizes)
                seen = []
                continue
            halves.update()
            step, members = shares[0].step, shares[0].members
            seen.append(sum(share.count for share in shares))
            batches.append(pooled(phones, step, members))
        whole = whole_after(batches)

    assert {len(x) for x, _ in batches} >= {BATCH}
    assert largest_difference(values_of(whole), values_of(model)) < 1e-5
    assert body.half.timeline.moment.steps == 20


@pytest.fixture(scope="module")
def small():
    """A body, a client and a server of three phones, which is used again."""
    return compiled()


def served(small, **options):
    return small[2].serve(port=0, cohort=config(**options))


def test_a_phone_that_misses_its_forward_is_left_out_and_asked_again(small):
    with served(small, step_deadline_s=2.0) as server:
        _, phones = phones_of(server, small[1], [8, 8, 8])
        shares = together([phone.ask for phone in phones])
        late = max(range(3), key=lambda i: shares[i].count)
        there = [i for i in range(3) if i != late and shares[i].count]

        features = together(
            [lambda i=i: phones[i].forward(shares[i]) for i in there]
        )
        with pytest.raises(RefusedError) as raised:
            phones[late].forward(shares[late])
        together(
            [
                lambda i=i, f=f: phones[i].backward(shares[i], f)
                for i, f in zip(there, features, strict=True)
            ]
        )

        assert raised.value.reason == "late"
        shares = together([phone.ask for phone in phones])
        assert {share.step for share in shares} == {1}
        together(
            [
                lambda i=i: phones[i].backward(
                    shares[i], phones[i].forward(shares[i])
                )
                for i in range(3)
                if shares[i].count
            ]
        )
        assert [phone.session.next_step for phone in phones] == [
            int(i in there) + bool(shares[i].count) for i in range(3)
        ]


def test_a_phone_without_gradients_is_in_the_statistics_alone():
    model, client, body = compiled()
    with body.serve(port=0, cohort=config(step_deadline_s=2.0)) as server:
        halves = Halves(client, keras.optimizers.SGD(RATE))
        _, phones = phones_of(server, client, [8, 8, 8], halves)
        shares = together([phone.ask for phone in phones])
        features = together(
            [
                lambda i=i: (
                    phones[i].forward(shares[i]) if shares[i].count else None
                )
                for i in range(3)
            ]
        )
        late = max(range(3), key=lambda i: shares[i].count)
        there = [i for i in range(3) if i != late and shares[i].count]
        together(
            [
                lambda i=i: phones[i].backward(shares[i], features[i])
                for i in there
            ]
        )
        with pytest.raises(RefusedError) as raised:
            phones[late].backward(shares[late], features[late])

    assert raised.value.reason == "late"
    # The same, whole: examples of the late phone weigh nothing. Its head has
    # no part in the others' gradients, which came to it through statistics.
    whole = network()
    whole.compile(keras.optimizers.SGD(RATE), LOSS)
    members = shares[0].members
    x, y = pooled(phones, 0, members)
    weights = np.concatenate(
        [np.full(shares[m].count, float(m != late)) for m in members]
    )
    count = len(x) / weights.sum()
    whole.train_on_batch(x, y, sample_weight=weights * count)
    halves.update()
    for name in ("b", "b_bn", "c"):
        expected, actual = (m.get_layer(name) for m in (whole, model))
        difference = largest_difference(values_of(expected), values_of(actual))
        assert difference < 1e-5, name


def test_an_epoch_does_not_begin_without_a_phone_that_validates(
    small, monkeypatch
):
    waits = Queue()

    class Alarm:
        """Notes how long is to be waited, and never rings."""

        def after(self, seconds, call):
            waits.put(seconds)
            return Call(0.0, 0, call)

    with served(small, phones=2) as server:
        _, phones = phones_of(server, small[1], [4, 4])
        shares = [share.step for share in together([p.step for p in phones])]
        while shares[0] >= 0:
            shares = [s.step for s in together([p.step for p in phones])]
        monkeypatch.setattr(patience, "ALARM", Alarm())

        def validate_and_ask():
            waited_s = waits.get(timeout=WAIT_S)
            return waited_s, phones[1].ask()

        one, (waited_s, other) = together([phones[0].ask, validate_and_ask])

    assert waited_s == CohortConfig.round_deadline_s  # not a step's
    assert one.step == other.step
    assert one.count + other.count == 8


def test_a_checkpoint_holds_merged_steps_and_who_comes_after_them(tmp_path):
    client, body = compiled("int8")[1:]
    folder = str(tmp_path / "state")
    with body.serve(port=0, cohort=config(), checkpoints=folder) as server:
        _, phones = phones_of(server, client, [8, 8, 8])
        together([phone.step for phone in phones])

        phones_of(server, client, [8], phones[0].halves)

    with compiled("int8")[2].serve(
        port=0, cohort=config(), checkpoints=folder
    ) as server:
        assert server.endpoint.service.cohort.mode.state()["step"] == 1
        assert len(server.endpoint.service.cohort.members) == 4


def test_a_phone_that_asks_again_has_the_same_share(small):
    with served(small) as server:
        _, phones = phones_of(server, small[1], [8, 8, 8])
        shares = together([phone.ask for phone in phones])
        drawn = next(i for i in range(3) if shares[i].count)

        assert phones[drawn].ask() == shares[drawn]


def test_the_first_step_waits_for_one_that_is_about_to_enroll(
    small, monkeypatch
):
    with served(small) as server:
        halves, phones = phones_of(server, small[1], [8, 8])
        cohort = server.endpoint.service.cohort
        shares = [Queue(), Queue()]
        for phone, share in zip(phones, shares, strict=True):
            ask = partial(lambda p, s: s.put(p.ask()), phone, share)
            threading.Thread(target=ask, daemon=True).start()
        end = time.monotonic() + WAIT_S
        while len(cohort.mode._asked) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        # Its place is written before anybody is told of it.
        monkeypatch.setattr(cohort, "_write", cohort.mode._go_on)

        _, (third,) = phones_of(server, small[1], [8], halves)
        share = third.ask()

        found = [share, *(each.get(timeout=WAIT_S) for each in shares)]
        assert {each.step for each in found} == {0}
        assert {each.members for each in found} == {share.members}
        assert 2 in share.members


def test_a_message_of_a_lost_connection_does_not_leave_its_phone_out(small):
    with served(small, step_deadline_s=600.0) as server:
        _, phones = phones_of(server, small[1], [8, 8, 8])
        together([phone.step for phone in phones])
        phone, cohort = phones[0], phones[0].cohort
        name = phone.session.connection.session
        old = AskShare(name, phone.left, 0, cohort.version, cohort._seen)
        shares = together([phone.ask for phone in phones])
        assert shares[0].count

        def step(i):
            features = phones[i].forward(shares[i])
            if i == 0:  # it was sent before, and is read behind this
                service = server.endpoint.service
                assert service.handle(old, Caller()) == shares[0]
            phones[i].backward(shares[i], features)
            return phones[i].ask()

        told = together([lambda i=i: step(i) for i in range(3)])

        assert {share.step for share in told} == {-1}


@pytest.mark.parametrize("what", ["nan", "count", "gives up"])
def test_who_cannot_give_its_share_is_not_waited_for(small, what):
    with served(small, step_deadline_s=600.0) as server:
        _, phones = phones_of(server, small[1], [8, 8, 8])
        shares = together([phone.ask for phone in phones])
        bad = max(range(3), key=lambda i: shares[i].count)
        there = [i for i in range(3) if i != bad and shares[i].count]

        def spoil():
            phone = phones[bad]
            if what == "nan":
                phone.x = np.full_like(phone.x, np.nan)
            elif what == "count":
                connection = phone.session.connection
                connection.merged = replace(
                    connection.merged, count=shares[bad].count + 1
                )
            else:
                phone.forward(shares[bad])
                return phone.ask()
            with pytest.raises(RefusedError) as raised:
                phone.forward(shares[bad])
            return raised.value.reason

        def step(i):
            phones[i].backward(shares[i], phones[i].forward(shares[i]))
            return phones[i].ask()

        said, *next_shares = together(
            [spoil, *(lambda i=i: step(i) for i in there)]
            if what == "gives up"
            else [lambda: (spoil(), phones[bad].ask())]
            + [lambda i=i: step(i) for i in there]
        )

        if what == "gives up":
            next_shares.append(said)
        else:
            assert said[0] == {"nan": "not-finite", "count": "cohort"}[what]
            next_shares.append(said[1])
        assert {share.step for share in next_shares} == {1}


def test_a_message_of_another_step_does_not_leave_its_phone_out(small):
    with served(small, step_deadline_s=600.0) as server:
        _, phones = phones_of(server, small[1], [8, 8, 8])
        together([phone.step for phone in phones])
        shares = together([phone.ask for phone in phones])
        session, share = phones[2].session, shares[2]
        assert share.count
        smashed = phones[2].halves.forward(phones[2].x[: share.count])
        old = Forward(
            session.connection.session,
            session.next_step - 1,
            smashed,
            merged=session.connection.merged,
        )

        with pytest.raises(RefusedError) as raised:
            session.connection.transport.exchange(old)
        assert raised.value.reason == "order"
        there = [i for i in range(3) if shares[i].count]
        calls = [partial(phones[i].forward, shares[i]) for i in there]

        assert len(together(calls)) == len(there)


@pytest.mark.parametrize("drawn", [False, True])
def test_a_phone_that_vanished_is_waited_for_and_not_for_ever(small, drawn):
    with served(small, step_deadline_s=600.0, return_deadline_s=1.0) as server:
        _, phones = phones_of(server, small[1], [8, 8, 8])
        if drawn:
            shares = together([phone.ask for phone in phones])
            assert all(share.count for share in shares)
        began = time.monotonic()
        phones[2].session.forget()  # as if it was killed
        time.sleep(0.2)
        if drawn:
            calls = [partial(phones[i].forward, shares[i]) for i in range(2)]
        else:
            server.endpoint.service.cohort.mode._next = 1  # not the first
            calls = [phone.ask for phone in phones[:2]]
        replies = together(calls)

        assert time.monotonic() - began >= 1.0  # it might have come back
        if not drawn:
            assert [len(share.members) for share in replies] == [2, 2]


def test_who_has_another_optimizer_is_refused(small):
    with served(small) as server:
        halves, _ = phones_of(server, small[1], [8])
        halves.optimizer = keras.optimizers.SGD(0.1)
        with pytest.raises(RefusedError, match="optimizer of the other phones"):
            phones_of(server, small[1], [8], halves)


def test_int8_codes_of_each_phone_mean_what_they_mean_alone():
    _, client, body = compiled("int8")
    with body.serve(port=0, cohort=config()) as server:
        halves, phones = phones_of(server, client, [8, 8, 8])
        for _ in range(2):
            together([phone.step for phone in phones])
            halves.update()

        assert body.half.timeline.moment.steps == 2
        assert np.isfinite(
            np.concatenate([v.ravel() for v in values_of(client.tail)])
        ).all()


def test_gradients_are_averaged_and_a_newcomer_catches_up(small):
    terms = AveragingTerms(every=1, what="gradients")
    options = {"plain_aggregation": True, "phones_per_step": 2}
    with served(small, **options) as server:
        halves, phones = phones_of(server, small[1], [8, 8, 8], terms=terms)
        for step in range(2):
            shares = together([phone.step for phone in phones])
            averages = together(
                [
                    lambda p=p, s=s: p.cohort.average(
                        s.step, np.full(3, p.cohort.member, np.float32), s.count
                    )
                    for p, s in zip(phones, shares, strict=True)
                ]
            )
            counts = [share.count for share in shares]
            expected = np.dot(counts, range(3)) / sum(counts)
            np.testing.assert_allclose(averages, expected, 1e-6)
            assert {phone.cohort.version for phone in phones} == {step + 1}
            # One of them was not drawn, and its half is of that moment, too.
            moments = {p.session.connection.moment for p in phones}
            assert moments == {small[2].half.timeline.moment}
            assert counts.count(0) == 1
            for phone in phones:
                phone.cohort._half.vector[:] = step + 1

        _, (newcomer,) = phones_of(server, small[1], [8], halves, terms=terms)
        assert newcomer.cohort.version == 0
        phones.append(newcomer)
        shares = together([phone.ask for phone in phones])

        assert {share.step for share in shares} in ({2}, {-1})
        assert newcomer.cohort.version == 2
        assert newcomer.cohort._half.vector.tolist() == [2.0] * 4


def test_who_comes_when_all_are_gone_begins_with_the_half_of_the_last_epoch(
    small,
):
    terms = AveragingTerms(every=1, what="gradients")
    with served(small, plain_aggregation=True) as server:
        halves, phones = phones_of(server, small[1], [8, 8, 8], terms=terms)
        steps = 0
        while together([phone.step for phone in phones])[0].step >= 0:
            steps += 1
            given = (steps - 1, np.zeros(3, np.float32), 1.0)
            together([partial(p.cohort.average, *given) for p in phones])
            for phone in phones:
                phone.cohort._half.vector[:] = steps
        for phone in phones:
            phone.session.close()

        _, (newcomer,) = phones_of(server, small[1], [8], halves, terms=terms)

        assert steps == 2
        assert newcomer.cohort.version == steps
        assert newcomer.cohort._half.vector.tolist() == [steps] * 4


class LongHalf(FakeHalf):
    size = weights = 50_000


def test_a_half_is_handed_to_a_newcomer_however_long_it_is(small):
    _, client, _ = small
    halves = [LongHalf(), LongHalf()]
    for half in halves:
        half.vector = np.zeros(half.size, np.float32)
    halves[0].vector += 3

    with served(small, phones=2) as server:
        for half in halves:
            session = ClientSession(
                Route.to(f"grpc://{server.target}"), overlap=False
            )
            optimizer = keras.optimizers.Adam()
            session.connect(client.contract, describe(optimizer))
            CohortClient(session, AveragingTerms(), half, 8).enroll()
            session.close()

    np.testing.assert_array_equal(halves[1].vector, halves[0].vector)
    assert halves[1].vector[-1] == 3


def test_a_half_comes_over_another_connection_however_long_it_is(small):
    _, client, _ = small
    half = LongHalf()
    half.vector = np.zeros(half.size, np.float32)

    cohort = CohortConfig("shared", phones=1)
    with small[2].serve(port=0, cohort=cohort) as server:
        session = ClientSession(
            Route.to(f"grpc://{server.target}"), overlap=False, retry=None
        )
        session.connect(client.contract, describe(keras.optimizers.Adam()))
        phone = CohortClient(session, AveragingTerms(), half, 8)
        phone.enroll()
        session.connection.hang_up()
        phone.version = -1  # it has trained on, alone

        assert phone.begin_round() == 0
        session.close()


def fit(phone):
    """Which steps of the cohort it was told of in an epoch of its own."""
    epoch, seen = phone.epoch, []
    while phone.epoch == epoch:
        seen.append(phone.step().step)
    return seen


def test_the_epochs_of_a_second_fit_end_for_all_at_once(small):
    with served(small, phones=2, batch=8) as server:
        _, phones = phones_of(server, small[1], [4, 44])
        together([partial(fit, phone) for phone in phones])
        for phone in phones:
            phone.cohort.leave()
        for phone in phones:
            phone.cohort = CohortClient(
                phone.session, TERMS, FakeHalf(), len(phone.x)
            )
            phone.cohort.enroll()
            phone.epoch = 0

        one, other = together([partial(fit, phone) for phone in phones])

    assert len(one) == 7
    assert one == other
