import logging

import keras
import numpy as np

from keras_split.training.body_optimizer import SharedStep


def test_many_bodies_in_a_process_warn_of_no_retracing():
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    try:
        for _ in range(7):
            optimizer = keras.optimizers.Adam()
            optimizer.build([keras.Variable(np.ones(3))])
            step = SharedStep(None, optimizer)
            step.exchange(step.fresh)
    finally:
        logger.removeHandler(handler)

    assert [m for m in messages if "retracing" in m] == []
