import json
from types import SimpleNamespace

import pytest

from keras_split.errors import DataError
from keras_split_cli.early_stopping import EarlyStopping


class Client:
    """What a callback asks of a client."""

    def __init__(self):
        self.stop_training = False
        self.epoch = -1
        self.snapshot_tag = ""
        self.released = []
        connection = SimpleNamespace(unneeded=self.released)
        session = SimpleNamespace(connection=connection)
        self.strategy = SimpleNamespace(session=session)

    def save_weights(self, path, overwrite):
        path.write_text(str(self.epoch))
        self.snapshot_tag = f"tag-{self.epoch}"

    def load_weights(self, path):
        self.epoch = int(path.read_text())


def trained(folder, losses, done=0, patience=2):
    """A client that went through epochs, and what stopped it."""
    stopping, client = EarlyStopping(patience, folder, done), Client()
    stopping.set_model(client)
    for client.epoch, loss in enumerate(losses[done:], done):
        stopping.on_epoch_end(client.epoch, {"val_loss": loss})
        if client.stop_training:
            break
    return client, stopping


def test_it_stops_and_brings_back_the_best_epoch(tmp_path):
    client, stopping = trained(tmp_path, [3, 1, 2, 2, 0])

    assert client.stop_training and client.epoch == 3
    stopping.on_train_end()
    assert client.epoch == 1 and stopping.best_epoch == 2


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_training_that_was_killed_stops_where_it_would_have(tmp_path, done):
    losses = [3, 2, 1, 2, 2, 0]
    trained(tmp_path, losses[: done + 1])  # one more than its state says

    client, stopping = trained(tmp_path, losses, done)

    assert client.epoch == 4
    stopping.on_train_end()
    assert client.epoch == 2


def test_only_what_may_be_needed_is_kept(tmp_path):
    client, _ = trained(tmp_path, [5, 4, 3, 2])

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-000003.weights.h5",
        "best-000004.weights.h5",
        "early-stopping.json",
    ]
    assert client.released == ["tag-0", "tag-1"]


def test_a_best_epoch_that_will_come_again_is_forgotten(tmp_path):
    trained(tmp_path, [3, 2, 1])

    EarlyStopping(1, tmp_path, done=2)

    names = sorted(path.name for path in tmp_path.glob("best-*"))
    assert names == ["best-000002.weights.h5"]


@pytest.mark.parametrize("text", [None, "{", "[1.0]", '["x", 1]'])
def test_losses_that_are_not_there_are_named(tmp_path, text):
    if text is not None:
        (tmp_path / "early-stopping.json").write_text(text)

    with pytest.raises(DataError, match="validation losses of 2 epochs"):
        EarlyStopping(1, tmp_path, done=2)


def test_a_loss_that_is_no_number_can_be_read_again(tmp_path):
    trained(tmp_path, [float("nan"), 1.0])

    assert json.loads((tmp_path / "early-stopping.json").read_text())[1] == 1
    assert EarlyStopping(3, tmp_path, done=2).best_epoch == 2


def test_a_best_epoch_whose_file_is_gone_is_named(tmp_path):
    _, stopping = trained(tmp_path, [1, 2])
    (tmp_path / "best-000001.weights.h5").unlink()

    with pytest.raises(DataError, match="best epoch in .*best-000001"):
        stopping.on_train_end()
