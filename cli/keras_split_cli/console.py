"""Where commands print: results to stdout, progress to stderr."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from keras_split.utils.plain import plain
from keras_split.utils.quiet import quietly as quietly

_LONGEST = 100_000  # letters of a line


class _Console(Console):
    """One that work goes on beside, when nobody reads what it prints."""

    def on_broken_pipe(self) -> None:
        """Prints nothing any more; Rich's ends the command, unsaved."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


out = _Console(highlight=False)
progress = _Console(stderr=True, highlight=False)


def tell(text: str) -> None:
    """Prints lines as they are: paths stay whole and keep their brackets.

    Names of others may be in them, but nothing that steers a terminal.
    """
    out.print(_shown(text), soft_wrap=True, markup=False)


def note(text: str) -> None:
    """Prints lines as they are beside the progress: what is being done."""
    progress.print(_shown(text), soft_wrap=True, markup=False)


def _shown(text: str) -> str:
    return "\n".join(plain(line, _LONGEST) for line in text.split("\n"))


@contextmanager
def working(text: str) -> Iterator[None]:
    """Shows that something is being done; one plain line without a terminal."""
    if progress.is_terminal:
        with progress.status(Text(_shown(text))):
            yield
    else:
        progress.print(f"{_shown(text)} ...", markup=False)
        yield


@contextmanager
def warned() -> Iterator[None]:
    """Prints what keras_split logs as a warning, with that word before it."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    handler.setLevel(logging.WARNING)
    log = logging.getLogger("keras_split")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def load_keras() -> None:
    """Imports Keras and TensorFlow without what they say about GPUs.

    TensorFlow writes those lines before its own log level counts. If the
    import fails, they are shown after all.
    """
    from keras_split import require_keras

    with quietly():
        require_keras()


def size(nbytes: float) -> str:
    """A number of bytes as people read it.

    Example:
    >>> size(802816)
    '784 KiB'
    """
    value, unit = _scaled(nbytes, 1024, ("B", "KiB", "MiB", "GiB"))
    digits = 0 if value >= 100 or unit == "B" else 1
    return f"{value:.{digits}f} {unit}"


def count(number: float) -> str:
    """A large number as people read it.

    Example:
    >>> count(3_855_945_728)
    '3.86G'
    """
    value, unit = _scaled(number, 1000, ("", "k", "M", "G"))
    return f"{value:.3g}{unit}"


def _scaled(
    value: float, base: int, units: tuple[str, ...]
) -> tuple[float, str]:
    """The value in the first unit in which it has three digits or fewer."""
    for unit in units[:-1]:
        if value < 999.5:
            return value, unit
        value /= base
    return value, units[-1]
