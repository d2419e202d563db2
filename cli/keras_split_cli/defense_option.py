"""`--defense`: what the phone does to tensors before it sends them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TypeVar

import click

from keras_split.errors import DefenseError

_F = TypeVar("_F", bound=Callable[..., Any])

# A test compares them with the registry, which would load TensorFlow.
DEFENSES = {
    "gradient_noise": "sigma",
    "gaussian_mechanism": "limit, sigma, where",
    "laplace_mechanism": "limit, scale, where",
    "clip": "limit, where, order",
    "gaussian_noise": "stddev, where",
    "max_norm": "",
    "nopeek": "weight",
    "randomized_response": "epsilon",
    "sign": "",
}
KNOWN = "; ".join(
    f"{name} ({args})" if args else name for name, args in DEFENSES.items()
) + (
    "; where=smashed, features_grad or smashed+features_grad. "
    "Such as gradient_noise:sigma=1."
)


def defense_option(function: _F) -> _F:
    """Adds `--defense`, as often as there are any."""
    return click.option(
        "--defense",
        "defenses",
        multiple=True,
        metavar="NAME[:ARG=VALUE,...]",
        help=f"Change what the phone of a preset sends, in this order: {KNOWN}",
    )(function)


def defenses_of(
    texts: tuple[str, ...], preset: str | None, resume: str | None = None
) -> Any:
    """The chain of defenses that were asked for.

    Args:
        texts: Values of the option.
        preset: What the phone's half is made of; None for a file.
        resume: The folder of a training that may go on: its seed is kept
            there, so that a step that is taken again sends the same again.

    Raises:
        DefenseError: If one is unknown, its arguments are not, the phone's
            half is not made here, or the training in the folder had others.
    """
    if not texts and (resume is None or preset is None):
        return ()
    if preset is None:
        raise DefenseError(
            "Expected --defense with a preset: a client.keras has the "
            "defenses that it was made with, and their seed. Received: "
            f"--defense {texts[0]}. Leave it out, or make the client with "
            "keras_split.compile(..., defenses=[...])."
        )
    from keras_split.defenses import Chain

    chain = Chain([read_defense(text) for text in texts])
    return chain if resume is None else _kept(chain, Path(resume))


def _kept(chain: Any, folder: Path) -> Any:
    """The chain of a training that goes on, or this one for a new one."""
    path = folder / "defenses.json"
    if path.exists():
        found = type(chain)(**json.loads(path.read_text()))
    elif any(folder.glob("epoch-*")):
        found = type(chain)()
    else:
        if chain:
            folder.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
                json.dump(chain.get_config(), f)
        return chain
    if found.describe() != chain.describe():
        raise DefenseError(
            f"Expected the defenses that the training in {folder} began "
            f"with: {found.describe()}. Received: {chain.describe()}. Pass "
            "the same --defense, or start anew in another folder."
        )
    return found


def read_defense(text: str) -> Any:
    """A defense from `NAME` or `NAME:ARG=VALUE,...`.

    Raises:
        DefenseError: If there is none of that name, or its arguments are not.
    """
    from keras_split import defenses

    name, _, rest = text.partition(":")
    config: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        argument, sign, value = (p.strip() for p in part.partition("="))
        if not sign or not argument or argument in config:
            raise DefenseError(
                "Expected --defense NAME:ARG=VALUE, each argument once. "
                f"Received: {text!r}. Try gradient_noise:sigma=1."
            )
        config[argument] = _value(value)
    try:
        return defenses.get({"name": name.strip(), "config": config})
    except DefenseError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        # It is of the arguments of its constructor.
        takes = DEFENSES.get(name.strip(), "other ones") or "none"
        raise DefenseError(
            f"Expected arguments that {name!r} takes: {takes}. Received: "
            f"{text!r}. Write them as {name}:ARG=VALUE,ARG=VALUE."
        ) from error


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text.split("+") if "+" in text else text
    return int(number) if number.is_integer() else number
