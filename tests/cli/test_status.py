import dataclasses
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from rich.console import Console

from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.moment import Moment
from keras_split.protocol.status import FRONT
from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.status_sum import as_one
from keras_split.protocol.times import Times
from keras_split.server.security import Security
from keras_split_cli.status import status
from keras_split_cli.status import table
from tests import links

PHONE = SessionStatus(
    "ab12cd34", "", "ipv4:10.0.0.2:4", 120, 1 << 20, 2 << 20, 2.1, True
)
LAPTOP = dataclasses.replace(
    PHONE, label="ef56ab78", client="ann", connected=False, idle_s=3661.0
)
NOW = ServerStatus(
    fingerprint="0123456789abcdef" * 4,
    cut=("first", "drop"),
    uptime_s=100.0,
    steps=12_345,
    uplink_bytes=1 << 30,
    downlink_bytes=3 << 30,
    sessions=(PHONE, LAPTOP),
    refusals={"shape": 3, "busy": 1000},
    checkpoint_age_s=32.0,
    memory_bytes=1 << 29,
    moment=Moment("0123abcd" * 4, 12_400),
)
# A shell that runs the tests in its background has them ignore Ctrl-C.
WATCH = """
import signal
from keras_split_cli.status import status
signal.signal(signal.SIGINT, signal.default_int_handler)
status(["{}", "--every", "0.1"])
"""


def show(*statuses, width=80, **more):
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table(*statuses, **more))
    return captured.get()


def row(text, start):
    (line,) = [x for x in text.splitlines() if x.lstrip().startswith(start)]
    return line.split()


def invoke(*arguments):
    return CliRunner().invoke(status, arguments)


@pytest.fixture(scope="module")
def running():
    _, server = links.halves()
    with server.serve(port=0) as running:
        with links.wire(running.target) as wire:
            session = wire.exchange(links.hello(server.contract)).session
            links.take_step(wire.exchange, session, server.contract)
            yield running


def test_totals_stand_above_the_sessions():
    text = show(NOW)

    assert text.startswith("0123456789ab\ncut at first, drop\n")
    for part in ("12,345", "1.0 GiB", "3.0 GiB", "512 MiB", "0:01:40"):
        assert part in text
    assert "refusals  busy 1,000, shape 3" in text
    assert "last checkpoint  32 s ago" in text
    assert "body  run 0123abcd, step 12,400\n" in text
    assert text.index("12,345") < text.index("ab12cd34")


def test_each_session_has_a_row():
    text = show(NOW)

    assert row(text, "ab12cd34")[1:] == (
        "10.0.0.2:4 120 - 1.0 MiB 2.0 MiB 2 s yes".split()
    )
    assert row(text, "ef56ab78")[1] == "ann"
    assert row(text, "ef56ab78")[-2:] == ["1:01:01", "no"]


def test_the_times_of_a_step_are_those_since_the_last_look():
    def times(*counts, total_s):
        return Times((0.001, 0.01, 0.1), counts, total_s)

    before = dataclasses.replace(
        NOW,
        queue_times=times(8, 0, 0, 0, total_s=0.004),
        compute_times=times(0, 0, 8, 0, total_s=0.4),
    )
    now = dataclasses.replace(
        NOW,
        queue_times=times(8, 2, 0, 0, total_s=0.014),
        compute_times=times(0, 0, 10, 0, total_s=0.47),
    )

    assert "a step  waits -, computes -\n" in show(NOW)
    assert (
        "a step  waits 1.4 ms (95% within 7.8 ms), computes 47 ms (95% "
        "within 96 ms)\n" in show(now)
    )
    assert (
        "a step  waits 5 ms (95% within 9.5 ms), computes 35 ms (95% within "
        "96 ms)\n" in show(now, before)
    )
    # Nothing was trained meanwhile: as before.
    assert "waits 1.4 ms" in show(now, now)


