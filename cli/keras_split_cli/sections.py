"""Help with its options in sections, the most important first."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import click

CONNECTION = ("tls", "tls_ca", "tls_cert", "tls_key", "token_file", "retry")


class SectionedCommand(click.Command):
    """A command whose help has sections of options.

    Args:
        sections: Titles, and the names of the parameters below each, in the
            order in which they are shown; what is in none comes last.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Writes the sections."""
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(ctx)) is not None
        }
        for title, names in self.sections.items():
            rows = [records.pop(name) for name in names if name in records]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if records:
            with formatter.section("Other"):
                formatter.write_dl(list(records.values()))
