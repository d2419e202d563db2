from dataclasses import replace

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import MergedStep
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.drawn import Tickets

DRAWN = Drawn(7, 2, 5, ((0, 4), (1, 0), (3, 8)))


def shown(member, tickets):
    """What a phone says of a step that it was told of."""
    share = DRAWN.shares(tickets.of(DRAWN))[member]
    return MergedStep(share.step, share.count, share.members, share.ticket)


def test_a_server_believes_what_it_has_drawn_whoever_shows_it():
    tickets, later = Tickets(), Tickets()
    later.load(tickets.state())

    read = [later.read(shown(member, tickets), member) for member in (0, 3)]

    assert read == [DRAWN, DRAWN]
    assert DRAWN.members == (0, 3)


def test_who_only_listens_has_nothing_to_show():
    shares = DRAWN.shares(b"a ticket")

    assert [shares[m].ticket for m in (0, 1, 3)] == [
        b"a ticket",
        b"",
        b"a ticket",
    ]
    assert shares[1].count == 0


@pytest.mark.parametrize(
    "lie",
    [
        {"step": 8},
        {"step": 1 << 60},
        {"count": 5},
        {"members": (0, 1, 3)},
        {"ticket": b"0" * 32},
        {"ticket": b"0"},
    ],
)
def test_nobody_can_make_up_a_step(lie):
    tickets = Tickets()
    merged = replace(shown(0, tickets), **lie)

    with pytest.raises(ProtocolError, match="as this server") as raised:
        tickets.read(merged, 0)

    assert raised.value.reason == "cohort"


def test_the_share_of_another_is_refused():
    tickets = Tickets()

    with pytest.raises(ProtocolError) as raised:
        tickets.read(shown(3, tickets), 0)

    assert raised.value.reason == "cohort"


def test_a_step_of_another_server_is_refused():
    with pytest.raises(ProtocolError) as raised:
        Tickets().read(shown(0, Tickets()), 0)

    assert raised.value.reason == "cohort"


def test_a_phone_that_shows_nothing_goes_on_with_the_next_step():
    with pytest.raises(ProtocolError, match="ticket") as raised:
        Tickets().read(MergedStep(7, 4, (0, 3)), 0)

    assert raised.value.reason == "late"


def test_the_ticket_of_very_many_phones_is_left_out():
    few, many = (
        Tickets().of(
            replace(DRAWN, counts=tuple((n, n * n % 97) for n in range(count)))
        )
        for count in (4000, 40_000)
    )

    assert 0 < len(few) < 1 << 15
    assert many == b""
