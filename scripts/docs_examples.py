"""Lets the API pages show our `Example:` sections as code.

Griffe, which reads the docstrings for mkdocstrings, knows `Examples:` with an
indented body; ours is `Example:`, last in its docstring and not indented.
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
    return "Examples:\n" + textwrap.indent(body, "    ")
