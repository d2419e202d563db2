import asyncio

import pytest

from keras_split.protocol.wire import frames
from keras_split.server.outgoing import FRAMES_AHEAD
from keras_split.server.outgoing import Outgoing
from keras_split.server.watchdog import Watch


class Client:
    """Takes frames when it is let."""

    def __init__(self):
        self.taken = []
        self.takes = asyncio.Event()
        self.error = None

    async def take(self, raw):
        await self.takes.wait()
        if self.error is not None:
            raise self.error
        self.taken.append(raw)


def run(act):
    """Runs a test with a client and what sends to it."""

    async def start():
        client = Client()
        outgoing = Outgoing(client.take, Watch(lambda: None), 60)
        await act(client, outgoing)
        await outgoing.close()

    asyncio.run(asyncio.wait_for(start(), 20))


async def others_run():
    for _ in range(10):
        await asyncio.sleep(0)


def test_frames_leave_in_order():
    async def act(client, outgoing):
        client.takes.set()
        for number in range(100):
            await outgoing.put_in_turn(bytes([number]))
        await outgoing.flush()

        assert client.taken == [bytes([n]) for n in range(100)]

    run(act)


def test_no_more_than_so_many_wait():
    async def act(client, outgoing):
        for number in range(FRAMES_AHEAD):
            await outgoing.put_in_turn(bytes([number]))
        late = asyncio.create_task(outgoing.put_in_turn(b"late"))
        await others_run()
        waits = not late.done()
        client.takes.set()
        await late
        await outgoing.flush()

        assert waits
        assert len(client.taken) == FRAMES_AHEAD + 1

    run(act)


def test_what_cannot_wait_counts_for_what_comes_after_it():
    async def act(client, outgoing):
        for number in range(FRAMES_AHEAD + 3):
            outgoing.put(bytes([number]))
        late = asyncio.create_task(outgoing.put_in_turn(b"late"))
        await others_run()
        waits = not late.done()
        client.takes.set()
        await late
        await outgoing.flush()

        assert waits
        assert client.taken[-1] == b"late"

    run(act)


@pytest.mark.parametrize("waits", [False, True])
def test_who_sends_to_a_client_that_went_away_is_told(waits):
    async def act(client, outgoing):
        client.error = ConnectionError("gone")
        outgoing.put(b"first")
        if not waits:
            client.takes.set()
            await others_run()
        else:
            asyncio.get_running_loop().call_later(0.05, client.takes.set)

        with pytest.raises(ConnectionError, match="gone"):
            if waits:
                await outgoing.flush()
            else:
                await outgoing.put_in_turn(b"second")

    run(act)


def test_what_is_closed_sends_no_more():
    async def act(client, outgoing):
        outgoing.put(b"first")
        await others_run()
        await outgoing.close()
        client.takes.set()
        await others_run()

        assert client.taken == []

    run(act)


def test_a_reply_has_its_time_and_not_each_frame():
    async def act(client, outgoing):
        watch = outgoing._watch
        untils = []
        allow = watch.allow
        watch.allow = lambda *given: (allow(*given), untils.append(watch.until))
        client.takes.set()
        for raw in (frames._ENVELOPE, b"\x12", b"\x12"):
            outgoing.put(raw)
            await outgoing.flush()
            await asyncio.sleep(0.02)

        assert untils[2] - untils[0] < 0.02

    run(act)


def test_a_reply_that_is_made_too_late_goes_nowhere():
    async def act(client, outgoing):
        client.takes.set()
        await outgoing.close()

        outgoing.put(b"late")
        await others_run()

        assert not client.taken

    run(act)
