"""The built documentation, looked at in a browser: `make docs` makes it."""

from pathlib import Path

import pytest

from tests.web.browser import Browser
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node

SITE = Path(__file__).parents[2] / "site"
pytestmark = [
    pytest.mark.slow,
    needs_node,
    needs_chromium,
    pytest.mark.skipif(
        not (SITE / "index.html").exists(), reason="needs make docs"
    ),
]
WIDTHS = {"phone": 400, "desk": 1280}
LOOK = """(() => {
  const found = [], page = document.documentElement;
  const desk = page.clientWidth > 1000;
  if (page.scrollWidth > page.clientWidth)
    found.push(`the page is ${page.scrollWidth} wide`);
  for (const table of document.querySelectorAll('.md-typeset__scrollwrap'))
    if (desk && table.scrollWidth > table.clientWidth + 1)
      found.push(`a table is ${table.scrollWidth} wide, of ` +
        `${table.clientWidth}: ${table.textContent.trim().split('\\n')[0]}`);
  const text = document.querySelector('.md-content').cloneNode(true);
  text.querySelectorAll('pre, code').forEach(code => code.remove());
  for (const match of text.textContent.match(/.{0,30}(`|>>> ).{0,30}/g) || [])
    found.push(`no code, but looks like it: ${match}`);
  const texts = selector => [...document.querySelectorAll(selector)].map(
    found => found.textContent);
  return {
    faults: found,
    headings: texts('.doc-heading'),
    signatures: texts('.doc-signature'),
    drawings: [...document.querySelectorAll('.md-content figure, ' +
      '.md-content svg[role=img]')].map(drawn => drawn.textContent),
  };
})()"""


@pytest.fixture(scope="module")
def seen():
    """What a browser sees of each page, by its name and how wide it is."""
    found = {}
    with Browser() as browser:
        for path in sorted(SITE.rglob("index.html")):
            browser.open(url=path.as_uri())
            name = path.parent.relative_to(SITE).as_posix()
            for kind, width in WIDTHS.items():
                browser.size(width=width, height=900)
                found[name, kind] = browser.run(script=LOOK)
    return found


def test_every_page_fits_its_window_and_shows_code_as_code(seen):
    faults = {page: look["faults"] for page, look in seen.items()}

    assert len(faults) > 50
    assert not {page: found for page, found in faults.items() if found}


def test_the_first_page_draws_the_u(seen):
    (drawn,) = seen[".", "desk"]["drawings"]

    assert {"head", "body", "tail"} <= {*drawn.lower().split()}


def test_the_reference_has_names_as_they_are_imported(seen):
    names = seen["api/compile", "desk"]["headings"]

    assert any(name.split()[0] == "keras_split.compile" for name in names)
    assert not [name for name in names if "compiler.compile" in name]


def test_signatures_have_a_parameter_a_line(seen):
    lines = [
        line
        for look in seen.values()
        for signature in look["signatures"]
        for line in signature.splitlines()
    ]

    assert len(lines) > 1000
    assert not [line for line in lines if len(line) > 80]
