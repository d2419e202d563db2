"""Reports reach their place in the docs, and nothing else of the page."""

import pytest

from benchmarks._report import Report
from benchmarks._report import replaced

PAGE = """# Page

Before.

<!-- speed -->
old
<!-- /speed -->

Between.

<!-- size --><!-- /size -->

After.
"""


@pytest.fixture
def docs(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def fill(report):
    report.say("Two cores.")
    report.header("preset", "ms:")
    report.row("resnet50", 12)
    report.end()
    report.close()


def test_a_report_takes_the_place_of_the_last_one(docs):
    fill(Report("speed", write=True, docs=docs))

    assert (docs / "page.md").read_text() == PAGE.replace(
        "old",
        "Two cores.\n\n| preset | ms |\n| --- | ---: |\n| resnet50 | 12 |",
    )


def test_a_report_fills_an_empty_place(docs):
    fill(Report("size", write=True, docs=docs))

    page = (docs / "page.md").read_text()
    assert "<!-- size -->\nTwo cores.\n" in page
    assert "| resnet50 | 12 |\n<!-- /size -->\n\nAfter.\n" in page


def test_a_report_is_printed_and_leaves_the_docs_alone(docs, capsys):
    fill(Report("speed", docs=docs))

    assert "| resnet50 | 12 |" in capsys.readouterr().out
    assert (docs / "page.md").read_text() == PAGE


def test_a_report_without_a_place_is_refused_before_it_is_made(docs):
    with pytest.raises(ValueError, match="<!-- memory -->"):
        Report("memory", write=True, docs=docs)


def test_backslashes_and_groups_stay_as_they_are():
    assert r"\1 \g<0>" in replaced(PAGE, "speed", r"\1 \g<0>")
