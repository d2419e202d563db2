"""Lets the API pages show our `Example:` sections as code.

Griffe, which reads the docstrings for mkdocstrings, knows `Examples:` with an
indented body, of which it takes lines with `>>>` for code; ours is `Example:`,
last in its docstring and not indented, and may be a class without any `>>>`.
"""

import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n(.*)\Z", re.MULTILINE | re.DOTALL)


class Examples(griffe.Extension):
    """Rewrites the section before Griffe parses it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Is called for each object that was loaded."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(_section, obj.docstring.value)


def _section(match: re.Match[str]) -> str:
    body = textwrap.dedent(match[1])
    if ">>>" not in body:
        body = f"```python\n{body.strip()}\n```"
    return "Examples:\n" + textwrap.indent(body, "    ")
