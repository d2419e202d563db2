import pytest

pytest.importorskip("matplotlib")

from benchmarks import _plots


def texts(figure):
    return {
        text.get_text(): text
        for text in figure.axes[0].texts
        if text.get_text()
    }


def test_the_front_is_what_no_other_beats():
    points = [(10, 90.0), (20, 90.0), (5, 80.0), (6, 79.0), (40, 91.0)]

    assert _plots.pareto(points) == {0, 2, 4}


def test_labels_of_a_scatter_do_not_overlap():
    points = [(f"coding {i}", 100 + i, 90 + i / 100, 0.1) for i in range(6)]

    figure = _plots.scatter(points, x="bytes", y="%", bands={"limit": 89.9})

    renderer = figure.canvas.get_renderer()
    boxes = [
        text.get_window_extent(renderer)
        for name, text in texts(figure).items()
        if name != "limit"
    ]
    assert len(boxes) == 6
    assert not any(
        one.overlaps(other)
        for i, one in enumerate(boxes)
        for other in boxes[:i]
    )


def test_bars_have_their_numbers():
    figure = _plots.bars(["a", "b"], {"one": [1, 2], "two": [3, 40]}, x="ms")

    assert {"1", "2", "3", "40"} <= set(texts(figure))


def test_lines_have_a_tick_at_each_point():
    figure = _plots.lines(
        {"M = 1": [(5, 1.0), (20, 2.0)]}, x="Mbit/s", y="samples a second"
    )

    assert list(figure.axes[0].get_xticks()) == [5, 20]
