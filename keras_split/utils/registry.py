"""Things that are known by name: ours, and those of other packages."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from typing import Generic
from typing import TypeVar

from keras_split.errors import SplitError

T = TypeVar("T")
# A name travels in messages and files, and is typed on a command line.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")


class Registry(Generic[T]):
    """Things by name, in the order in which they were registered.

    Args:
        kind: What they are, in messages.
        error: What is raised for a name that cannot be had.
        beside: A registry whose names must not be taken again, because both
            are given in one place.

    Example:
    >>> colors = Registry("color", SplitError)
    >>> colors.register("red", 0xFF0000)
    >>> colors.names()
    ('red',)
    """

    def __init__(
        self,
        kind: str,
        error: type[SplitError],
        beside: "Registry[Any] | None" = None,
    ) -> None:
        self._kind = kind
        self._error = error
        self._items: dict[str, T] = {}
        self._siblings: list[Registry[Any]] = []
        if beside is not None:
            self._siblings.append(beside)
            beside._siblings.append(self)

    @property
    def items(self) -> Mapping[str, T]:
        """All of them by name, to read."""
        return MappingProxyType(self._items)

    def names(self) -> tuple[str, ...]:
        """The names of all."""
        return tuple(self._items)

    def register(self, name: str, item: T) -> None:
        """Makes `item` known as `name`.

        Once more does no harm, nor does a class that is defined again, as a
        notebook does when a cell runs twice.

        Raises:
            SplitError: Of the registry's class, if it is no name, or another
                has it.
        """
        self.check_name(name)
        taken = self._items.get(name)
        elsewhere = any(name in other._items for other in self._siblings)
        if elsewhere or not (
            taken is None or taken is item or _defined_again(taken, item)
        ):
            raise self._error(
                f"Expected a {self._kind} with a name of its own. Received: "
                f"{name!r}, which another has. Choose another name, the same "
                "on both sides."
            )
        self._items[name] = item

    def check_name(self, name: object) -> None:
        """Refuses what cannot be a name.

        Raises:
            SplitError: Of the registry's class.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._error(
                f"Expected a {self._kind} whose name is 1 to 32 letters, "
                f"digits, '_', '.', '+' or '-'. Received: {name!r}. Give it "
                "such a name."
            )


def _defined_again(old: object, new: object) -> bool:
    before, now = type(old), type(new)
    return (
        before is not now
        and before.__module__ == now.__module__
        and before.__qualname__ == now.__qualname__
    )
