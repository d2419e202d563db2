"""That heads are refused is held by tests/test_reuse.py."""

import pytest

from keras_split import SplitStrategy
from keras_split.errors import OptionError
from keras_split.models.reuse_check import check_reuse
from tests import links


def test_nobody_who_does_not_ask_is_refused():
    client, _ = links.halves()

    check_reuse(links.compile(client))


def test_a_head_is_looked_at_each_time():
    client, _ = links.halves()
    client.head.trainable = False
    client.compile("sgd", "mse", strategy=SplitStrategy(reuse=True))
    check_reuse(client)

    client.head.trainable = True

    with pytest.raises(OptionError, match="that trains 'first/kernel'"):
        check_reuse(client)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reuse": 1 << 20}, "True or False"),
        ({"reuse": True, "microbatches": 2}, "whole batches"),
    ],
)
def test_a_strategy_with_reuse_is_one_without_microbatches(options, words):
    with pytest.raises(OptionError, match=words):
        SplitStrategy(**options)


def test_reuse_is_in_the_config():
    strategy = SplitStrategy("grpc://10.0.0.1:1", reuse=True)

    assert SplitStrategy.from_config(strategy.get_config()).reuse
