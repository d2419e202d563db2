"""A strategy has one session, with the server of one client."""

import gc

import pytest

import keras_split
from keras_split import SplitStrategy
from keras_split.errors import OptionError
from tests import nets


def client(strategy=None):
    made, _ = keras_split.compile(nets.dense(), ["a", "b"])
    made.compile("sgd", "mse", strategy=strategy)
    return made


def test_a_strategy_of_another_client_is_refused():
    strategy = SplitStrategy()
    one = client(strategy)
    two = client()
    before = two.strategy
    with pytest.raises(OptionError, match="another client was compiled with"):
        two.compile("sgd", "mse", strategy=strategy)
    assert two.strategy is before
    assert one.strategy is strategy


def test_a_client_may_be_compiled_again_with_its_strategy():
    strategy = SplitStrategy()
    one = client(strategy)
    one.compile("adam", "mse", strategy=strategy)
    assert one.strategy is strategy


def test_a_strategy_is_free_again_when_its_client_has_another():
    strategy = SplitStrategy()
    one = client(strategy)
    one.compile("sgd", "mse", strategy=SplitStrategy())
    assert client(strategy).strategy is strategy


def test_a_strategy_is_free_again_when_its_client_is_gone():
    strategy = SplitStrategy()
    one = client(strategy)
    gc.disable()  # it is in a cycle, which `compile` looks for itself
    try:
        del one
        assert client(strategy).strategy is strategy
    finally:
        gc.enable()
