"""The table of limits in docs/running-a-server.md says what holds.

Each row is known here: what its value is in the code, and which test shows
that the bound holds. A row that is new, gone or changed fails.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest

from keras_split.protocol.messages import MAX_MICROBATCHES
from keras_split.protocol.optimizer_config import LEARNING_RATE
from keras_split.protocol.row_cache import ENTRY_BYTES
from keras_split.protocol.wire import frames
from keras_split.server import accounts
from keras_split.server import body
from keras_split.server import flood
from keras_split.server import incoming
from keras_split.server import kept_rows
from keras_split.server import outgoing
from keras_split.server import service
from keras_split.server import watchdog
from keras_split.server.cohorts import members
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.config import ServerConfig
from keras_split.server.grpc import gate
from keras_split.server.grpc import pace
from keras_split.server.grpc import server as grpc_server
from keras_split.server.observe import logs
from keras_split.server.observe import metrics
from keras_split.server.storage.snapshots import SnapshotLimits
from keras_split.training import body_optimizers
from keras_split.training import in_flight
from keras_split.training import tf_threads
from keras_split_cli.main import cli

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "running-a-server.md"
CONFIG = ServerConfig()
SERVER = "tests/server/"
MIB = 1 << 20


class Row(NamedTuple):
    """What the code says of a row of the table.

    Attributes:
        value: Numbers in the code, in the order of those in the second cell.
        test: Shows that the bound holds, as `file::function`.
    """

    value: tuple[float, ...]
    test: str


ROWS = {
    "sessions": Row(
        (CONFIG.max_sessions,),
        "test_sessions.py::test_who_has_most_sessions_makes_room_first",
    ),
    "open streams": Row(
        (),
        "grpc/test_server.py::"
        "test_one_stream_more_than_allowed_is_refused_at_once",
    ),
    "calls of health, reflection and status at a time": Row(
        (grpc_server._GUESTS,),
        "grpc/test_gate.py::test_those_who_say_nothing_keep_no_probe_away",
    ),
    "such calls of one connection": Row(
        (pace.AT_ONCE, pace.PER_S, pace.PAUSE_S, pace.MOST),
        "grpc/test_pace.py::test_who_asks_without_a_pause_waits",
    ),
    "watches of health at a time": Row(
        (grpc_server._WATCHES, grpc_server._WATCHES_OF_A_HOST),
        "grpc/test_gate.py::"
        "test_those_who_watch_keep_neither_probes_nor_training_away",
    ),
    "a request to them": Row(
        (gate.LONGEST_BYTES >> 10,),
        "grpc/test_gate.py::test_a_request_of_a_stranger_is_short",
    ),
    "a message in a call of its own, before it is known who calls": Row(
        (CONFIG.max_unary_bytes / MIB,),
        "grpc/test_gate.py::"
        "test_how_long_a_message_may_be_says_nothing_of_the_model",
    ),
    "batch": Row(
        (CONFIG.max_batch,),
        "test_service.py::"
        "test_a_batch_over_the_limit_is_refused_however_it_travels",
    ),
    "microbatches of a step": Row(
        (MAX_MICROBATCHES,),
        "steps/test_microbatched_step.py::"
        "test_microbatches_that_cannot_be_are_refused",
    ),
    "a message": Row(
        (service._SLACK_BYTES >> 10, CONFIG.max_message_bytes / MIB),
        "grpc/test_server.py::"
        "test_the_longest_message_goes_through_and_one_more_example_does_not",
    ),
    "the half of a phone of a cohort": Row(
        (CohortConfig.max_half_bytes / MIB,),
        "cohorts/test_enrolling.py::"
        "test_words_that_cannot_be_cost_nothing_and_are_told",
    ),
    "phones of a cohort": Row(
        (members.MOST,),
        "cohorts/test_members.py::"
        "test_there_is_an_end_to_them_and_those_whose_session_ended_go_first",
    ),
    "what describes a message, before its payload": Row(
        (frames.DESCRIPTION_BYTES >> 10,),
        "../protocol/wire/test_frames.py::"
        "test_a_long_description_is_refused_before_it_is_read",
    ),
    "a stream before it has opened a session": Row(
        (incoming.HELLO_BYTES >> 10,),
        "test_endpoint_alone.py::"
        "test_a_stream_without_a_session_may_say_no_more_than_hello",
    ),
    "all messages in flight together": Row(
        (CONFIG.max_inflight_bytes >> 30,),
        "grpc/test_servicer.py::test_the_budget_is_shared_by_all_streams",
    ),
    "those of one client": Row(
        (),
        "test_accounts.py::"
        "test_one_client_has_a_quarter_of_the_bytes_in_flight",
    ),
    "rows of one session that need [not be sent again](how-a-step-travels.md"
    "#what-was-sent-before), and 256 bytes for each": Row(
        (CONFIG.max_reuse_bytes / MIB,),
        "test_kept_rows.py::test_a_session_keeps_so_many_bytes",
    ),
    "sessions that have room for them at a time": Row(
        (kept_rows.SESSIONS,),
        "test_kept_rows.py::"
        "test_so_many_sessions_keep_rows_and_one_that_ends_makes_room",
    ),
    "replies of a stream that wait to leave": Row(
        (outgoing.FRAMES_AHEAD * frames.CHUNK_BYTES / MIB,),
        "test_outgoing.py::"
        "test_what_cannot_wait_counts_for_what_comes_after_it",
    ),
    "steps that wait in memory for their gradients": Row(
        (4,),
        "../training/test_in_flight.py::test_there_is_no_more_room_than_places",
    ),
    "the examples of these together": Row(
        (body._WAITING_BATCHES,),
        "../training/test_in_flight.py::"
        "test_steps_that_wait_are_of_no_more_examples_than_that",
    ),
    "such steps that one client gives up": Row(
        (accounts.GIVEN_UP_BURST, accounts._GIVEN_UP_PER_S * 60),
        "test_accounts.py::"
        "test_who_gives_up_too_many_steps_has_none_that_waits",
    ),
    "seconds for steps that one client does not finish, for its snapshots, "
    "for checkpoints when a session of it begins or ends, and 5 ms for each "
    "of these, each session and each refusal": Row(
        (accounts.FREE_S, accounts.LONGEST_PAUSE_S),
        "test_accounts.py::test_who_has_much_computed_in_vain_has_to_wait",
    ),
    "steps in microbatches that keep sums of gradients": Row(
        (),
        "steps/test_microbatched_step.py::"
        "test_gradients_that_found_no_room_are_computed_anew",
    ),
    "last replies of one client in a checkpoint": Row(
        (body.REPLY_BYTES / MIB,),
        "test_service.py::"
        "test_a_checkpoint_holds_the_youngest_replies_of_a_client",
    ),
    "optimizers that clients ask for": Row(
        (body_optimizers._MAX_GRAPHS,),
        "../models/test_resume.py::test_optimizers_of_clients_are_counted",
    ),
    "norm of the features' gradients": Row(
        (CONFIG.max_grad_norm,),
        "steps/test_microbatched_step.py::"
        "test_the_limits_hold_for_the_whole_batch",
    ),
    "the same, scaled down instead": Row(
        (),
        "steps/test_microbatched_step.py::"
        "test_gradients_are_scaled_down_to_the_limit",
    ),
    "norm of the smashed data of a message": Row(
        (CONFIG.max_smashed_norm,),
        "../training/test_in_graph.py::test_what_is_above_a_norm_is_refused",
    ),
    "a learning rate": Row(
        (LEARNING_RATE.low, LEARNING_RATE.high),
        "../protocol/test_validation.py::test_another_learning_rate_is_refused",
    ),
    "other fields of a client's optimizer": Row(
        (),
        "../protocol/test_optimizer_config.py::"
        "test_every_class_has_a_learning_rate_and_a_range_for_each_field",
    ),
    "new sessions of one client": Row(
        (CONFIG.hello_burst, CONFIG.hellos_per_s),
        "test_endpoint.py::test_hellos_are_rationed_over_all_connections",
    ),
    "messages of one stream, or of one client without one": Row(
        (CONFIG.messages_per_s,),
        "test_endpoint.py::test_messages_faster_than_the_rate_are_refused",
    ),
    "the first message of a stream": Row(
        (CONFIG.hello_timeout_s,),
        "grpc/test_servicer.py::test_a_stream_that_says_no_hello_is_ended",
    ),
    "a message, once it began, and a reply, once it leaves": Row(
        (
            CONFIG.message_timeout_s,
            1000 / watchdog._SLOWEST_BYTES_PER_S,
            watchdog.LONGEST_S / 60,
        ),
        "test_watchdog.py::"
        "test_however_much_travels_ten_minutes_are_the_longest",
    ),
    "silence of a session or a stream": Row(
        (CONFIG.idle_timeout_s,),
        "test_sessions.py::test_silent_sessions_end",
    ),
    "TLS handshake": Row(
        (
            dict(grpc_server._options(0))["grpc.server_handshake_timeout_ms"]
            / 1000,
        ),
        "grpc/test_server.py::"
        "test_a_connection_that_speaks_no_http2_does_no_harm",
    ),
    "headers of a call": Row(
        (dict(grpc_server._options(0))["grpc.max_metadata_size"] >> 10,),
        "test_limits_table.py::test_each_value_is_that_of_the_code",
    ),
    "snapshots of one client": Row(
        (SnapshotLimits.of_client,),
        "storage/test_snapshots.py::test_each_client_has_a_limit_of_its_own",
    ),
    "those of these that its memory names": Row(
        (SnapshotLimits.held,),
        "storage/test_snapshots.py::"
        "test_what_a_phone_holds_stays_before_what_is_in_its_files",
    ),
    "snapshots of all clients": Row(
        (SnapshotLimits.in_all,),
        "storage/test_snapshots.py::"
        "test_over_the_limit_of_all_who_has_most_loses_first",
    ),
    "lines of one peer in the log, and in the audit log, without a step": Row(
        (logs.LINES_AT_ONCE,),
        "observe/test_logs.py::test_a_flood_of_refusals_is_a_few_lines_and_a_count",
    ),
    "tracebacks that one peer causes": Row(
        (flood.TRACEBACKS_AT_ONCE,),
        "test_flood.py::test_tracebacks_of_one_peer_are_counted_after_a_few",
    ),
    "connections to the metrics' port": Row(
        (metrics._CONNECTIONS, metrics._TIMEOUT_S),
        "observe/test_metrics.py::"
        "test_those_who_ask_for_nothing_get_few_threads_and_shut_out_nobody",
    ),
}


def table() -> dict[str, tuple[str, str]]:
    """Value and option of each row, by what it is of."""
    text = PAGE.read_text("utf-8").split("## Limits\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {what: (value, option) for what, value, option in rows[2:]}


def numbers(text: str) -> list[float]:
    """Those in a cell, as `1,024`, `0.1`, or `10⁶`."""
    text = text.replace("10⁶", "1000000").replace("10⁸", "100000000")
    return [float(n.replace(",", "")) for n in re.findall(r"\d[\d,.]*", text)]


def test_every_row_is_known_and_every_limit_has_one():
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("what", ROWS)
def test_each_value_is_that_of_the_code(what):
    value, _ = table()[what]

    assert numbers(value.rstrip(".")) == pytest.approx(list(ROWS[what].value))


@pytest.mark.parametrize("what", ROWS)
def test_each_limit_has_a_test_that_shows_that_it_holds(what):
    name, _, function = ROWS[what].test.partition("::")
    path = (ROOT / SERVER / name).resolve()
    tree = ast.parse(path.read_text("utf-8"))

    assert function in [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef)
    ]


def test_each_option_is_one_with_that_default():
    serve: Any = cli.get_command(None, "serve")  # type: ignore[arg-type]
    flags = {flag: p for p in serve.params for flag in p.opts}
    fields = inspect.signature(ServerConfig).parameters
    for what, (value, option) in table().items():
        for name in re.findall(r"`([^`]+)`", option):
            if not name.startswith("--"):
                assert option.startswith("Python only"), what
                assert name in fields or hasattr(CohortConfig, name), what
                continue
            default = flags[name].default
            assert (
                default is None
                or not numbers(value)
                or (default in numbers(value) or option == "`--max-batch`")
            ), what


def test_limits_that_are_not_numbers_on_the_page():
    assert CONFIG.clip_grad_norm is None
    assert CONFIG.stream_limits.max_streams == CONFIG.max_sessions
    assert accounts._SHARE == 4
    assert ENTRY_BYTES == 256
    assert accounts._VAIN_PER_S == 0.1
    assert (accounts.CALL_S, accounts._THERE_S) == (0.005, 60.0)
    assert in_flight.MAX_IN_FLIGHT == max(4, tf_threads.cores())
