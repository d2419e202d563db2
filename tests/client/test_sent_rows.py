import logging

import pytest

from keras_split.client.sent_rows import SentRows
from keras_split.client.session import ClientSession
from keras_split.errors import RefusedError
from keras_split.protocol.known_rows import MOST_ROWS
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.protocol.row_layout import RowLayout
from keras_split.transports import Route
from keras_split.transports import Transport
from tests import links

ROOM = 1 << 20


class Scripted(Transport):
    """Gives replies, and keeps what it was sent."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.sent = []

    def carry(self, message):
        self.sent.append(message)
        return self.replies.pop(0)

    def close(self):
        pass


@pytest.fixture(scope="module")
def contract():
    return links.halves("int8")[0].contract


@pytest.fixture
def rows(contract):
    """Of a server that has just begun to keep some."""
    made = SentRows(contract)
    made.greeted(Welcome("s", reuse_bytes=ROOM))
    return made


def infer(contract, seed=0, size=8):
    return Infer("s", links.smashed(contract, seed=seed, size=size))


def rows_of(contract, message=None, **options):
    message = message or infer(contract, **options)
    return RowLayout(contract).rows(message.tensors)


def made_of(contract, rows):
    return Infer("s", RowLayout(contract).tensors(rows, len(rows)))


def test_a_row_is_sent_once_whatever_is_beside_it(contract, rows):
    first = infer(contract)
    old, new = rows_of(contract, first), rows_of(contract, seed=1)
    mixed = made_of(contract, [*new[:2], *old[2:4]])

    sent = [rows.without_known(m) for m in (first, mixed, first)]

    assert [len(m.tensors) for m in sent] == [1, 1, 0]
    assert [m.tensors[0].shape[0] for m in sent[:2]] == [8, 2]
    assert [m.rows.batch for m in sent] == [8, 4, 8]


def test_a_row_that_is_twice_in_a_batch_is_sent_once(contract, rows):
    twice = made_of(contract, 2 * rows_of(contract)[:1])

    sent = rows.without_known(twice)

    assert sent.tensors[0].shape[0] == 1
    assert len(sent.rows.digests) == 32


def test_a_server_that_has_none_any_more_is_sent_all(contract, rows):
    rows.without_known(infer(contract))

    rows.greeted(Welcome("s", reuse_bytes=ROOM, reuse_rows=8))
    kept = rows.without_known(infer(contract))
    rows.greeted(Welcome("s", reuse_bytes=ROOM, reuse_rows=0))
    lost = rows.without_known(infer(contract))

    assert (len(kept.tensors), len(lost.tensors)) == (0, 1)


def test_a_server_that_keeps_nothing_is_sent_messages_as_they_are(
    contract, caplog
):
    rows = SentRows(contract)
    message = infer(contract)

    rows.greeted(Welcome("s"))

    assert rows.without_known(message) is message
    assert "keeps nothing of what it is sent" in caplog.text


def test_more_rows_than_can_be_described_go_as_they_are(contract, rows, caplog):
    message = infer(contract, size=MOST_ROWS + 1)

    for _ in range(2):
        assert rows.without_known(message) is message

    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1 and "sent whole" in warnings[0].message


def test_where_a_row_is_missing_the_message_goes_again_with_all(contract):
    features = Features(-1, [])
    missing = Refusal("digest", "Expected digests of rows that ...")
    transport = Scripted(
        Welcome("s", reuse_bytes=ROOM),
        *(features, missing, features, features, missing, missing),
    )
    session = ClientSession(Route.to(transport=transport), reuse=True)
    session.connect(contract, links.SGD)
    tensors = infer(contract).tensors

    for _ in range(3):
        session.infer(tensors)
    with pytest.raises(RefusedError, match="Expected digests"):
        session.infer(tensors)

    hello, *sent = transport.sent
    assert hello.reuse
    assert [len(message.tensors) for message in sent] == [1, 0, 1, 0, 0, 1]
    assert len({message.rows.digests for message in sent}) == 1
    session.forget()


def test_without_reuse_nothing_is_said_of_it(contract):
    transport = Scripted(Welcome("s"), Features(-1, []))
    session = ClientSession(Route.to(transport=transport))
    session.connect(contract, links.SGD)

    session.infer(infer(contract).tensors)

    hello, message = transport.sent
    assert not hello.reuse and message.rows is None
    session.forget()
