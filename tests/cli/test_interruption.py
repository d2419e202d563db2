"""Ctrl-C in a training, from a callback or in the middle of a step."""

import signal
import threading

import pytest

import keras_split
from keras_split.models import ClientModel
from keras_split_cli import interruption
from keras_split_cli.interruption import Interruption
from keras_split_cli.narration import Narration
from tests.cli import commands


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard here, which a job in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def phone(tmp_path):
    """A server, and the arguments to train with it: two epochs of two steps."""
    data = commands.archive(tmp_path / "data.npz", (8, 8))
    client, server = commands.halves()
    client.save(tmp_path / "client.keras")
    with server.serve(port=0) as running:
        yield (
            server,
            (
                *("train", tmp_path / "client.keras", "--data", data),
                *("--server", running.target, "--epochs", 2),
                *("--batch-size", 8, "--validation-split", 0),
            ),
        )


def interrupt(monkeypatch, kind, name, call):
    """Presses Ctrl-C in the n-th call of a method, before it does its work."""
    plain, calls = getattr(kind, name), []

    def pressed(self, *args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(kind, name, pressed)


def test_what_was_learned_so_far_is_saved(phone, tmp_path, monkeypatch):
    server, train = phone
    before, closed = signal.getsignal(signal.SIGINT), []
    monkeypatch.setattr(ClientModel, "close", lambda c: closed.append(c))
    interrupt(monkeypatch, Narration, "on_train_batch_end", 3)

    result = commands.run(*train, "--save", tmp_path / "kept.keras")

    assert result.returncode == 1
    assert "is gone at the end" not in result.stderr
    assert "Ctrl-C again stops at once" in result.stderr
    assert (
        "Stopped after 1 epoch and 1 step: saved the phone's half in "
        f"{tmp_path / 'kept.keras'}." in result.stderr
    )
    kept = keras_split.load_model(tmp_path / "kept.keras")
    assert int(kept.optimizer.iterations) == 3
    assert kept.moment.steps == server.moment.steps == 3
    keras_split.join(kept, server)  # of one moment
    assert len(closed) == 1  # other phones do not wait for this one
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (1, "Stopped after 1 step. Nothing was saved: --save FILE keeps"),
        (2, "Stopped after 1 epoch. Nothing was saved: --save FILE keeps"),
    ],
)
def test_without_a_file_it_says_what_would_keep_it(
    phone, monkeypatch, call, said
):
    interrupt(monkeypatch, Narration, "on_train_batch_end", call)

    result = commands.run(*phone[1])

    assert result.returncode == 1
    assert said in result.stderr


def test_a_file_that_is_not_waited_for_is_not_written(
    phone, tmp_path, monkeypatch
):
    interrupt(monkeypatch, Narration, "on_train_batch_end", 1)
    interrupt(monkeypatch, ClientModel, "save", 1)

    result = commands.run(*phone[1], "--save", tmp_path / "kept.keras")

    assert result.returncode == 1
    assert "kept.keras was not written" in result.stderr
    assert not (tmp_path / "kept.keras").exists()


def test_before_the_first_step_there_is_nothing_to_save(
    phone, tmp_path, monkeypatch
):
    interrupt(monkeypatch, Narration, "on_train_begin", 1)

    result = commands.run(*phone[1], "--save", tmp_path / "kept.keras")

    assert result.returncode == 1
    assert "before the first step: nothing was saved" in result.stderr
    assert not (tmp_path / "kept.keras").exists()


def test_the_second_time_it_does_not_wait_and_saves_nothing(
    phone, tmp_path, monkeypatch
):
    for kind in (Narration, Interruption):
        interrupt(monkeypatch, kind, "on_train_batch_end", 3)
    states = tmp_path / "states"

    result = commands.run(
        *(*phone[1], "--save", tmp_path / "kept.keras", "--resume", states)
    )

    assert result.returncode == 1
    assert "Stopped in the middle of a step: nothing was" in result.stderr
    assert f"{states} has the state after epoch 1." in result.stderr
    assert not (tmp_path / "kept.keras").exists()


def test_a_job_in_the_background_goes_on(phone, tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt(monkeypatch, Narration, "on_train_batch_end", 1)

    result = commands.run(*phone[1], "--save", tmp_path / "kept.keras")

    assert result.returncode == 0
    assert (tmp_path / "kept.keras").exists()


def test_a_step_that_hangs_is_left_at_the_second_time(monkeypatch, capsys):
    monkeypatch.setattr(interruption, "_GRACE_S", 0.01)
    left = threading.Event()
    monkeypatch.setattr(interruption.os, "_exit", lambda code: left.set())

    with pytest.raises(KeyboardInterrupt), Interruption(None, None) as stop:
        stop.on_train_batch_begin(0)
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            assert left.wait(10)

    assert "nothing was saved" in capsys.readouterr().err


def test_the_saving_at_the_end_is_not_cut_off(phone, tmp_path, monkeypatch):
    interrupt(monkeypatch, ClientModel, "save", 1)

    result = commands.run(*phone[1], "--save", tmp_path / "kept.keras")

    assert result.returncode == 0, result.stderr
    kept = keras_split.load_model(tmp_path / "kept.keras")
    assert int(kept.optimizer.iterations) == 4
