import asyncio
import threading
import time
from concurrent.futures import Future
from functools import partial

import pytest

from keras_split.utils import workers
from tests import links


def test_threads_are_used_again():
    _, server = links.halves()
    half = server.half
    optimizer = half.optimizer(links.SGD)
    smashed = links.smashed(server.contract)
    grad = links.features_grad(server.contract)
    *_, step = half.forward(smashed, optimizer)
    half.backward(step, smashed, grad, optimizer, 0.1)
    wait_for_idle()
    before = {t.ident for t in threading.enumerate()}

    for _ in range(20):
        *_, step = half.forward(smashed, optimizer)
        half.backward(step, smashed, grad, optimizer, 0.1)
        wait_for_idle()

    assert {t.ident for t in threading.enumerate()} <= before


def test_as_many_run_at_once_as_are_started():
    barrier = threading.Barrier(5, timeout=30)
    met = []

    for _ in range(4):
        workers.start(lambda: met.append(barrier.wait()))
    barrier.wait()

    while len(met) < 4:
        time.sleep(0.001)
    wait_for_idle()


def test_an_event_loop_hears_all_calls_in_order_though_one_raises():
    heard, complaints = [], []

    async def act():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, found: complaints.append(found))

        def call(number):
            heard.append(number)
            if number == 3:
                raise RuntimeError("three")

        def ask():
            for number in range(10):
                workers.soon(loop, partial(call, number))

        await workers.run(ask)
        while len(heard) < 10:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(act(), 30))

    assert heard == list(range(10))
    assert len(complaints) == 1


def test_a_loop_is_woken_once_for_many_calls():
    async def act():
        loop = asyncio.get_running_loop()
        woken = []
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda call: (
            woken.append(call) or wake(call)
        )
        heard = []
        for number in range(10):  # the loop has no time meanwhile
            workers.soon(loop, partial(heard.append, number))
        await asyncio.sleep(0)

        assert heard == list(range(10))
        assert len(woken) == 1

    asyncio.run(act())


def test_what_others_are_awaited_for_begins_when_they_are_there():
    async def act():
        others = Future()
        task = asyncio.create_task(workers.run(others.result, after=others))
        await asyncio.sleep(0.05)
        waits = not task.done()
        others.set_result("there")

        assert waits
        assert await task == "there"

    asyncio.run(asyncio.wait_for(act(), 30))


def test_who_is_cancelled_before_it_begins_does_not_wait_for_others():
    ran = []

    async def act():
        others = Future()
        task = asyncio.create_task(
            workers.run(lambda: ran.append(1), after=others)
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        others.set_result(None)
        await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(act(), 30))

    assert ran == []


def wait_for_idle():
    """Until the thread that ended last is at hand again."""
    deadline = time.monotonic() + 30
    while not workers._IDLE and time.monotonic() < deadline:
        time.sleep(0.001)
