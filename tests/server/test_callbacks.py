import inspect

import pytest

from keras_split.server.callbacks import CallbackList
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.callbacks import label
from keras_split.server.observe import Audit
from keras_split.server.observe import Log
from keras_split.server.observe import Metrics
from keras_split.server.observe import StatusCollector

CALLS = {
    "opened": ("s", Caller()),
    "resumed": ("s", Caller(), 3),
    "left": ("s",),
    "closed": ("s", "goodbye"),
    "committed": (StepCommitted("s", 0, 0.1, 0.2),),
    "restored": ("s", "tag"),
    "refused": ("s", Caller(), "shape"),
    "carried": ("s", 1, 2),
    "checkpointed": ("path", 0.1),
    "loaded": ("path", {"s": 3}),
    "stopping": (),
    "enrolled": ("s", 2),
    "away": ("s", 2),
    "merged": (StepMerged(4, (0, 2), (1,), 0.5, 32),),
    "round_begun": (4, (0, 2)),
    "round_ended": (RoundEnded(4, (0,), (2,), 0.5, 5),),
}
NAMES = [name for name in vars(ServerCallback) if not name.startswith("_")]


class Recorder(ServerCallback):
    def __init__(self):
        self.calls = []
        for name in NAMES:
            setattr(self, name, self.record(name))

    def record(self, name):
        return lambda *values: self.calls.append((name, values))


def test_the_calls_below_are_all_there_is_to_hear():
    assert set(CALLS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_listener_may_ignore_anything(name):
    assert getattr(ServerCallback(), name)(*CALLS[name]) is None


@pytest.mark.parametrize("name", NAMES)
def test_everyone_hears_the_same_in_order(name):
    one, two = Recorder(), Recorder()

    getattr(CallbackList([one, two]), name)(*CALLS[name])

    assert one.calls == two.calls == [(name, CALLS[name])]


@pytest.mark.parametrize("listener", [Audit, Log, Metrics, StatusCollector])
def test_listeners_override_what_exists_with_the_same_arguments(listener):
    plumbing = {"status", "serve", "close"}
    public = {
        name for name in vars(listener) if not name.startswith("_")
    } - plumbing

    assert public <= set(NAMES)
    for name in public:
        ours, theirs = getattr(listener, name), getattr(ServerCallback, name)
        assert inspect.signature(ours) == inspect.signature(theirs)


def test_a_label_is_short_and_does_not_tell_the_name():
    name = "0123456789abcdef0123456789abcdef"

    assert label(name) == label(name) != label(name[::-1])
    assert len(label(name)) == 8
    assert label(name) not in name
