"""A server of merged phones dies, and its lost steps are made again."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from keras_split.errors import RefusedError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import SmashedGrad
from tests.nets import largest_difference
from tests.server.cohorts.lost_servers import NOISE
from tests.server.cohorts.lost_servers import SIZES
from tests.server.cohorts.lost_servers import Unheard
from tests.server.cohorts.lost_servers import served
from tests.server.cohorts.lost_servers import trained
from tests.server.cohorts.merged_phones import together


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("quiet") / "kept")


class Kill:
    """Kills the server once, when a phone is at some point."""

    def __init__(self, *points):
        self.points = set(points)
        self.lock = threading.Lock()

    def __call__(self, server, *point):
        with self.lock:
            due = point in self.points
            self.points.discard(point)
            if due:
                server.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "every"),
    [("ask", 100), ("forward", 100), ("backward", 100), ("backward", 3)],
)
def test_weights_are_as_if_the_server_had_never_died(
    tmp_path, quiet, what, every
):
    harm = Kill((1, 7, what))
    done, weights, deaths = trained(tmp_path / "kept", harm=harm, every=every)

    assert deaths == 1
    assert done == quiet[0]
    assert largest_difference(weights, quiet[1]) < NOISE


@pytest.mark.parametrize(
    ("kind", "heard", "every"),
    [
        (Share, (1,), 100),  # of the first step
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (Share, (23,), 3),
                (Share, (10, 22, 25), 100),
                (Features, (16,), 3),
                (Features, (1, 8, 14), 100),
                (SmashedGrad, (16,), 3),
                (SmashedGrad, (1, 8, 14), 100),
            )
        ),
    ],
)
def test_nobody_is_left_out_who_has_not_heard_when_others_have(
    tmp_path, quiet, kind, heard, every
):
    done, weights, deaths = trained(
        tmp_path / "kept", watch=Unheard(kind, *heard), every=every
    )

    assert deaths == len(heard)
    assert done == quiet[0]
    assert largest_difference(weights, quiet[1]) < NOISE


@pytest.mark.slow
def test_a_phone_that_comes_back_too_late_goes_on_behind_its_lost_steps(
    tmp_path,
):
    # The epoch may end without it, and the next one begins without the others.
    waits = {"step_deadline_s": 1.0, "round_deadline_s": 1.0}
    with served(tmp_path / "kept", **waits) as (server, phones):
        for _ in range(3):
            together([phone.step for phone in phones])
        server.kill()
        two, late = phones[:2], phones[2]
        together([phone.step for phone in two])
        taken = late.session.next_step
        shares = together([phone.step for phone in phones])

        assert taken == 3
        assert shares[2].count
        assert late.session.next_step == 4


def averaged(phones, steps):
    """Trains; returns the average of each step, and what each phone took."""
    means = {}

    def train(phone):
        half, shares = phone.cohort._half, []
        while not shares or shares[-1].step < steps - 1:
            share = phone.step()
            if share.step < 0:
                continue
            shares.append(share)
            gradient = np.full(3, share.step + phone.cohort.member)
            try:
                mean = phone.cohort.average(
                    share.step, gradient.astype("float32"), share.count
                )
            except RefusedError as error:
                assert error.reason == "late"
            else:
                means[share.step] = mean
                half.vector[:3] += mean
        return [(share.step, share.count) for share in shares]

    return means, together([lambda p=p: train(p) for p in phones])


@pytest.mark.slow
@pytest.mark.parametrize("heard", [0, 1, 2])
def test_an_average_that_some_have_heard_of_is_in_every_half(tmp_path, heard):
    steps = 6
    options = {
        "watch": Unheard(Gathered, 3 * len(SIZES) + heard),
        "terms": AveragingTerms(every=1, what="gradients"),
        "plain_aggregation": True,
    }
    with served(tmp_path / "kept", **options) as (server, phones):
        means, seen = averaged(phones, steps)

        assert server.deaths == 1
        assert [[step for step, _ in each] for each in seen] == [
            [*range(steps)]
        ] * len(phones)
        for phone in phones:
            assert phone.cohort.version == steps
            np.testing.assert_allclose(
                phone.cohort._half.vector[:3],
                sum(means[step] for step in range(steps)),
                1e-5,
            )


@pytest.mark.slow
@pytest.mark.parametrize("heard", [1, 2])
@pytest.mark.parametrize("told", [0, 1, 2, 3])
def test_nobody_is_left_out_for_an_average_that_died_with_a_server(
    tmp_path, heard, told
):
    # The next server is killed, too, when it has told so many what to do next.
    average = Unheard(Gathered, 3 * len(SIZES) + heard)
    share = Unheard(Share, 4 * len(SIZES) + told)

    def watch(*server):
        average(*server)
        share(*server)

    options = {
        "watch": watch,
        "terms": AveragingTerms(every=1, what="gradients"),
        "plain_aggregation": True,
    }
    with served(tmp_path / "kept", **options) as (server, phones):
        _, seen = averaged(phones, 6)

        assert server.deaths == 2
        assert [[step for step, _ in each] for each in seen] == [
            [*range(6)]
        ] * len(phones)
        assert {phone.cohort.version for phone in phones} == {6}
        assert len({tuple(p.cohort._half.vector) for p in phones}) == 1


def test_a_lie_of_one_phone_moves_no_counter_of_a_server_that_came_back(
    tmp_path,
):
    with served(tmp_path / "kept") as (server, phones):
        together([phone.step for phone in phones])
        server.kill()
        liar, connection = phones[0], phones[0].session.connection
        known = connection.merged or MergedStep(0, 1, (0, 1, 2), b"x")
        refused = []

        def lie():
            for lie in ({"step": 1 << 40}, {"ticket": b""}):
                connection.merged = replace(known, **{"step": 1, **lie})
                rows = liar.halves.forward(liar.x[:1])
                with pytest.raises(RefusedError) as raised:
                    liar.session.forward(rows)
                refused.append(raised.value.reason)
            return liar.ask()

        shares = together([lie, phones[1].ask, phones[2].ask])

        assert refused == ["cohort", "late"]
        assert {share.step for share in shares} == {1}
