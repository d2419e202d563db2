"""What a preset names in another package."""

import importlib
from typing import Any

from keras_split.errors import BackendError
from keras_split.utils.extras import install

_EXTRAS = {"keras_hub": "hub"}


def resolve(path: str) -> Any:
    """The object behind `"module:name"`.

    Raises:
        BackendError: If it is of a package that an extra brings, and that is
            not installed.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package or package not in _EXTRAS:
            raise
        raise BackendError(
            f"Expected the package {package}, of which {name} is. It is not "
            f"installed. Install it with: {install(_EXTRAS[package])}"
        ) from error
