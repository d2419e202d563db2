import threading

import numpy as np
import pytest

import keras_split
from keras_split import device
from keras_split.device import FederatedAveraging
from keras_split.device.half_vector import HalfVector
from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.models import half_vector
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.server.cohorts.config import CohortConfig
from tests import links
from tests.federation import fake_mode

X, Y = links.batch(21)


@pytest.fixture
def made(monkeypatch):
    return fake_mode.install(monkeypatch)


def cohort(**config):
    return links.served(cohort=CohortConfig(**config))


def data(size):
    return device.batches(X, Y, size, seed=None)


def vector(phone):
    return HalfVector(phone._model, phone.description).get()


def alone(phone, size, epochs=2):
    """Head and tail after a training by itself, and its logs."""
    with links.served() as (_, _, address):
        subject = phone(address)
        logs = subject.fit(data(size), epochs, verbose=False)
        return vector(subject), logs


def test_one_phone_in_rounds_trains_as_it_does_alone(phone, made):
    expected, logs = alone(phone, 8)
    with cohort(mode="private", phones=1) as (_, _, address):
        subject = phone(address)
        found = subject.fit(
            data(8), 2, federate=FederatedAveraging(), verbose=False
        )

        np.testing.assert_allclose(vector(subject), expected, atol=1e-6)
        assert not subject.session.connection.transport  # none waits for it
    for name, values in logs.items():
        assert found[name] == pytest.approx(values)
    assert made[0].weights == [21, 21]


@pytest.mark.parametrize(
    "every",
    [1, *(pytest.param(k, marks=pytest.mark.slow) for k in ("epoch", 3))],
)
def test_one_phone_of_a_merged_cohort_trains_with_its_shares(
    phone, made, every
):
    """Six at a time, of batches that hold eight."""
    expected, _ = alone(phone, 6)
    with cohort(mode="merged", phones=1, batch=6) as (_, _, address):
        subject = phone(address)
        subject.fit(
            data(8), 2, federate=FederatedAveraging(every), verbose=False
        )

        np.testing.assert_allclose(vector(subject), expected, atol=1e-6)
    asked = [message.left for message in made[0].asked]
    assert asked == [21, 15, 9, 3, 0] * 2
    assert sum(made[0].weights) == 42


@pytest.mark.slow
def test_a_keras_client_and_a_device_end_with_one_half(phone, made):
    with cohort(mode="private", phones=2) as (client, _, address):
        links.compile(client, links.keras.optimizers.SGD(0.1), address)
        subject = phone(address)
        fit = threading.Thread(
            target=client.fit,
            args=(X[:9], Y[:9], 3, 2, 0),
            kwargs={"callbacks": [keras_split.FederatedAveraging(2)]},
        )
        fit.start()
        subject.fit(data(7), 2, federate=FederatedAveraging(2), verbose=False)
        fit.join()

        np.testing.assert_array_equal(
            vector(subject), half_vector.HalfVector(client).get()
        )


@pytest.mark.parametrize(
    "kind", [pytest.param(Forward, marks=pytest.mark.slow), Backward]
)
def test_a_step_that_is_late_moves_nothing_and_its_examples_come_again(
    phone, made, monkeypatch, kind
):
    expected, _ = alone(phone, 8, 1)
    answer, late = fake_mode.FakeMode.answer, []

    def refuses(mode, message, member, session):
        if isinstance(message, kind) and not late:
            late.append(vector(subject))
            raise ProtocolError("Expected it in time.", "late")
        return answer(mode, message, member, session)

    monkeypatch.setattr(fake_mode.FakeMode, "answer", refuses)
    with cohort(mode="merged", phones=1, batch=8) as (_, _, address):
        subject = phone(address)
        subject.fit(data(8), federate=FederatedAveraging(), verbose=False)

        np.testing.assert_allclose(vector(subject), expected, atol=1e-6)
        assert subject.step == 3
    assert [m.left for m in made[0].asked] == [21, 21, 13, 5, 0]


def test_who_stops_in_the_middle_waits_for_the_end_of_the_epoch(phone, made):
    with cohort(mode="merged", phones=1, batch=8) as (_, _, address):
        logs = phone(address).fit(
            *(data(8), 3),
            federate=FederatedAveraging(),
            on_batch=lambda number, logs: number < 1,
            verbose=False,
        )

    assert len(logs["loss"]) == 1
    assert [message.left for message in made[0].asked] == [21, 13, 0]
    assert made[0].weights == [16]


def test_a_merged_cohort_is_to_know_how_many_examples_there_are(phone, made):
    with cohort(mode="merged", phones=1, batch=8) as (_, _, address):
        subject = phone(address)
        with pytest.raises(OptionError, match="examples="):
            subject.fit(lambda: iter(data(8)), federate=FederatedAveraging())
        subject.fit(
            lambda: iter(data(8)),
            federate=FederatedAveraging(examples=21),
            verbose=False,
        )
        subject.fit(list(data(8)), federate=FederatedAveraging())

    assert [m.left for m in made[0].asked] == [21, 13, 5, 0] * 2


def test_a_server_that_could_read_its_half_is_refused_if_asked_for(phone, made):
    with cohort(mode="private", phones=2) as (_, _, address):
        with pytest.raises(RefusedError, match="plain-aggregation"):
            phone(address).fit(
                data(8), federate=FederatedAveraging(require_secure=True)
            )


def test_a_server_without_a_cohort_is_refused(phone):
    with links.served() as (_, _, address):
        with pytest.raises(RefusedError, match="--cohort"):
            phone(address).fit(data(8), federate=FederatedAveraging())


def test_a_round_of_an_epoch_does_not_end_with_a_step_not_taken(phone, made):
    x = X.copy()
    x[:8] = np.nan
    batches = device.batches(x, Y, 8, seed=None)
    with cohort(mode="private", phones=1) as (_, _, address):
        phone(address).fit(
            batches, federate=FederatedAveraging(), verbose=False
        )

    assert made[0].weights == [13]