def test_sessions_that_were_there_are_counted():
    now = dataclasses.replace(
        NOW,
        sessions_opened=1234,
        sessions_resumed=3,
        sessions_closed={"idle": 2, "goodbye": 1230},
    )

    assert (
        "sessions  2 open; 1,234 opened, 3 resumed; ended: goodbye 1,230, "
        "idle 2\n" in show(now)
    )


def test_steps_a_second_are_those_since_the_last_look():
    before = dataclasses.replace(
        NOW,
        uptime_s=98.0,
        steps=12_300,
        sessions=(dataclasses.replace(PHONE, steps=110),),
    )

    text = show(NOW, before)

    assert row(text, "12,345")[1] == "22.5"
    assert row(text, "ab12cd34")[3] == "5.0"
    assert row(text, "ef56ab78")[3] == "-"  # it was not there before


def test_a_server_that_was_started_again_has_no_negative_rate():
    again = dataclasses.replace(NOW, uptime_s=1.0, steps=2)

    assert row(show(again, NOW), "2 ")[1] == "-"


def test_each_replica_has_a_row():
    def several(steps):
        first = dataclasses.replace(NOW, steps=steps, sessions=(PHONE,))
        front = ServerStatus(NOW.fingerprint, NOW.cut, 100.0)
        return as_one(
            [
                ReplicaStatus(FRONT, up=True, status=front),
                ReplicaStatus("0", "h:1", True, 0.2, 0, first),
                ReplicaStatus("1", "h:2", False, 70.0, 3, NOW),
            ],
            averages=2,
        )

    before = dataclasses.replace(several(345), uptime_s=90.0)

    text = show(several(445), before)

    assert row(text, "0 ") == (
        "0 yes 1 445 10.0 1.0 GiB 3.0 GiB 512 MiB 0".split()
    )
    assert row(text, "1 ")[:4] == ["1", "no,", "0:01:10", "2"]
    assert row(text, "front")[1:4] == ["yes", "0", "0"]
    assert "body  one for each replica, averaged 2 times\n" in text
    assert row(text, "ef56ab78")[1:3] == ["1", "ann"]
    assert row(text, "ef56ab78")[-1] == "no"
    assert "replica" not in show(NOW)


@pytest.mark.parametrize("width", [80, 120])
def test_a_line_holds_a_session_however_long_its_name(width):
    long = dataclasses.replace(PHONE, client="n" * 500)

    text = show(dataclasses.replace(NOW, sessions=(long,)), width=width)

    assert max(map(len, text.splitlines())) <= width
    assert text.count("ab12cd34") == 1
    assert len(text.splitlines()) == len(show(NOW).splitlines()) - 1


def test_an_idle_server_says_so():
    text = show(ServerStatus("f" * 64, ("first",)))

    assert "no session is open" in text
    assert "refusals  none" in text
    assert "body  not trained yet" in text
    assert "last checkpoint  none" in text


def test_a_server_that_stops_says_so():
    assert "about to stop" in show(dataclasses.replace(NOW, draining=True))


def test_what_a_server_sends_cannot_steer_the_terminal():
    evil = "\x1b]0;title\x07\x1b[2J\n"
    text = show(
        ServerStatus(
            evil,
            (evil,),
            sessions=(SessionStatus(evil, evil),),
            refusals={evil: 1},
        )
    )

    assert not {"\x1b", "\x07"} & set(text)


def test_markup_in_a_name_is_a_name():
    named = dataclasses.replace(PHONE, client="[red]ann[/]")

    assert "[red]ann[/]" in show(dataclasses.replace(NOW, sessions=(named,)))


def test_without_a_terminal_it_is_printed_once(running):
    result = invoke(running.target)

    assert result.exit_code == 0
    assert "cut at first, drop" in result.output
    assert "127.0.0.1" in result.output


def test_json_has_every_field(running):
    result = invoke(f"grpc://{running.target}", "--json")

    found = json.loads(result.output)
    assert set(found) == {f.name for f in dataclasses.fields(ServerStatus)}
    (session,) = found["sessions"]
    assert session["steps"] == found["steps"] == 1
    assert session["moment"] == found["moment"]
    assert found["moment"]["steps"] == 1 and len(found["moment"]["run"]) == 32


