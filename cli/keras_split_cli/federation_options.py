"""Options of a phone that trains one model with others."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from typing import TypeVar

import click

from keras_split.errors import SplitError
from keras_split.protocol import optimizer_config
from keras_split.protocol.cohort import EPOCH
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.utils.counted import counted
from keras_split_cli import name_values

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIMIZER = "--federated-optimizer"
NAMES = (
    "federate",
    "averaged",
    "federated_optimizer",
    "keep_batchnorm_local",
    "require_secure",
)


class EveryType(click.ParamType):  # type: ignore[type-arg]
    """Reads `epoch`, or a number of steps."""

    name = "every"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Steps, or `EPOCH`."""
        if not isinstance(value, str):
            return value
        if value == "epoch":
            return EPOCH
        if value.isdecimal() and int(value) > 0:
            return int(value)
        self.fail(
            f"Expected epoch, or a number of steps. Received: {value!r}.",
            param,
            ctx,
        )


class AveragedOptimizerType(click.ParamType):  # type: ignore[type-arg]
    """Reads `NAME=RATE,FIELD=VALUE`: an optimizer of Keras, without Keras."""

    name = "optimizer"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Its config, as JSON."""
        if not isinstance(value, str):
            return value
        (name, rate), *fields = name_values.parse(value)
        known = {kind.lower(): kind for kind in optimizer_config.CLASSES}
        config = {key: 1.0 if v is None else v for key, v in fields}
        if rate is not None:
            config["learning_rate"] = rate
        described = {
            "class_name": known.get(name.lower(), name),
            "config": dict(sorted(config.items())),
        }
        try:
            return optimizer_config.OptimizerConfig.read(
                json.dumps(described)
            ).text
        except SplitError as error:
            self.fail(str(error), param, ctx)


def federation_options(function: _F) -> _F:
    """Adds `--federate` and what belongs to it, for `Federation.take`."""
    for option in reversed(
        [
            click.option(
                "--federate",
                type=EveryType(),
                is_flag=False,
                flag_value="epoch",
                metavar="[epoch|STEPS]",
                help="Train one model with the other phones of the server, "
                "which serves a cohort: halves are averaged after each epoch, "
                "or after so many steps. 1 with serve --cohort merged is what "
                "one phone with all the images would do. All phones say the "
                "same.",
            ),
            click.option(
                "--averaged",
                type=click.Choice(["weights", "gradients"]),
                help="What is averaged; by default gradients with --federate "
                "1 and serve --cohort merged, else weights. Say weights where "
                "LiteRT-only devices are among the phones.",
            ),
            click.option(
                _OPTIMIZER,
                type=AveragedOptimizerType(),
                metavar="NAME[=RATE][,FIELD=VALUE,...]",
                help="An optimizer of Keras that the server applies to the "
                "average change of the weights, such as sgd=1,momentum=0.9 "
                "(FedAvgM) or adam=0.01 (FedAdam).",
            ),
            click.option(
                "--keep-batchnorm-local",
                is_flag=True,
                help="Leave batch normalization of head and tail out of the "
                "average: each phone has its own.",
            ),
            click.option(
                "--require-secure",
                is_flag=True,
                help="Train only where the server adds up halves that it "
                "cannot read.",
            ),
        ]
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class Federation:
    """How a phone trains one model with others.

    Attributes:
        every: Steps from one averaging to the next; `EPOCH` for an epoch.
        what: `"weights"` or `"gradients"`; None for what fits.
        optimizer: Config as JSON of what is applied to the average; empty
            for the average as it is.
        batchnorm: `"average"` or `"local"`.
        require_secure: Whether to train only where halves cannot be read.
    """

    every: int
    what: str | None = None
    optimizer: str = ""
    batchnorm: str = "average"
    require_secure: bool = False

    @classmethod
    def take(cls, options: dict[str, Any]) -> "Federation | None":
        """Takes the options out of a command's; None without `--federate`.

        Raises:
            click.UsageError: If one is there that needs it.
        """
        every, *others = (options.pop(name) for name in NAMES)
        if every is None:
            for name, value in zip(NAMES[1:], others, strict=True):
                if value:
                    raise click.UsageError(
                        "Expected --federate with "
                        f"--{name.replace('_', '-')}. Received: one without "
                        "the other."
                    )
            return None
        what, optimizer, keeps_local, require_secure = others
        batchnorm = "local" if keeps_local else "average"
        return cls(every, what, optimizer or "", batchnorm, require_secure)

    @property
    def terms(self) -> AveragingTerms:
        """For a phone that has no gradients to give."""
        return AveragingTerms(
            self.every, self.what or "weights", self.batchnorm, self.optimizer
        )

    def __str__(self) -> str:
        if self.every == EPOCH:
            return "after each epoch"
        return (
            "after each step"
            if self.every == 1
            else f"after every {counted(self.every, 'step')}"
        )


def no_early_stopping() -> click.UsageError:
    """The error of `--early-stopping` with `--federate`."""
    return click.UsageError(
        "Expected --federate or --early-stopping. Received: both. One "
        "phone does not bring back an earlier body under the others."
    )


def who(info: CohortInfo, federation: Federation) -> str:
    """A line that says with whom a phone trains, and who sees its half.

    Args:
        info: What the server says of the cohort.
        federation: What the phone says.
    """
    drawn = ""
    if info.mode == "merged":
        drawn = f", with batches of {info.batch} examples of all phones"
    secret = (
        "adds up halves that it cannot read"
        if info.secure
        else "can read this phone's half"
    )
    return (
        f"Trains one model with the phones of a {info.mode} cohort, averaged "
        f"{federation}{drawn}. The server {secret}."
    )
