"""Which rows a server has from before, as its client knows."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from keras_split.protocol.contract import Contract
from keras_split.protocol.known_rows import MOST_ROWS
from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.known_rows import digest
from keras_split.protocol.messages import Welcome
from keras_split.protocol.messages import WithSmashed
from keras_split.protocol.row_cache import RowCache
from keras_split.protocol.row_layout import RowLayout

_LOG = logging.getLogger("keras_split")
_M = TypeVar("_M", bound=WithSmashed)


class SentRows:
    """Leaves out of messages what the server keeps.

    A row goes by what is in it, so a step has the same numbers whether rows
    come with it or not. The client keeps digests alone, in the order in which
    the server keeps the rows. Where the two disagree, for a connection was
    lost, the server says so, and the message goes again with all its rows.

    Args:
        contract: Says what crosses.
    """

    def __init__(self, contract: Contract) -> None:
        self._layout = RowLayout(contract)
        self._known: RowCache[bool] = RowCache(0)
        self._told: set[str] = set()

    def greeted(self, welcome: Welcome) -> None:
        """The server has said how much it keeps, and whether it has any."""
        limit = welcome.reuse_bytes
        if limit != self._known.limit_bytes or not welcome.reuse_rows:
            self._known = RowCache(limit)
        if not limit:
            _LOG.warning(
                "The server keeps nothing of what it is sent for this "
                "session, so reuse saves nothing: it is of an older version, "
                "too many sessions ask for it, its max_reuse_bytes is 0, or "
                "it has a merged cohort. The numbers are the same."
            )

    def without_known(self, message: _M) -> _M:
        """The message with the rows that the server does not have."""
        return self._made(message)

    def with_all(self, message: _M) -> _M:
        """The message with all its rows, which the server keeps again."""
        return self._made(message, everything=True)

    def _made(self, message: _M, everything: bool = False) -> _M:
        limit = self._known.limit_bytes
        if not limit or not message.tensors:
            return message
        rows = self._layout.rows(message.tensors)
        if len(rows) > MOST_ROWS:
            self._tell(
                f"A batch of more than {MOST_ROWS:,} examples is sent whole, "
                "with reuse as without. Use smaller batches."
            )
            return message
        digests = [digest(row) for row in rows]
        sent = [
            number
            for number, row in enumerate(rows)
            if self._is_new(digests[number], len(row)) or everything
        ]
        if self._known.evicted:
            self._tell(
                f"More was sent than the {limit:,} bytes that the server keeps "
                "for reuse. What was not used for longest goes first, so of "
                "an epoch that does not fit little is left when it comes "
                "again. Raise the server's max_reuse_bytes, or cut where less "
                "crosses."
            )
        return self._with(message, sent, digests)

    def _tell(self, warning: str) -> None:
        if warning not in self._told:
            self._told.add(warning)
            _LOG.warning("%s", warning)

    def _is_new(self, name: bytes, nbytes: int) -> bool:
        if self._known.get(name):
            return False
        self._known.put(name, True, nbytes)
        return True

    def _with(
        self, message: _M, sent: Sequence[int], digests: Sequence[bytes]
    ) -> _M:
        known = KnownRows(message.tensors[0].shape[0], b"".join(digests))
        tensors = self._layout.some(message.tensors, sent)
        return replace(message, tensors=tensors, rows=known)
