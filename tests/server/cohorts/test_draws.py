from keras_split.server.cohorts.draws import Draws


def test_who_is_new_does_not_catch_up_with_one_that_never_trained():
    draws = Draws(seed=0)
    for member in range(4):
        draws.came(member, range(4))  # the last one is gone soon
    for round in range(30):
        draws.draw(round, [0, 1, 2], 1)

    draws.came(4, [0, 1, 2, 4])
    drawn = [draws.draw(round, [0, 1, 2, 4], 1) for round in range(30, 42)]

    assert drawn.count([4]) == 3


def test_nothing_is_known_of_those_that_are_in_the_cohort_no_more():
    draws = Draws(seed=0)
    for member in range(9):
        draws.came(member)

    draws.forget_but({7, 8})

    assert draws.state()["counts"] == {"7": 0, "8": 0}
