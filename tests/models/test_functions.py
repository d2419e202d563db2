"""What a notebook shows: short errors that end in our words, no noise."""

import logging
import traceback

import numpy as np
import pytest

import keras_split
from keras_split.errors import ProtocolError
from keras_split.errors import SplitError
from tests import nets

X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
Y = np.zeros(4, int)
COMPILED = ("sgd", "sparse_categorical_crossentropy")


@pytest.fixture(scope="module")
def client():
    """A small client, with its server in this process."""
    half, server = keras_split.compile(nets.dense(), ["a", "b"])
    half.compile(*COMPILED)
    yield half
    del server


def shown(call):
    """What Python prints of the error of a call, and the error."""
    with pytest.raises(SplitError) as info:
        call()
    return "".join(traceback.format_exception(info.value)), info.value


class Refusing(keras_split.SplitStrategy):
    def forward(self, smashed):
        raise ProtocolError("Expected peace. Received: none.", "peace")


@pytest.mark.slow
def test_compiling_again_and_again_warns_of_no_retracing(client):
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    try:
        for _ in range(6):
            client.compile(*COMPILED)
            client.fit(X, Y, verbose=0)
            client.predict(X, verbose=0)
    finally:
        logger.removeHandler(handler)

    assert [m for m in messages if "retracing" in m] == []
    assert logger.filters == []


@pytest.mark.parametrize("how", ["fit", "train_on_batch"])
def test_an_error_in_a_graph_ends_in_our_words(client, how):
    client.compile(*COMPILED, strategy=Refusing())

    text, error = shown(lambda: getattr(client, how)(X, Y))

    assert text.endswith("ProtocolError: Expected peace. Received: none.\n")
    assert error.reason == "peace"
    assert text.count("Traceback") == 1
    for noise in ("in user code", "tf.errors", "script_ops", "PyFunc"):
        assert noise not in text


def test_an_error_in_a_call_is_as_it_was(client):
    client.compile(*COMPILED, strategy=keras_split.SplitStrategy())

    text, error = shown(lambda: client(X * np.nan))

    assert str(error).startswith("Expected a finite")
    assert error.reason == "not-finite"
    assert "Exception encountered" not in text


def test_logs_are_there_before_a_phone_has_given_its_first_examples():
    half, _ = keras_split.compile(nets.dense(), ["a", "b"])
    half.compile(*COMPILED, metrics=["accuracy"])

    assert set(half.get_metrics_result()) == {"loss"}
