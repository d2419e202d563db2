import logging

import keras
import numpy as np
import pytest

import keras_split
from keras_split.defenses import GaussianNoise
from keras_split.errors import HijackError
from keras_split.errors import OptionError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import SmashedGrad
from tests import nets

LOSS = "sparse_categorical_crossentropy"


class Told(keras_split.SessionTap):
    """Counts forwards, and what came of the steps."""

    def __init__(self):
        self.forwards = self.steps = 0

    def sent(self, message):
        self.forwards += isinstance(message, Forward)

    def received(self, message, reply):
        self.steps += isinstance(reply, SmashedGrad)


def lying(client, lie):
    """Has a client's server change the gradients that it sends.

    Args:
        client: In one process with the server.
        lie: Makes an array of another, and of how often the server was asked
            for features in this step.
    """
    carry = client._server_link.in_process

    def in_process():
        transport = carry()
        honest, asked = transport.carry, [0]

        def answer(message):
            reply = honest(message)
            asked[0] += isinstance(message, Forward)
            if isinstance(message, Backward):
                for tensor in reply.tensors:
                    tensor.codes[:] = lie(tensor.codes, asked[0])
                asked[0] = 0
            return reply

        transport.carry = answer
        return transport

    client._server_link.in_process = in_process


def dense(optimizer="sgd", quantization="float32", build=nets.dense, **options):
    client, server = keras_split.compile(
        nets.built(build), ["a", "b"], quantization=quantization, **options
    )
    client.compile(optimizer, LOSS, strategy=keras_split.SplitStrategy())
    return client, server


def fit(client, detector, count=160, **options):
    x, y = nets.vectors(count)
    callbacks = [detector] if detector is not None else []
    return client.fit(
        *(x, y),
        **{"batch_size": 8, "shuffle": False, "verbose": 0} | options,
        callbacks=callbacks,
    )


def detector(every=4, seed=0):
    return keras_split.HijackDetector(every, seed=seed)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_the_gradients_of_an_honest_server_agree(quantization):
    client, _ = dense(quantization=quantization)
    checker = detector()

    fit(client, checker)

    found = [check.agreement for check in checker.checks]
    least = 0.99 if quantization == "float32" else 0.9
    assert len(found) == 5 and min(found) > least
    assert {check.kind for check in checker.checks} == {"before", "after"}


def test_noise_of_defenses_changes_no_agreement():
    client, _ = dense(
        defenses=[
            GaussianNoise(0.5, where="smashed"),
            GaussianNoise(2.0, where="features_grad"),
        ]
    )
    checker = detector()

    fit(client, checker)

    assert min(check.agreement for check in checker.checks) > 0.99


@pytest.mark.parametrize(
    "build",
    [nets.plain, pytest.param(nets.residual, marks=pytest.mark.slow)],
)
def test_a_training_with_checks_is_the_training_without(build):
    ways = []
    cut = ["a_relu", "b_drop"] if build is nets.plain else ["inner", "sum"]
    x, y = nets.images()
    for checker in (None, detector(1)):
        client, server = keras_split.compile(
            nets.built(build), cut, quantization="float32"
        )
        client.compile("adam", LOSS, run_eagerly=True)
        fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
        client.fit(x, y, **fit, callbacks=[checker] if checker else [])
        ways.append([*client.get_weights(), *server.get_weights()])

    for one, other in zip(*ways, strict=True):
        np.testing.assert_array_equal(one, other)


def random_gradients(codes, asked):
    rng = np.random.default_rng(0)
    return rng.normal(size=codes.shape) * np.abs(codes).mean()


def test_random_gradients_are_told_and_stop_the_training():
    client, _ = dense()
    lying(client, random_gradients)
    told = Told()
    client.strategy.session.taps.append(told)

    with pytest.raises(HijackError, match="No further batch was sent"):
        fit(client, detector(1))

    assert told.steps == 2
    assert client.strategy.session.taps == [told]


def test_a_server_that_behaves_while_it_is_watched_is_told():
    client, _ = dense()
    lying(client, lambda g, asked: -g if asked < 2 else g)

    with pytest.raises(HijackError, match="honest in steps that it saw"):
        fit(client, detector(8), 400)


def test_gradients_of_another_size_are_gradients():
    client, _ = dense()
    lying(client, lambda g, asked: 0.5 * g)

    fit(client, detector())


def test_it_works_over_grpc(serve):
    client, server = dense()
    client.compile("sgd", LOSS, strategy=serve(server))
    checker = detector()

    fit(client, checker)

    assert min(check.agreement for check in checker.checks) > 0.99


