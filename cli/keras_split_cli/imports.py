"""`--import`: code of the user's own, known before a model is loaded."""

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TypeVar
from typing import cast

import click

from keras_split.errors import BackendError
from keras_split_cli.console import load_keras
from keras_split_cli.console import working

_F = TypeVar("_F", bound=Callable[..., Any])


def import_option(function: _F) -> _F:
    """Adds `--import`; the modules are there before the command runs.

    The command itself takes no parameter for it.
    """

    @functools.wraps(function)
    def importing(*args: Any, modules: tuple[str, ...], **options: Any) -> Any:
        import_all(modules)
        return function(*args, **options)

    return click.option(
        "--import",
        "modules",
        multiple=True,
        metavar="MODULE",
        help="Import this Python module first, from this folder too: one "
        "that registers layers of your own; again for more.",
    )(cast(_F, importing))


def import_all(modules: tuple[str, ...]) -> None:
    """Imports modules, as `python -m` finds them.

    Args:
        modules: Their names, with dots.

    Raises:
        BackendError: If there is no such module, or it fails.
    """
    if not modules:
        return
    with working(f"Importing {', '.join(modules)}"):
        load_keras()  # without what it says when it starts
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    for name in modules:
        _import(name)


def _import(name: str) -> None:
    try:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ModuleNotFoundError(name=name)
        if name.endswith(".py"):  # or it would run before that is said
            raise ModuleNotFoundError(name=name)
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise BackendError(
            "Expected --import to name a module that can be imported. "
            f"Received: {name!r}{_told(name, error)}"
        ) from error


def _told(name: str, error: BaseException) -> str:
    """What went wrong with a module, where, and what to do."""
    parents = [name[:i] for i, c in enumerate(f"{name}.") if c == "."]
    if isinstance(error, ModuleNotFoundError) and error.name in parents:
        if name.endswith(".py"):
            path = Path(name[: -len(".py")])
            return (
                f", a file. Call the command in {path.absolute().parent} and "
                f"name the module: --import {path.name}"
            )
        return (
            f", and there is none in {os.getcwd()}, nor where Python looks for "
            "packages. Call the command in the folder of the file, or set "
            "PYTHONPATH to that."
        )
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    place = ""
    if frames and not isinstance(error, SyntaxError):  # which says it itself
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})"
    return (
        f", which fails: {type(error).__name__}: {error}{place}. Mend it; "
        f"python -c 'import {name}' must work."
    )
