from pathlib import Path
from types import SimpleNamespace

from keras_split.server.callbacks import ServerCallback
from keras_split.server.storage.checkpointer import Checkpointer


class Kept:
    """Takes every state, and keeps none."""

    def save(self, state, odd):
        return Path("checkpoint")


def test_what_is_durable_can_be_asked_for_while_another_state_is_written():
    state = SimpleNamespace(sessions=[SimpleNamespace(name="s", next_step=5)])
    checkpointer = Checkpointer(
        Kept(), 1, 1 << 30, lambda: state, ServerCallback()
    )

    class Name(str):
        def __hash__(self):  # which is looked at in the middle of it
            checkpointer.try_now()
            return str.__hash__(self)

    assert checkpointer.durable_steps("s") == 0
    for _ in range(2):
        checkpointer.try_now()

    assert checkpointer.durable_steps(Name("s")) == 5
