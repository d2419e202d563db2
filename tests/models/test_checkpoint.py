"""The body of a checkpoint, back in its half."""

import numpy as np
import pytest

import keras_split
from keras_split.errors import DataError
from keras_split.models.checkpoint import load_checkpoint
from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline
from keras_split.server.storage.checkpoints import Checkpoints
from keras_split.server.storage.checkpoints import HostState
from tests import nets


def a_server():
    return keras_split.compile(nets.built(nets.dense), ["a", "b"])[1]


def kept(server, folder, value):
    """A checkpoint in which each weight is a number."""
    body = [np.full(v.shape, value, "float32") for v in server.body.variables]
    timeline = Timeline(Moment("0123456789abcdef" * 2, int(value)))
    state = HostState(
        server.contract.fingerprint, body, [], [], timeline=timeline
    )
    return Checkpoints(folder).save(state)


@pytest.mark.parametrize("whole", [True, False])
def test_a_body_gets_the_weights_of_the_last_checkpoint_or_of_one(
    tmp_path, whole
):
    server = a_server()
    first = kept(server, tmp_path, 1.0)
    last = kept(server, tmp_path, 2.0)

    found = load_checkpoint(server, tmp_path if whole else first)

    assert found == (last if whole else first)
    expected = 2.0 if whole else 1.0
    assert server.moment.steps == expected
    assert all((v.numpy() == expected).all() for v in server.body.variables)


def test_nothing_is_made_or_changed_where_checkpoints_are_looked_for(tmp_path):
    server = a_server()
    before = nets.values_of(server)
    (tmp_path / "bodies" / "0123").mkdir(parents=True)
    (tmp_path / "checkpoint-00000001.npz.x.partial").touch()

    with pytest.raises(DataError, match="Expected a checkpoint.*Look"):
        load_checkpoint(server, tmp_path / "none")
    with pytest.raises(DataError, match="a body of its own.*0123"):
        load_checkpoint(server, tmp_path)

    assert nets.largest_difference(before, nets.values_of(server)) == 0
    assert not (tmp_path / "none").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_of_another_model_or_a_damaged_one_is_refused(tmp_path):
    server = a_server()
    path = kept(server, tmp_path, 1.0)
    before = nets.values_of(server)

    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="whole.*all damaged"):
        load_checkpoint(server, path)
    other = keras_split.compile(nets.built(nets.dense), ["a"])[1]
    kept(other, tmp_path, 1.0)
    with pytest.raises(DataError, match="fingerprint"):
        load_checkpoint(server, tmp_path)

    assert nets.largest_difference(before, nets.values_of(server)) == 0
