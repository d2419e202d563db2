"""Rows of smashed data that a session keeps, to be sent them once."""

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol.contract import Contract
from keras_split.protocol.known_rows import DIGEST_BYTES
from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.known_rows import digest
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import WithSmashed
from keras_split.protocol.row_cache import RowCache
from keras_split.protocol.row_layout import RowLayout
from keras_split.server.guards import Guard
from keras_split.server.limits import Budget

if TYPE_CHECKING:
    from keras_split.server.session import Session

SESSIONS = 8  # that keep rows at the same time


class KeptRows:
    """The rows of one session, by the digests that the server made itself.

    They are in memory alone, and go with the session and with the server.

    Args:
        contract: Says what crosses.
        guard: Says which tensors may be kept.
        limit_bytes: For all rows.

    Attributes:
        limit_bytes: The same.
    """

    def __init__(
        self, contract: Contract, guard: Guard, limit_bytes: int
    ) -> None:
        self.limit_bytes = limit_bytes
        self._layout = RowLayout(contract)
        self._guard = guard
        self._rows: RowCache[bytes] = RowCache(limit_bytes)

    def __len__(self) -> int:
        return len(self._rows)

    def whole(self, tensors: list[CutTensor], known: KnownRows) -> list[bytes]:
        """All rows of a message, in order.

        Args:
            tensors: The rows that came with it.
            known: The digests of all of them.

        Raises:
            ProtocolError: With reason `"digest"`, if one did not come and is
                not kept.
        """
        self._check(known)
        came = self._came(tensors)
        found = []
        for name in known:
            row: bytes | None
            if came and came[0][0] == name:
                row = came.popleft()[1]
                self._rows.put(name, row, len(row))
            else:
                row = self._rows.get(name)
            if row is None:
                raise _unknown("one of a row that is not kept here")
            found.append(row)
        if came:
            raise _unknown("a row beside them with another digest")
        return found

    def tensors(self, rows: list[bytes], known: KnownRows) -> list[CutTensor]:
        """The tensors of all rows.

        Raises:
            ProtocolError: With reason `"shape"`, if they are of a batch of
                another size.
        """
        each = self._layout.nbytes(
            1 if self._layout.by_example else known.batch
        )
        if any(len(row) != each for row in rows):
            raise ProtocolError(
                f"Expected rows of {each:,} bytes, for a batch of "
                f"{known.batch}. Received: digests of longer or shorter ones. "
                "Say in rows.batch how many examples they are of.",
                "shape",
            )
        return self._layout.tensors(rows, known.batch)

    def _check(self, known: KnownRows) -> None:
        count = known.batch if self._layout.by_example else 1
        if known.batch < 1 or len(known.digests) != DIGEST_BYTES * count:
            raise ProtocolError(
                f"Expected a batch of 1 or more and {DIGEST_BYTES} bytes of "
                "digests for each "
                f"{'example' if self._layout.by_example else 'batch'}. "
                f"Received: a batch of {known.batch}, and "
                f"{len(known.digests)} bytes. Send rows whole, without "
                "digests.",
                "shape",
            )

    def _came(self, tensors: list[CutTensor]) -> deque[tuple[bytes, bytes]]:
        """The rows that came, and what their digests are."""
        if not tensors:
            return deque()
        self._guard.smashed(tensors)
        rows = self._layout.rows(tensors)
        return deque((digest(row), row) for row in rows)


class RowKeeping:
    """Gives sessions room for their rows: so many of them at a time.

    For several threads at once.

    Args:
        limit_bytes: Room of one session; 0 for none.
        contract: Says what crosses; where that has several lengths, no rows
            are kept.
    """

    def __init__(self, limit_bytes: int, contract: Contract) -> None:
        self._limit_bytes = 0 if contract.buckets else limit_bytes
        self._contract = contract
        self._budget = Budget(SESSIONS * limit_bytes)

    def give(self, session: "Session") -> None:
        """Has a session keep rows, if there is room and it keeps none yet."""
        limit = self._limit_bytes
        if session.rows is None and limit and self._budget.take(limit):
            guard = session.body.guard
            session.rows = KeptRows(self._contract, guard, limit)

    def end(self, session: "Session") -> None:
        """A session has ended; another may have its room."""
        if session.rows is not None:
            session.rows = None
            self._budget.give_back(self._limit_bytes)


def check(message: Message, session: "Session") -> None:
    """Refuses digests in a session that keeps no rows.

    Raises:
        ProtocolError: With reason `"digest"`.
    """
    if isinstance(message, WithSmashed) and message.rows is not None:
        if session.rows is None:
            raise _unknown("some, in a session that keeps no rows")


def whole(message: Message, session: "Session") -> Message:
    """A message with all its rows, those that did not come as well.

    Raises:
        ProtocolError: With reason `"digest"`, if a row is not kept.
    """
    if not isinstance(message, WithSmashed) or message.rows is None:
        return message
    check(message, session)
    kept, known = session.rows, message.rows
    assert kept is not None
    rows = kept.whole(message.tensors, known)
    return replace(message, tensors=kept.tensors(rows, known), rows=None)


def _unknown(received: str) -> ProtocolError:
    return ProtocolError(
        "Expected digests of rows that come with the message, in their order, "
        "or that this session keeps from before; it keeps none after a restart "
        f"of the server. Received: {received}. Send the message again with all "
        "its rows beside their digests, or without digests.",
        "digest",
    )
