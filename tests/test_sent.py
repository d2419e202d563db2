from pathlib import Path

import pytest

from keras_split import codecs
from keras_split.messages import Backward
from keras_split.messages import Forward
from keras_split.messages import payload_bytes
from keras_split.quantization import Rule
from keras_split.sent import SentSteps
from tests import links

SPECS = links.halves()[0].contract.smashed


def step(number, dtype="int8"):
    tensors = links.tensors(SPECS, Rule(dtype), seed=number)
    return [
        Forward("s", number, tensors),
        Backward("s", number, tensors, 0.1),
    ]


def plain(message):
    values = dict(vars(message))
    tensors = values.pop("tensors")
    return values, [(t.name, t.shape) for t in tensors], links.parts(tensors)


def same(one, other):
    *about, arrays = plain(one)
    *others, theirs = plain(other)
    return about == others and links.same(arrays, theirs)


@pytest.mark.parametrize("memory", [0, 2 * payload_bytes(step(0)[0]), 1 << 30])
@pytest.mark.parametrize("codec", codecs.NAMES)
def test_what_was_sent_comes_back_in_order(codec, memory):
    sent = SentSteps(codecs.get(codec), memory, 1 << 30)
    for number in range(5):
        sent.add(number, step(number))

    kept = list(sent.since(2))

    expected = [message for n in (2, 3, 4) for message in step(n)]
    assert len(kept) == 6
    assert all(map(same, kept, expected))
    assert (sent.first, len(sent)) == (0, 5)
    sent.clear()


def test_what_the_server_holds_is_forgotten():
    sent = SentSteps(codecs.get("raw"), 3 * payload_bytes(step(0)[0]), 1 << 30)
    for number in range(6):
        sent.add(number, step(number))
    folder = Path(sent._folder.name)
    files = len(list(folder.iterdir()))

    sent.drop_before(4)

    assert (sent.first, len(sent)) == (4, 2)
    assert files == 10  # the first step is in memory
    assert len(list(folder.iterdir())) == 4
    sent.clear()
    assert not folder.exists()
    assert sent.first is None


def test_room_that_is_free_again_is_used_again():
    sent = SentSteps(codecs.get("raw"), 2 * payload_bytes(step(0)[0]), 0)
    for number in range(100):
        sent.add(number, step(number))
        assert not sent.full
        sent.drop_before(number + 1)
    assert sent._folder is None


def test_it_says_when_it_is_full():
    sent = SentSteps(codecs.get("raw"), 0, 3 * payload_bytes(step(0)[0]))
    sent.add(0, step(0))
    before = sent.full

    sent.add(1, step(1))

    assert (before, sent.full) == (False, True)
    sent.clear()
    assert not sent.full
