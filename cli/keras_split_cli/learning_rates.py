"""`--learning-rate`: one number, or one each for head, body and tail."""

from dataclasses import dataclass
from typing import Any

import click

_PARTS = ("head", "body", "tail")


@dataclass(frozen=True)
class LearningRates:
    """What a user asks for; None for the optimizer's own.

    Attributes:
        head: Of the head's weights.
        body: Of the body's.
        tail: Of the tail's.
    """

    head: float | None = None
    body: float | None = None
    tail: float | None = None

    def given_to(
        self, optimizer: Any, *, has_tail: bool = True
    ) -> dict[str, float]:
        """Sets the rate of an optimizer to that of the body.

        Args:
            optimizer: Of Keras; its rate is a number.
            has_tail: Whether there is a tail, which can have the optimizer's
                own rate.

        Returns:
            The `learning_rate_multipliers` of `client.compile`.
        """
        own = float(optimizer.learning_rate)
        base = own if self.body is None else self.body
        optimizer.learning_rate = base
        rates = {"head": self.head, "tail": self.tail}
        if not has_tail and self.tail in (None, base):
            del rates["tail"]
        return {
            name: (own if rate is None else rate) / base
            for name, rate in rates.items()
            if (own if rate is None else rate) != base
        }


class LearningRatesType(click.ParamType):  # type: ignore[type-arg]
    """Reads `1e-3` or `head=1e-4,tail=1e-2`."""

    name = "learning rates"

    def convert(self, value: Any, param: Any, ctx: Any) -> LearningRates:
        """The rates in a text."""
        if isinstance(value, LearningRates):
            return value
        text = str(value)
        if "=" not in text:
            return LearningRates(*[self._rate(text, param, ctx)] * 3)
        found: dict[str, float] = {}
        for item in text.split(","):
            name, _, number = (part.strip() for part in item.partition("="))
            if name not in _PARTS or name in found:
                self.fail(
                    "Expected head=R, body=R, tail=R, each once, between "
                    f"commas. Received: {item.strip()!r}.",
                    param,
                    ctx,
                )
            found[name] = self._rate(number, param, ctx)
        return LearningRates(**found)

    def _rate(self, text: str, param: Any, ctx: Any) -> float:
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            self.fail(
                "Expected a learning rate above 0, such as 1e-3 or "
                f"head=1e-4,body=1e-3,tail=1e-2. Received: {text!r}.",
                param,
                ctx,
            )
        return rate
