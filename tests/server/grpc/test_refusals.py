"""How calls end that have no reply, and that the page for authors says so."""

import asyncio
import re
from pathlib import Path

import grpc
import pytest

from keras_split.errors import RefusedError
from keras_split.protocol.reasons import LATER
from keras_split.protocol.reasons import METADATA_KEY
from keras_split.protocol.reasons import REASONS
from keras_split.server.flood import Tracebacks
from keras_split.server.grpc import server
from keras_split.server.grpc.refusals import CODES
from keras_split.server.grpc.refusals import refusing
from keras_split.server.limits import StreamLimits
from tests import links
from tests.transports.scripted import Scripted

STATUS = "/keras_split.v1.SplitTraining/Status"
PAGE = Path(__file__).parents[3] / "docs" / "on-the-phone.md"


def table(head):
    """The rows of the table of the page that begins with these cells."""
    lines = PAGE.read_text("utf-8").partition(f"| {head} |")[2].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("| "):
            return rows
        rows.append([cell.strip() for cell in line.strip("| ").split(" | ")])
    return rows


def test_the_page_has_every_reason_and_no_other():
    rows = table("`reason`")

    assert sorted(row[0].strip("`") for row in rows) == sorted(REASONS)


def test_the_page_says_what_may_be_sent_again_and_what_ends_the_stream():
    rows = {row[0].strip("`"): row[1:3] for row in table("`reason`")}

    assert {again for again, _ in rows.values()} == {"later", "no"}
    assert {r for r, row in rows.items() if row[0] == "later"} == LATER
    assert {r for r, row in rows.items() if "#statuses" in row[1]} == {*CODES}
    # What else ends is in tests/server/test_endpoint_stream.py.
    ends = {r for r, row in rows.items() if row[1].startswith("ends")}
    assert ends == {*CODES, "truncated", "unreadable"} - {"busy", "size"}


def test_the_page_has_every_status_that_the_server_ends_a_call_with():
    said = {
        (reason, code.strip("`"))
        for code, reasons, *_ in table("status")
        for reason in re.findall("`([a-z]+)`", reasons)
    }

    assert said == {(reason, code.name) for reason, code in CODES.items()}
    assert {*CODES} <= REASONS


def test_the_page_has_the_limits_of_time_that_hold():
    limits, options = StreamLimits(), dict(server._options(1))
    said = {what: limit for what, limit, _ in table("what")[:7]}

    def seconds(begin):
        (limit,) = [v for k, v in said.items() if k.startswith(begin)]
        return float(re.search(r"[\d,]+(?= s)", limit)[0].replace(",", ""))

    assert seconds("a stream until") == limits.hello_timeout_s
    assert seconds("a message") == limits.message_timeout_s
    assert seconds("silence") == limits.idle_timeout_s
    for begin, option in (
        ("pings of yours", "grpc.http2.min_ping_interval_without_data_ms"),
        ("pings of the server", "grpc.keepalive_timeout_ms"),
        ("a connection", "grpc.max_connection_idle_ms"),
    ):
        assert seconds(begin) * 1000 == options[option]


class Context:
    """What gRPC gives a handler."""

    async def abort(self, code, details, metadata):
        self.ended = code, details, metadata
        raise grpc.aio.AbortError


@pytest.mark.parametrize("reason", [*CODES, "another"])
def test_a_call_without_a_reply_says_why(reason):
    context = Context()

    async def refuse():
        async with refusing(context, Tracebacks()):
            raise RefusedError("Expected a. Received: b.", reason)

    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(refuse())

    code = CODES.get(reason, grpc.StatusCode.FAILED_PRECONDITION)
    trailing = ((METADATA_KEY, reason),)
    assert context.ended == (code, "Expected a. Received: b.", trailing)


def test_the_reason_travels_in_the_trailing_metadata():
    with (
        links.listen(Scripted(None)).start() as running,
        grpc.insecure_channel(running.target) as channel,
        pytest.raises(grpc.RpcError) as info,
    ):
        channel.unary_unary(STATUS)(b"", timeout=20)

    assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert dict(info.value.trailing_metadata())[METADATA_KEY] == "unimplemented"
