"""What to install where a package of an extra is missing."""

import re

_PACKAGE = "keras-split"
_EXTRA = re.compile(r"""^(.+?)\s*;.*\bextra\s*==\s*['"]([^'"]+)['"]""")


def install(extra: str) -> str:
    """The command that installs the packages of an extra.

    It names the packages themselves. `keras-split` is on no index, and whoever
    sees this may have it from a clone, a wheel or a folder, each of which
    would want other words.

    Args:
        extra: Its name in pyproject.toml.

    Returns:
        A line for a shell.

    Example:
    >>> install("images")
    "pip install 'pillow>=10'"
    """
    from importlib import metadata  # not cheap, and seldom needed

    try:
        required = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:  # a source tree on PYTHONPATH
        required = []
    found = [match for match in map(_EXTRA.match, required) if match]
    packages = [f"'{match[1]}'" for match in found if match[2] == extra]
    if not packages:
        return f"pip install '.[{extra}]' in the folder of keras_split's code"
    return f"pip install {' '.join(packages)}"
