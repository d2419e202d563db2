from types import SimpleNamespace

import numpy as np
import pytest

from keras_split.client.cohort import CohortClient
from keras_split.client.connection import Connection
from keras_split.client.retry import Retry
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort_messages import GIVE_FIRST
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import Enrolled
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.moment import Moment
from keras_split.transports import Route

INFO = CohortInfo("0" * 32, "shared", 2)


def client(info=INFO, statistics=False, **terms):
    session = SimpleNamespace(connection=SimpleNamespace(cohort=info))
    half = SimpleNamespace(size=3, layout="0" * 64, statistics=statistics)
    return CohortClient(session, AveragingTerms(**terms), half, 8)


def test_a_server_without_a_cohort_is_refused():
    with pytest.raises(RefusedError, match="serve --cohort") as raised:
        client(info=None)

    assert raised.value.reason == "cohort"


def test_an_optimizer_of_the_average_does_not_move_statistics():
    with pytest.raises(OptionError, match="batchnorm"):
        client(statistics=True, optimizer="{}")

    assert client(statistics=True).version == -1
    assert client(optimizer="{}").version == -1


@pytest.mark.parametrize("moment", [Moment("0" * 32, 9), Moment()])
def test_with_an_average_a_phone_is_where_the_body_is(moment):
    vector = np.ones(3, np.float32)
    told = Gathered(
        2, "value", (0, 1), 3, 1.0, vectors.to_tensors(vector), moment=moment
    )
    connection = Connection(Route.to("grpc://phone.invalid:1"), Retry())
    connection.cohort, connection.moment = INFO, Moment("0" * 32, 7)
    session = SimpleNamespace(
        connection=connection, ask=lambda kind, message: told
    )
    half = SimpleNamespace(size=3, layout="0" * 64, statistics=False)
    phone = CohortClient(session, AveragingTerms(), half, 20)

    phone.average(2, vector, 1.0)

    assert connection.moment == (moment or Moment("0" * 32, 7))


def test_a_share_of_more_than_a_phone_takes_in_a_step_is_refused():
    connection = SimpleNamespace(cohort=INFO, session="s", merged=None)
    session = SimpleNamespace(
        connection=connection, ask=lambda kind, message: Share(0, 9)
    )
    half = SimpleNamespace(size=3, layout="0" * 64, statistics=False)
    phone = CohortClient(session, AveragingTerms(), half, 20, capacity=8)

    with pytest.raises(ProtocolError, match="8 examples at most"):
        phone.share(20, 0)

    assert connection.merged is None


class Killed:
    """A server that is killed before it has the half that it asked for."""

    def __init__(self, *replies, reason="late"):
        self.connection = SimpleNamespace(cohort=INFO, session="s", merged=None)
        self.replies, self.asked = [*replies], []
        self._reason = reason

    def ask(self, kind, message):
        self.asked.append(type(message))
        if isinstance(message, PutHalf):
            raise RefusedError("Expected a half.", self._reason)
        return self.replies.pop(0)


def of(session):
    half = SimpleNamespace(
        size=3,
        layout="0" * 64,
        statistics=False,
        get=lambda: np.zeros(3, np.float32),
        set=lambda vector: None,
    )
    return CohortClient(session, AveragingTerms(), half, 20)


def test_a_phone_goes_on_whose_half_nobody_waits_for_any_more():
    session = Killed(Share(4, 9, (0, 1), 4, give_half=True))

    assert of(session).share(20, 0).step == 4

    assert session.connection.merged.step == 4


def test_a_phone_gives_its_half_and_asks_again():
    step = Share(4, 9, (0, 1), 4)
    session = Killed(Share(GIVE_FIRST, 0, version=4, give_half=True), step)

    assert of(session).share(20, 0) == step

    assert session.asked == [AskShare, PutHalf, AskShare]


def test_the_first_phone_enrolls_again_if_its_server_died_meanwhile():
    first = Enrolled(0, 0, give_half=True)
    vector = vectors.to_tensors(np.ones(3, np.float32))
    session = Killed(first, Enrolled(2, 5, tensors=vector))
    phone = of(session)

    phone.enroll()

    assert (phone.member, phone.version) == (2, 5)
    assert session.asked == [Enroll, PutHalf, Enroll]


def test_a_first_half_that_is_refused_each_time_is_given_up():
    session = Killed(*[Enrolled(0, 0, give_half=True)] * 5)

    with pytest.raises(RefusedError):
        of(session).enroll()

    assert session.asked.count(Enroll) == 3


def test_a_half_that_is_wrong_ends_its_phone():
    session = Killed(Share(4, 9, (0, 1), 4, give_half=True), reason="shape")

    with pytest.raises(RefusedError):
        of(session).share(20, 0)
