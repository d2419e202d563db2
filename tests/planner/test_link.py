import pytest

from keras_split.errors import OptionError
from keras_split.planner.link import EARLY
from keras_split.planner.link import MESSAGE
from keras_split.planner.link import WHOLE
from keras_split.planner.link import Link
from keras_split.planner.link import Passes
from keras_split.planner.link import Traffic
from keras_split.planner.link import best_microbatches
from keras_split.planner.link import step_seconds

PASSES = Passes(1.0, 2.0, 3.0, 4.0, 5.0)
NOTHING = Traffic(0, 0, 0, 0)
WIRE = Link(8.0, 4.0, 0.2)  # a byte takes 1 s up and 2 s down
WAY = 0.1 + MESSAGE  # of a message without length


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("20M/30ms", Link(20e6, 20e6, 0.03)),
        ("20M,5M/30ms", Link(5e6, 20e6, 0.03)),
        ("1G/250us", Link(1e9, 1e9, 0.00025)),
        ("512k,64k/1.5s", Link(64e3, 512e3, 1.5)),
    ],
)
def test_a_link_is_read_and_written(text, link):
    assert Link.parse(text) == link
    assert Link.parse(str(link)) == link


@pytest.mark.parametrize(
    "text",
    ["", "20/30ms", "20M", "20M/30", "0M/30ms", "5M,0M/3ms", "-1M/3ms", "M/ms"],
)
def test_what_is_no_link_is_refused(text):
    with pytest.raises(OptionError, match="20M/30ms|above 0"):
        Link.parse(text)


def test_a_step_is_the_sum_of_its_parts_where_nothing_overlaps():
    traffic = Traffic(1, 2, 3, 4)

    seconds = step_seconds(WIRE, PASSES, traffic, overlap=False)

    sent = (1 + 3) * 1.0 + (2 + 4) * 2.0 + 4 * WAY
    assert seconds == pytest.approx(1 + 2 + 3 + 4 + 5 + sent)


def test_the_update_of_the_body_is_behind_the_way_of_the_gradients():
    traffic = Traffic(0, 0, 0, 0.5)  # 1 s on its way, of 2 s of an update

    seconds = step_seconds(WIRE, PASSES, traffic, overlap=True)

    assert seconds == pytest.approx(1 + 2 + 3 + WHOLE * 4 + 5 + 4 * WAY)


def test_gradients_that_travel_for_long_hide_the_update_of_the_body():
    traffic = Traffic(0, 0, 0, 10)

    seconds = step_seconds(WIRE, PASSES, traffic, overlap=True)

    assert seconds == pytest.approx(1 + 2 + 3 + EARLY * 4 + 20 + 5 + 4 * WAY)


def test_one_cut_has_one_round_trip():
    traffic = Traffic(1, 2, 0, 4)

    seconds = step_seconds(WIRE, PASSES, traffic, labels_on_server=True)

    assert seconds == pytest.approx(1 + 1 + 2 + 4 + (2 + 4) * 2 + 5 + 2 * WAY)


def test_microbatches_are_bound_by_what_is_busiest():
    half = Traffic(10, 0, 0, 0)  # the uplink, 10 s each
    short = Passes(0.1, 0.1, 0.1, 0.1, 0.1)

    seconds = step_seconds(WIRE, short, half, microbatches=4)

    assert 40 < seconds < 42


def test_four_parts_need_less_than_a_whole_on_a_slow_link():
    def seconds(count):
        passes = Passes(*(n / count for n in (1.0, 2.0, 3.0, 4.0, 5.0)))
        traffic = Traffic(*(n / count for n in (4, 4, 4, 4)))
        return step_seconds(WIRE, passes, traffic, microbatches=count)

    count, taken = best_microbatches(16, seconds)

    assert count > 1
    assert taken == seconds(count) < seconds(1)


def test_a_batch_that_cannot_be_divided_travels_whole():
    assert best_microbatches(3, lambda count: 1 / count) == (1, 1.0)
