from keras_split.protocol.cohort_messages import AskShare
from keras_split.server.cohorts.epochs import Epochs


def asks(left, epoch):
    return AskShare("s", left, epoch, 0)


def known(epochs, *numbers):
    for number in numbers:
        assert not epochs.is_over(number, asks(1, 0))
    return epochs


def test_those_who_have_not_heard_of_an_end_are_told_when_another_has():
    epochs = known(Epochs(), 0, 1, 2)

    over = epochs.catch_up({0: asks(8, 1), 1: asks(0, 0), 2: asks(0, 0)})

    assert {number: share.step for number, share in over.items()} == {
        1: -1,
        2: -1,
    }
    assert epochs.now == 1
    assert epochs.between == {1, 2}


def test_a_lie_moves_the_epoch_by_one():
    epochs = known(Epochs(), 0, 1)

    epochs.catch_up({0: asks(8, 1 << 30), 1: asks(3, 0)})

    assert epochs.now == 1


def test_who_joins_later_counts_from_then():
    epochs = known(Epochs(), 0)
    epochs.end([0])

    assert not epochs.is_over(1, asks(0, 0))
    assert epochs.is_over(0, asks(0, 0))

    later = Epochs()
    later.load(epochs.state())
    assert later.now == 1
    assert not later.is_over(1, asks(0, 0))


def test_who_begins_anew_counts_from_then():
    epochs = known(Epochs(), 0, 1)
    epochs.end([0, 1])

    epochs.begin(0)

    assert not epochs.is_over(0, asks(0, 0))
    assert epochs.is_over(1, asks(0, 0))
