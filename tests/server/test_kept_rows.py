from dataclasses import replace

import pytest

from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.known_rows import digest
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Goodbye
from keras_split.protocol.messages import Hello
from keras_split.protocol.messages import Infer
from keras_split.protocol.messages import Refusal
from keras_split.protocol.row_cache import ENTRY_BYTES
from keras_split.protocol.row_layout import RowLayout
from keras_split.server.callbacks import Caller
from keras_split.server.kept_rows import SESSIONS
from keras_split.server.service import TrainingService
from tests import links

SOMEBODY = Caller("", "ipv4:10.0.0.1:1")


class Talk:
    """A session that keeps rows, and what it can be sent."""

    def __init__(self, **options):
        _, server = links.halves("int8")
        self.contract = server.contract
        self.layout = RowLayout(server.contract)
        self.tensors = links.smashed(server.contract)
        self.rows = self.layout.rows(self.tensors)
        self.host = TrainingService(server.half, **options)
        self.welcome = self.hello()

    def hello(self, **options):
        hello = Hello(self.contract, links.SGD, reuse=True, **options)
        return self.host.handle(hello, SOMEBODY)

    def infer(self, sent, names=None, batch=None):
        """An answer to digests of all rows, with some rows beside them."""
        names = [digest(row) for row in self.rows] if names is None else names
        known = KnownRows(batch or len(names), b"".join(names))
        tensors = self.layout.some(self.tensors, sent)
        message = Infer(self.welcome.session, tensors, known)
        return self.host.handle(message, SOMEBODY)

    @property
    def whole(self):
        """An answer to the same, without reuse."""
        message = Infer(self.welcome.session, self.tensors)
        return self.host.handle(message, SOMEBODY)


def refused(reply, reason, words):
    assert isinstance(reply, Refusal)
    assert reply.reason == reason and words in reply.text
    return True


@pytest.fixture(scope="module")
def talk():
    return Talk()


def test_rows_that_did_not_come_are_those_from_before(talk):
    expected = links.parts(talk.whole.tensors)

    replies = [talk.infer(range(8)), talk.infer([]), talk.infer([2, 5])]

    for reply in replies:
        assert isinstance(reply, Features)
        assert links.same(links.parts(reply.tensors), expected)


def test_a_row_that_is_not_kept_is_asked_for(talk):
    names = [digest(b"nobody's"), *(digest(row) for row in talk.rows[1:])]

    assert refused(talk.infer([], names), "digest", "is not kept here")
    assert isinstance(talk.infer(range(8)), Features)


def test_a_row_with_another_digest_is_refused_and_kept_by_its_own(talk):
    names = [digest(b"nobody's"), *(digest(row) for row in talk.rows[1:])]

    assert refused(talk.infer([0], names), "digest", "is not kept here")
    assert refused(
        talk.infer([0], [digest(row) for row in talk.rows[1:]]),
        *("digest", "with another digest"),
    )


@pytest.mark.parametrize(
    ("names", "batch"), [([b"short"], 1), ([], 1), ([digest(b"a")], 2)]
)
def test_digests_that_cannot_be_are_refused(talk, names, batch):
    reply = talk.infer([], names, batch)

    assert refused(reply, "shape", "16 bytes of digests for each example")


def test_rows_that_came_are_what_the_contract_says_or_not_kept(talk):
    tensors = [
        replace(tensor, scales=tensor.scales[:-1]) for tensor in talk.tensors
    ]
    known = KnownRows(8, b"".join(digest(row) for row in talk.rows))

    reply = talk.host.handle(Infer(talk.welcome.session, tensors, known))

    assert refused(reply, "shape", "rows of scales")


def test_digests_do_not_make_a_batch_larger_than_is_allowed():
    talk = Talk(max_batch=8)
    assert isinstance(talk.infer(range(8)), Features)

    reply = talk.infer([], 9 * [digest(talk.rows[0])])

    assert refused(reply, "size", "at most 8 examples")


def test_a_session_keeps_so_many_bytes():
    talk = Talk()
    row = talk.layout.nbytes(1)
    talk = Talk(max_reuse_bytes=3 * (row + ENTRY_BYTES))
    assert isinstance(talk.infer(range(8)), Features)

    again = talk.hello(session=talk.welcome.session)

    assert (talk.welcome.reuse_bytes, talk.welcome.reuse_rows) == (
        *(3 * (row + ENTRY_BYTES), 0),
    )
    assert again.reuse_rows == 3
    last = [digest(row) for row in talk.rows[-3:]]
    assert isinstance(talk.infer([], last), Features)
    assert refused(talk.infer([]), "digest", "is not kept here")


def test_so_many_sessions_keep_rows_and_one_that_ends_makes_room():
    talk = Talk()
    others = [talk.hello() for _ in range(SESSIONS)]

    talk.host.handle(Goodbye(talk.welcome.session), SOMEBODY)
    last = talk.hello()

    room = talk.welcome.reuse_bytes
    assert room == 256 << 20
    assert [other.reuse_bytes for other in others] == (
        (SESSIONS - 1) * [room] + [0]
    )
    assert last.reuse_bytes == room


@pytest.mark.parametrize("options", [{"max_reuse_bytes": 0}, {}])
def test_who_did_not_ask_or_gets_none_has_no_rows(options):
    talk = Talk(**options)
    if not options:
        hello = Hello(talk.contract, links.SGD)
        talk.welcome = talk.host.handle(hello, SOMEBODY)

    assert talk.welcome.reuse_bytes == 0
    assert refused(talk.infer(range(8)), "digest", "keeps no rows")


def test_rows_of_one_session_are_not_there_for_another(talk):
    assert isinstance(talk.infer(range(8)), Features)
    known = KnownRows(8, b"".join(digest(row) for row in talk.rows))

    other = talk.hello().session
    reply = talk.host.handle(Infer(other, [], known), SOMEBODY)

    assert refused(reply, "digest", "is not kept here")


@pytest.mark.parametrize("batch", [7, 8])
def test_a_row_of_a_whole_batch_is_of_that_batch(batch):
    _, server = links.halves(
        links.keras_split.Quantization("int8", granularity="tensor")
    )
    host = TrainingService(server.half)
    hello = Hello(server.contract, links.SGD, reuse=True)
    session = host.handle(hello, SOMEBODY).session
    tensors = links.smashed(server.contract)
    (row,) = RowLayout(server.contract).rows(tensors)
    host.handle(Infer(session, tensors, KnownRows(8, digest(row))), SOMEBODY)

    known = KnownRows(batch, digest(row))
    reply = host.handle(Infer(session, [], known), SOMEBODY)

    if batch == 8:
        assert isinstance(reply, Features)
    else:
        assert refused(reply, "shape", "for a batch of 7")
