"""The sessions of this process that are open; they end with it."""

import atexit
import os
import weakref
from typing import Protocol


class Open(Protocol):
    """What is open."""

    def close(self) -> None:
        """Ends it."""


_OPEN: "weakref.WeakSet[Open]" = weakref.WeakSet()


def add(session: Open) -> None:
    """One was opened."""
    _OPEN.add(session)


def discard(session: Open) -> None:
    """One is over."""
    _OPEN.discard(session)


@atexit.register
def close_all() -> None:
    """Ends all of them; so does the end of the process."""
    for session in list(_OPEN):
        session.close()


# Sessions belong to the process that opened them: a child that said goodbye
# for its parent would end its training, and would wait for threads that a
# fork does not copy.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OPEN.clear)
