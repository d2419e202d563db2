"""Packages that bring formats, codecs or compression presets of their own.

A program imports such a package; a command line cannot, so a package names
the module that registers them as an entry point:

    [project.entry-points."keras_split.extensions"]
    mine = "my_package.keras_split"
"""

from functools import cache
from importlib.metadata import entry_points

from keras_split.errors import BackendError

GROUP = "keras_split.extensions"


@cache
def load() -> None:
    """Imports what installed packages name, once.

    Raises:
        BackendError: If one of them cannot be imported.
    """
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist else entry.value
            raise BackendError(
                f"Expected {entry.value!r}, which {package} names for the "
                f"group {GROUP}, to be imported. Received: "
                f"{type(error).__name__}: {error}. Mend it, or run: "
                f"pip uninstall {package}"
            ) from error
