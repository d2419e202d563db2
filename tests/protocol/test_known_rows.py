from keras_split.protocol.known_rows import DIGEST_BYTES
from keras_split.protocol.known_rows import MOST_ROWS
from keras_split.protocol.known_rows import KnownRows
from keras_split.protocol.known_rows import digest
from keras_split.protocol.wire import frames


def test_digests_come_back_one_by_one():
    digests = [digest(row) for row in (b"a", b"b", b"a")]

    known = KnownRows(3, b"".join(digests))

    assert list(known) == digests
    assert digests[0] == digests[2] != digests[1]
    assert {len(name) for name in digests} == {DIGEST_BYTES}


def test_those_of_a_message_fit_in_what_describes_it():
    assert MOST_ROWS * DIGEST_BYTES <= frames.DESCRIPTION_BYTES / 2
