import math

from keras_split_cli.patience import Patience


def test_a_loss_that_is_no_number_is_never_the_best():
    patience = Patience(2)

    assert not patience.see(math.nan) and not patience.see(math.inf)

    assert patience.over and patience.best_epoch is None


def test_it_begins_to_count_anew_when_the_loss_falls():
    patience = Patience(2)

    for loss in (3.0, 4.0, 2.0, 2.0):
        patience.see(loss)

    assert not patience.over and patience.best_epoch == 2
