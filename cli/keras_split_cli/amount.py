"""A number of an option, which is one."""

import math
from typing import Any

import click


class Amount(click.FloatRange):
    """A number in a range; that of click has NaN in every range.

    Args:
        min: The least.
        max: The most.
        endless: Whether infinity is one, for what may have no limit.
        **bounds: As click's.
    """

    def __init__(
        self,
        min: float | None = None,
        max: float | None = None,
        *,
        endless: bool = False,
        **bounds: bool,
    ) -> None:
        super().__init__(min, max, **bounds)
        self.endless = endless

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number of a text."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number) or (math.isinf(number) and not self.endless):
            self.fail(
                f"Expected a number that is finite. Received: {value}.",
                param,
                ctx,
            )
        return number
