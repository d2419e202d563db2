"""Options of `serve` for phones that train one model."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click

from keras_split.protocol.cohort import MODES
from keras_split.server.cohorts.config import MEANS
from keras_split.server.cohorts.config import CohortConfig
from keras_split_cli.amount import Amount

_F = TypeVar("_F", bound=Callable[..., Any])
# Each as it is called in `CohortConfig`, by how the command calls it.
_FIELDS = {
    "phones": "phones",
    "batch": "batch",
    "phones_per_step": "phones_per_step",
    "round_phones": "round_phones",
    "step_deadline": "step_deadline_s",
    "round_deadline": "round_deadline_s",
    "return_deadline": "return_deadline_s",
    "plain_aggregation": "plain_aggregation",
    "aggregation_bits": "bits",
    "mean": "mean",
    "trim": "trim",
    "clip_update_norm": "clip_update_norm",
    "clip_gradients": "clip_gradients",
    "allow_restore": "allow_restore",
    "cohort_seed": "seed",
}
NAMES = ("cohort", *_FIELDS)
_COUNT = click.IntRange(min=1)
_AMOUNT = Amount(min=0, min_open=True)


def _default(name: str) -> str:
    return f"{getattr(CohortConfig, _FIELDS[name]):g}"


_OPTIONS = [
    click.option(
        "--cohort",
        type=click.Choice(MODES),
        help="Train one model with many phones: in merged steps, or with "
        "private bodies or a shared one; personal for halves that stay apart.",
    ),
    click.option(
        "--phones",
        type=_COUNT,
        metavar="N",
        help="Begin when so many are here; more may come later.",
    ),
    click.option(
        "--batch",
        type=_COUNT,
        metavar="B",
        help="Examples of a merged step, of all phones together."
        f" {_default('batch')} by default.",
    ),
    click.option(
        "--phones-per-step",
        type=_COUNT,
        metavar="K",
        help="Draw so many phones for a merged step; all by default.",
    ),
    click.option(
        "--round-phones",
        type=_COUNT,
        metavar="K",
        help="Draw so many phones for a round; all by default.",
    ),
    click.option(
        "--step-deadline",
        type=_AMOUNT,
        metavar="SECONDS",
        help="Leave out of a merged step who is later."
        f" {_default('step_deadline')} by default.",
    ),
    click.option(
        "--round-deadline",
        type=_AMOUNT,
        metavar="SECONDS",
        help="Leave out of a round who is so much later than the first."
        f" {_default('round_deadline')} by default.",
    ),
    click.option(
        "--return-deadline",
        type=Amount(min=0),
        metavar="SECONDS",
        help="Wait so long for a phone that is gone without a goodbye."
        f" {_default('return_deadline')} by default.",
    ),
    click.option(
        "--plain-aggregation",
        is_flag=True,
        default=None,
        help="Average halves without masks, so that the server sees each "
        "phone's.",
    ),
    click.option(
        "--aggregation-bits",
        type=click.Choice(["32", "64"]),
        help="Of each number under masks: bytes against rounding."
        f" {_default('aggregation_bits')} by default.",
    ),
    click.option(
        "--mean",
        type=click.Choice(MEANS),
        help="How halves become one, mean by default; the others bear phones "
        "that lie, and need --plain-aggregation.",
    ),
    click.option(
        "--trim",
        type=Amount(0, 0.5, max_open=True),
        metavar="SHARE",
        help="Of phones, left out at either end by trimmed-mean."
        f" {_default('trim')} by default.",
    ),
    click.option(
        "--clip-update-norm",
        type=_AMOUNT,
        metavar="NORM",
        help="Scale a longer change of one phone's half down to this; needs "
        "--plain-aggregation.",
    ),
    click.option(
        "--clip-gradients",
        type=_AMOUNT,
        metavar="TIMES",
        help="In a merged step, scale one phone's gradients down to so many "
        "times the norm of the median phone's.",
    ),
    click.option(
        "--allow-restore",
        is_flag=True,
        default=None,
        help="Let one phone turn the body back under all.",
    ),
    click.option(
        "--cohort-seed",
        type=click.IntRange(min=0),
        metavar="SEED",
        help="Of the draws of phones and examples; another one each time by "
        "default.",
    ),
]


def cohort_options(function: _F) -> _F:
    """Adds them all."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def take_cohort(options: dict[str, Any]) -> CohortConfig | None:
    """Takes what is said of a cohort out of a command's options.

    Raises:
        UsageError: If there is anything without --cohort.
        OptionError: If it does not go together.
    """
    mode = options.pop("cohort")
    said = {name: options.pop(name) for name in _FIELDS}
    said = {name: value for name, value in said.items() if value is not None}
    if mode is None:
        if said:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in said)
            raise click.UsageError(
                "Expected --cohort with what phones that train one model "
                f"have. Received: {names} alone. Add --cohort merged, say."
            )
        return None
    if "phones" not in said and mode != "personal":
        raise click.UsageError(
            "Expected --phones with --cohort: the training begins when so "
            f"many are here. Received: --cohort {mode} alone. Add --phones 3, "
            "say."
        )
    if "batch" in said and mode != "merged":
        raise click.UsageError(
            "Expected --batch with --cohort merged, whose steps have examples "
            f"of all phones. Received: --cohort {mode}, where each phone has "
            "batches of its own. Leave --batch out."
        )
    if "aggregation_bits" in said:
        said["aggregation_bits"] = int(said["aggregation_bits"])
    return CohortConfig(
        mode, **{_FIELDS[name]: value for name, value in said.items()}
    )
