import pytest

from keras_split import zoo
from keras_split.errors import DataError
from keras_split.planner.plan import plan
from keras_split.planner.plot import figure
from keras_split.planner.plot import plot
from tests.planner.profiles import PHONE
from tests.planner.profiles import SERVER

FOUND = zoo.get("vgg19").candidates()


@pytest.mark.parametrize("machines", [{}, {"phone": PHONE, "server": SERVER}])
def test_every_cut_that_fits_is_a_point(machines):
    made = plan(FOUND, **machines)

    axes = figure(made).axes[0]

    everything, front = axes.collections
    assert len(everything.get_offsets()) == len(made.cuts)
    assert len(front.get_offsets()) == len(made.front)
    told = {text.get_text() for text in axes.texts}
    assert told == {cut.candidate.name for cut in _named(made)}
    assert ("ms" in axes.get_ylabel()) == bool(machines)


def _named(made):
    return [c for c in (*made.cuts, *made.beyond) if c.candidate.name]


def test_a_picture_and_a_page_are_written(tmp_path):
    made = plan(FOUND)

    plot(made, tmp_path / "plan.png")
    plot(made, tmp_path / "plan.html")

    assert (tmp_path / "plan.png").read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "plan.html").read_text()
    assert page.count("<svg") == page.count("<table>") == 1


def test_another_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="plan.png"):
        plot(plan(FOUND), tmp_path / "plan.doc")
