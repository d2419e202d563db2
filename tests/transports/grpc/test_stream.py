import gc
import subprocess
import sys
import threading
import weakref

import grpc
import pytest

from keras_split.protocol.messages import Refusal
from keras_split.server.grpc.servicer import SERVICE
from keras_split.transports.grpc.stream import Stream
from tests import links
from tests.transports.scripted import Scripted

TRAIN = f"/{SERVICE}/Train"
# Hooks run in the order opposite to that of their registration.
LEAVES = """
import atexit, sys, threading

def look():
    alive = [t.name for t in threading.enumerate()]
    print("reading" if "keras_split-reader" in alive else "quiet")

atexit.register(look)
import grpc
from keras_split.transports.grpc.stream import Stream

stream = Stream(grpc.insecure_channel(sys.argv[1]), sys.argv[2], (), 20)
look()
"""


@pytest.fixture
def target():
    host = Scripted(lambda message: Refusal("no", "no"))
    with links.listen(host) as server:
        server.start()
        yield server.target


def readers():
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "keras_split-reader"
    ]


def test_nothing_of_a_closed_stream_is_left(target):
    before = len(readers())
    stream = Stream(grpc.insecure_channel(target), TRAIN, (), 20)
    call = weakref.ref(stream._end.peek()[2][1])
    assert len(readers()) == before + 1

    stream.close()
    stream.close()

    assert len(readers()) == before
    gc.collect()
    assert call() is None


def test_a_stream_that_nobody_has_any_more_is_closed(target):
    before = len(readers())
    stream = Stream(grpc.insecure_channel(target), TRAIN, (), 20)
    assert len(readers()) == before + 1

    del stream
    gc.collect()

    assert len(readers()) == before


def test_how_it_broke_off_is_told(target):
    stream = Stream(grpc.insecure_channel(target), "/none/None", (), 20)

    with pytest.raises(grpc.RpcError) as info:
        next(iter(stream))

    assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info.value.details() == "Method not found!"
    stream.close()


def test_its_thread_is_gone_before_a_process_that_closes_nothing(target):
    result = subprocess.run(
        [sys.executable, "-c", LEAVES, target, TRAIN],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.stderr == ""
    assert result.stdout.split() == ["reading", "quiet"]
