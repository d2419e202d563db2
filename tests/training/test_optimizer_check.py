import keras
import pytest

from keras_split.errors import OptionError
from keras_split.training.optimizer_check import check_optimizer


def scaled(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer)


def several():
    return keras.optimizers.MultiOptimizer(lambda variable: None)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (several(), "one learning rate"),
        (scaled(several()), "Received: a MultiOptimizer"),
        (keras.optimizers.SGD(use_ema=True), "Received: SGD.use_ema=True"),
        (scaled(keras.optimizers.Adam(use_ema=True)), "Adam.use_ema=True"),
    ],
)
def test_what_one_half_could_not_do_is_refused(optimizer, words):
    with pytest.raises(OptionError, match=words):
        check_optimizer(optimizer)


@pytest.mark.parametrize("optimizer", [None, "sgd", keras.optimizers.Lamb()])
def test_others_are_not(optimizer):
    check_optimizer(optimizer)
