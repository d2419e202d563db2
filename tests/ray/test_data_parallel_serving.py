"""A merged cohort whose steps two processes of Ray share: real gRPC, kills."""

import os
import signal

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split.ray import serve
from keras_split.server import CohortConfig
from tests.nets import largest_difference
from tests.nets import values_of
from tests.server.cohorts.merged_phones import BATCH
from tests.server.cohorts.merged_phones import RATE
from tests.server.cohorts.merged_phones import Halves
from tests.server.cohorts.merged_phones import Phone
from tests.server.cohorts.merged_phones import data
from tests.server.cohorts.merged_phones import together

STEPS, KILLED = 12, 5
SIZES = (20, 27, 34)
COHORT = CohortConfig("merged", phones=len(SIZES), batch=BATCH, seed=1)


def network():
    keras.utils.set_random_seed(0)
    x = values = keras.Input((4,))
    x = layers.Dense(5, activation="tanh", name="a")(x)
    x = layers.Dense(6, kernel_regularizer="l2", name="b")(x)
    x = layers.Dense(3, activation="softmax", name="c")(x)
    return keras.Model(values, x)


@pytest.mark.slow
def test_steps_are_those_of_one_model_though_a_process_is_killed():
    model = network()
    client, body = keras_split.compile(
        model, ["a", "b"], quantization="float32"
    )
    batches = []

    with serve(body, replicas=2, cohort=COHORT, port=0) as server:
        halves = Halves(client)
        x, y = data(sum(SIZES))
        ends = np.cumsum(SIZES)
        phones = [
            Phone(
                server.target,
                client.contract,
                x[end - n : end],
                y[end - n : end],
                halves,
            )
            for end, n in zip(ends, SIZES, strict=True)
        ]
        while len(batches) < STEPS:
            if len(batches) == KILLED:
                os.kill(server.processes[0], signal.SIGKILL)
            shares = together([phone.step for phone in phones])
            if shares[0].step < 0:
                continue
            halves.update()
            step, members = shares[0].step, shares[0].members
            rows = [phones[m].rows[step] for m in members]
            batches.append(
                [np.concatenate(each) for each in zip(*rows, strict=True)]
            )

    whole = network()
    whole.compile(
        keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy"
    )
    for batch in batches:
        whole.train_on_batch(*batch)
    assert largest_difference(values_of(whole), values_of(model)) < 1e-5
    assert body.half.timeline.moment.steps == STEPS
