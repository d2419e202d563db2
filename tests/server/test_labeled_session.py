"""A session whose client sends labels: the loss is the server's."""

import json

import keras
import numpy as np
import pytest

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.models.server_link import describe_loss
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import LabeledStep
from keras_split.server.body import Body
from keras_split.server.session import Session
from keras_split.server.session_state import SessionState
from keras_split.server.storage.snapshots import Snapshots
from tests import links


def forward(server, step=0, **options):
    return Forward("s", step, links.smashed(server.contract, **options))


def refusal(session, message):
    with pytest.raises(ProtocolError) as info:
        session.handle(message)
    return info.value


@pytest.fixture(scope="module")
def labeled():
    """A client and the body of a model that is cut once."""
    client, server = links.halves(cut=["first"])
    return links.compile(client), server


@pytest.fixture
def labeled_session(labeled, tmp_path):
    client, server = labeled
    before = server.half.weights()
    start = SessionState("s", "", links.SGD, describe_loss(client))
    yield Session(start, Body(server.half, snapshots=Snapshots(tmp_path)))
    server.half.set_weights(before)


def labeled_step(server, step=0, labels=None, weights=None, **options):
    labels = np.arange(8) % 3 if labels is None else np.asarray(labels)
    weights = [] if weights is None else [np.asarray(weights, "float32")]
    return LabeledStep(
        "s",
        step,
        links.smashed(server.contract, **options),
        [CutTensor("labels_0", labels.shape, labels)],
        [CutTensor("sample_weights_0", w.shape, w) for w in weights],
        0.1,
    )


@pytest.mark.parametrize(
    "loss",
    [
        keras.Sequential([keras.layers.Dense(1)]),
        keras.layers.Dense(2),
        ["mse", {"a": keras.optimizers.SGD()}],
        {"class_name": "function", "module": "builtins", "config": "exec"},
        {"class_name": "system", "module": "os", "config": {}},
    ],
    ids=["model", "layer", "optimizer", "exec", "os"],
)
def test_only_losses_are_built_from_the_config_of_a_loss(labeled, loss):
    config = keras.saving.serialize_keras_object(
        {"loss": loss, "loss_weights": None}
    )

    with pytest.raises(ProtocolError, match="Use a loss of keras.losses") as e:
        labeled[1].half.optimizer(links.SGD, json.dumps(config))

    assert e.value.reason == "loss"


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        keras.losses.Huber(),
        [keras.losses.mean_absolute_error, "mse"],
        None,
    ],
    ids=["name", "object", "list", "none"],
)
def test_every_loss_of_keras_is_accepted(labeled, loss):
    config = keras.saving.serialize_keras_object(
        {"loss": loss, "loss_weights": [1.0, 0.5]}
    )

    labeled[1].half.optimizer(links.SGD, json.dumps(config)).leave()


def test_a_labeled_step_commits_once(labeled, labeled_session):
    _, server = labeled
    before = links.state(server)

    first = labeled_session.handle(labeled_step(server))
    after = links.state(server)
    second = labeled_session.handle(labeled_step(server))

    assert isinstance(first, LabeledResult) and second is first
    assert not links.same(after, before)
    assert links.same(links.state(server), after)


def test_a_forward_is_refused_where_a_model_is_cut_once(
    labeled, labeled_session
):
    error = refusal(labeled_session, forward(labeled[1]))

    assert error.reason == "order"
    assert "Expected a labeled step, for this model is cut once." in str(error)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"labels": np.zeros(7, "int64")}, "shape"),
        ({"weights": np.ones(9)}, "shape"),
        ({"weights": np.full(8, np.inf)}, "not-finite"),
        ({"step": 1}, "order"),
        ({"value": np.nan}, "not-finite"),
        ({"weights": np.full(8, 3e38)}, "not-finite"),
    ],
    ids=["labels", "weights", "infinite", "order", "smashed", "overflow"],
)
def test_a_labeled_step_that_is_refused_changes_nothing(
    labeled, labeled_session, options, reason
):
    _, server = labeled
    before = links.state(server)

    error = refusal(labeled_session, labeled_step(server, **options))
    after = links.state(server)
    reply = labeled_session.handle(labeled_step(server))

    assert error.reason == reason
    assert links.same(after, before)
    assert np.isfinite(reply.loss)
