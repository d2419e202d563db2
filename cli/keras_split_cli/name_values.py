"""Options that are a list of names, each perhaps with a number."""

import math

import click


def parse(text: str) -> list[tuple[str, float | None]]:
    """Takes `"A=2,B"` apart.

    Args:
        text: As the user wrote it. A name may have `=` in it: what is behind
            the last one is the number.

    Raises:
        click.BadParameter: If a name is missing or stands there twice, or if
            what is behind `=` is no finite number.

    Example:
    >>> parse("cats=2, dogs")
    [('cats', 2.0), ('dogs', None)]
    """
    found: dict[str, float | None] = {}
    for part in text.split(","):
        name, sign, number = part.strip().rpartition("=")
        if not sign:
            name, number = number, ""
        name = name.strip()
        if not name or name in found:
            what = f"{name!r} twice" if name else f"{part!r} without a name"
            raise click.BadParameter(
                "Expected names between commas, each once, perhaps with "
                f"=NUMBER. Received: {what}."
            )
        try:
            found[name] = float(number) if sign else None
        except ValueError:
            found[name] = math.nan
        value = found[name]
        if value is not None and not math.isfinite(value):
            raise click.BadParameter(
                f"Expected a number behind {name}=. Received: {number!r}."
            )
    return list(found.items())
