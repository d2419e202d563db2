from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import Timeline


def steps(timeline, count):
    for _ in range(count):
        timeline = timeline.stepped()
    return timeline


def test_a_run_begins_with_the_first_step():
    fresh = Timeline()
    first, other = fresh.stepped(), fresh.stepped()

    assert not fresh.moment
    assert (first.moment.steps, len(first.moment.run)) == (1, 32)
    assert steps(first, 2).moment == Moment(first.moment.run, 3)
    assert first.moment.run != other.moment.run


def test_two_futures_of_one_moment_never_meet():
    now = steps(Timeline(), 3)
    saved = Timeline.from_config(now.get_config())
    assert saved.moment == now.moment

    futures = [now.stepped(), saved.stepped(), saved.stepped()]

    assert len({timeline.moment for timeline in futures}) == 3
    assert {timeline.moment.steps for timeline in futures} == {4}


def test_a_body_remembers_what_it_was_and_not_what_it_gave_up():
    saved = steps(Timeline(), 3)
    gone = steps(saved, 2)
    now = steps(saved.copy(), 4)

    assert now.includes(saved.moment) and now.includes(now.moment)
    assert now.includes(Moment(saved.moment.run, 1))
    assert not now.includes(gone.moment)
    assert not now.includes(Moment("ab" * 16, 1))
    again = Timeline.from_config(now.get_config())
    assert (again.moment, again.past) == (now.moment, now.past)


def test_weights_from_elsewhere_are_at_no_moment_that_is_known():
    now = steps(Timeline(), 3)

    lost = now.lost()

    assert lost.moment.steps == 3 and not lost.includes(now.moment)
    assert Timeline().lost() == Timeline()


def test_the_memory_of_runs_has_an_end():
    timeline = Timeline()
    for _ in range(100):
        timeline = timeline.stepped().copy()

    assert len(timeline.past) == 64
    assert timeline.moment.steps == 100


def test_a_mean_has_come_through_all_that_it_is_of():
    one, other = steps(Timeline(), 3), steps(Timeline(), 5)
    mean = Moment("ab" * 16, 1)

    now = one.averaged([one.moment, other.moment, mean])

    assert now.moment == Moment(one.moment.run, 4)
    assert all(map(now.includes, (one.moment, other.moment, mean)))
    assert not now.includes(Moment("ab" * 16, 2))
    later = steps(now, 2).averaged([steps(other, 1).moment, Moment()])
    assert len(later.past) == 2 and later.includes(steps(other, 1).moment)
    copy = later.copy().averaged([mean])
    assert copy.includes(later.moment) and copy.moment.run != now.moment.run


def test_averages_are_no_steps_that_it_has_learned_from():
    now = steps(Timeline(), 3).averaged([Moment("ab" * 16, 1)])
    kept = Timeline.from_config(steps(now, 2).get_config())

    again = steps(kept, 1).averaged([]).lost()

    assert (now.learned, kept.learned, again.learned) == (3, 5, 6)
    assert again.moment.steps == 8
    assert "averages" not in steps(Timeline(), 3).get_config()
