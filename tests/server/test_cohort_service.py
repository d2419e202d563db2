"""A cohort in a service: kept with bodies, and closed to who is not in it."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_split.errors import DataError
from keras_split.errors import RefusedError
from keras_split.protocol.cohort_messages import Enrolled
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Goodbye
from keras_split.server.callbacks import Caller
from keras_split.server.cohorts import modes
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.service import TrainingService
from tests import links
from tests.server.cohorts import fakes


@pytest.fixture(scope="module")
def server():
    return links.halves()[1]


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    made = dict.fromkeys(("merged", "private", "shared"), fakes.Idle)
    monkeypatch.setattr(modes, "_MODES", made)


def host(server, folder=None, mode="shared", **options):
    cohort = CohortConfig(mode)
    return TrainingService(
        server.half, cohort=cohort, checkpoints=folder, **options
    )


@pytest.mark.parametrize("mode", ["shared", "private"])
def test_a_server_that_was_killed_goes_on_with_its_cohort(
    server, tmp_path, mode
):
    first, ann = host(server, tmp_path, mode), Caller("ann")
    name = first.handle(links.hello(server.contract), ann).session
    assert first.handle(fakes.enroll(name), ann).give_half
    assert first.handle(fakes.half(name), ann) == Done()
    info = first.cohort.info

    with pytest.raises(DataError, match=f"--cohort {mode}"):
        TrainingService(
            server.half,
            checkpoints=tmp_path,
            bodies="private" if mode == "private" else "shared",
        )
    second = host(server, tmp_path, mode)  # the first one was killed

    assert second.cohort.info == info
    hello = links.hello(server.contract)
    if mode == "shared":  # its body's checkpoint knows the session, too
        hello = replace(hello, session=name)
    session = second.handle(hello, ann).session
    reply = second.handle(fakes.enroll(session), ann)
    assert isinstance(reply, Enrolled) and not reply.give_half
    assert (reply.member, reply.version) == (0, 0)
    np.testing.assert_array_equal(reply.tensors[0].codes, [[1.0] * fakes.SIZE])
    assert second.handle(Goodbye(session), ann) == Done()
    assert second.cohort.members.present == []


def test_a_half_may_be_longer_than_a_batch(server):
    cohort = CohortConfig("shared", max_half_bytes=1 << 20)
    service = TrainingService(server.half, cohort=cohort, max_batch=1)

    assert service.max_message_bytes == (1 << 20) + (1 << 16)


def test_a_phone_that_is_not_in_it_predicts_and_does_not_train():
    client, server = links.halves()
    x, y = links.batch()
    with server.serve(port=0, cohort=CohortConfig("merged")) as running:
        links.compile(client, address=f"grpc://{running.target}")
        before = [*map(np.array, client.get_weights())]

        with pytest.raises(RefusedError) as raised:
            client.fit(x, y, verbose=0)

        assert raised.value.reason == "cohort"
        assert "callbacks=[keras_split.FederatedAveraging()]" in str(
            raised.value
        )
        for value, old in zip(client.get_weights(), before, strict=True):
            np.testing.assert_array_equal(value, old)
        assert np.isfinite(client.evaluate(x, y, verbose=0)[0])
        assert client.predict(x, verbose=0).shape == (8, 3)
        client.close()
        keras.backend.clear_session()