def test_an_interrupt_in_a_check_leaves_everything_as_it_was(monkeypatch):
    client, _ = dense()
    client.connect()
    before = client.get_weights()
    session = client.strategy.session
    monkeypatch.setattr(
        session,
        "forward",
        lambda smashed: (_ for _ in ()).throw(KeyboardInterrupt),
    )

    with pytest.raises(KeyboardInterrupt):
        fit(client, detector(1))

    monkeypatch.undo()
    assert session.taps == []
    for one, other in zip(before, client.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    fit(client, None)


def test_a_head_that_is_frozen_has_nothing_to_check():
    client, _ = dense()
    client.head.trainable = False
    client.compile("sgd", LOSS)
    checker = detector(1)

    fit(client, checker)

    assert checker.checks == []


def test_after_a_training_steps_are_one_graph_again():
    client, _ = dense()
    fit(client, detector())
    fit(client, None)

    assert client._server_link.in_graph_body is not None


@pytest.mark.parametrize(
    ("options", "strategy", "match"),
    [
        ({"quantization": "int2"}, {}, "fewer than 4 bits"),
        ({"quantization": "float32"}, {"microbatches": 2}, "whole batches"),
    ],
)
def test_steps_that_cannot_be_checked_are_refused(options, strategy, match):
    client, _ = dense(**options)
    client.compile("sgd", LOSS, strategy=keras_split.SplitStrategy(**strategy))

    with pytest.raises(OptionError, match=match):
        fit(client, detector())


def test_a_body_that_others_train_meanwhile_accuses_nobody(caplog):
    client, server = dense()
    rng = np.random.default_rng(0)
    carry = client._server_link.in_process

    def in_process():
        transport = carry()
        honest = transport.carry

        def answer(message):
            if isinstance(message, Forward):
                for weight in server.body.trainable_variables:
                    weight.assign_add(0.02 * rng.normal(size=weight.shape))
            return honest(message)

        transport.carry = answer
        return transport

    client._server_link.in_process = in_process

    with caplog.at_level(logging.WARNING, "keras_split"):
        fit(client, detector(1))

    assert "Other phones train this body" in caplog.text


class Behind:
    """What a cohort has in the place of a function of batches."""

    def __init__(self, plain):
        self.plain = plain


def test_behind_federated_averaging_it_is_refused():
    client, _ = dense()
    averaging = keras_split.FederatedAveraging()
    averaging.on_train_begin = lambda logs=None: setattr(
        client, "train_function", Behind(client.train_function)
    )

    with pytest.raises(OptionError, match="Change their order"):
        client.fit(
            *nets.vectors(8), verbose=0, callbacks=[averaging, detector()]
        )


def test_a_model_that_is_cut_once_is_refused():
    client, _ = keras_split.compile(nets.built(nets.dense), ["a"])
    client.compile("sgd", LOSS)

    with pytest.raises(OptionError, match="cut once"):
        fit(client, detector())


@pytest.mark.parametrize("options", [{"every": 0}, {"tries": 3.5}])
def test_numbers_that_are_none_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        keras_split.HijackDetector(**options)


def test_a_step_that_is_not_taken_is_not_judged():
    client, _ = dense()
    x, y = nets.vectors(16)
    x[8:] = np.nan
    checker = detector(1)

    history = client.fit(
        *(x, y), batch_size=8, shuffle=False, verbose=0, callbacks=[checker]
    )

    assert np.isnan(history.history["loss"][0])
    assert len(checker.checks) == 1


def test_steps_that_accumulate_gradients_are_checked():
    client, _ = dense(keras.optimizers.SGD(gradient_accumulation_steps=2))
    checker = detector(1)

    fit(client, checker, 32)

    assert len(checker.checks) == 4
    assert min(check.agreement for check in checker.checks) > 0.99


def test_gradients_of_nothing_accuse_nobody():
    client, _ = dense()
    checker = detector(1)
    x, y = nets.vectors(80)

    client.fit(
        *(x, y, 8),
        sample_weight=np.zeros(80, "float32"),
        verbose=0,
        callbacks=[checker],
    )

    assert not any(check.claimed.any() for check in checker.checks)


def test_the_checks_are_those_of_the_last_training():
    checker = detector(1)

    for count in (32, 16):
        client, _ = dense()
        fit(client, checker, count)

        assert [check.step for check in checker.checks] == [*range(count // 8)]