@pytest.mark.slow
def test_a_server_that_is_not_there_is_our_error(running):
    result = invoke("127.0.0.1:1", "--once")

    assert isinstance(result.exception, TransportError)


@pytest.mark.parametrize("address", ["localhost", "http://h:1"])
def test_an_address_of_another_form_is_a_wrong_call(address):
    result = invoke(address)

    assert result.exit_code == 2
    assert "Expected HOST:PORT, or grpcs://HOST:PORT" in result.output


def test_tls_files_mean_tls(running, tmp_path):
    result = invoke(running.target, "--tls-ca", str(tmp_path / "none.pem"))

    assert "none.pem" in str(result.exception)


def test_where_the_operator_has_a_token_it_shows_the_status(tmp_path):
    tokens, mine = tmp_path / "tokens", tmp_path / "operator.txt"
    alice = tmp_path / "token-alice.txt"
    for file, text in (
        (tokens, "alice token-of-alice-0123"),
        (alice, "token-of-alice-0123"),
        (mine, "a-token-of-the-operator"),
    ):
        file.write_text(text)
        file.chmod(0o600)
    security = Security(tokens=tokens, operator_token=mine)
    with links.halves()[1].serve(port=0, security=security) as running:
        client = invoke(running.target, "--token-file", str(alice))
        operator = invoke(running.target, "--token-file", str(mine))

    assert isinstance(client.exception, RefusedError)
    assert "the operator's token (serve --operator-token)" in str(
        client.exception
    )
    assert "no session is open" in operator.output


def test_on_a_terminal_it_goes_on_until_ctrl_c(running):
    with Watching(running.target) as watching:
        watching.read_until("steps/s", times=3)
        watching.process.send_signal(signal.SIGINT)
        code = watching.wait()

    assert code == 0
    assert "Traceback" not in watching.text


@pytest.mark.slow
def test_a_server_that_goes_away_is_waited_for():
    _, server = links.halves()
    with server.serve(port=0) as running:
        with Watching(running.target) as watching:
            watching.read_until("no session is open")
            running.stop(0)
            watching.read_until("Expected a keras_split server")
            with server.serve(port=running.port):
                watching.read_until("no session is open")
                watching.process.send_signal(signal.SIGINT)

                assert watching.wait() == 0


class Watching:
    """The command in a process of its own, on a terminal."""

    def __init__(self, target):
        self.text = ""
        self._terminal, end = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCH.format(target)],
            stdin=end,
            stdout=end,
            stderr=end,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(end)

    def read_until(self, part, times=1):
        """Reads on until that was written so often from here."""
        start = len(self.text)
        while self.text.count(part, start) < times:
            self._read(30)

    def wait(self):
        reader = threading.Thread(target=self._drain, daemon=True)
        reader.start()
        code = self.process.wait(30)
        reader.join()
        return code

    def _drain(self):
        try:
            while True:
                self._read(30)
        except OSError:  # it has ended
            pass

    def _read(self, seconds):
        ready, _, _ = select.select([self._terminal], [], [], seconds)
        assert ready, self.text
        self.text += os.read(self._terminal, 1 << 16).decode()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)


def test_a_server_that_trains_nothing_says_so():
    only = dataclasses.replace(NOW, inference_only=True)

    assert "0123456789ab only predicts" in show(only)
    assert "only predicts" not in show(NOW)


def test_a_cohort_has_a_line():
    cohort = CohortStatus(
        *("ab" * 16, "shared", 3, True, 3, {0: "s", 2: "u"}, 4, 0, 5, 2.5),
        (1,),
    )

    text = show(dataclasses.replace(NOW, cohort=cohort), width=140)

    assert (
        "cohort  shared abababab; 2 of 3 phones here (0, 2); halves under "
        "masks; round 4 took 2.50 s; without 1" in text
    )
    assert "cohort" not in show(NOW)
