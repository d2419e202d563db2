import json
import logging
import sys
from datetime import datetime
from datetime import timedelta

import pytest

from keras_split.errors import BackendError
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.observe.logs import LINES_AT_ONCE
from keras_split.server.observe.logs import Log
from keras_split.server.observe.logs import configure

ANN = Caller("ann", "ipv4:10.0.0.2:4000")


@pytest.fixture
def lines(monkeypatch, capsys):
    """Sets logging up and returns what was logged; undone afterwards."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    def run(format, act):
        configure(format)
        act()
        return capsys.readouterr().err.splitlines()

    yield run
    for handler in list(root.handlers):
        root.removeHandler(handler)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def test_text_is_time_level_and_message(lines):
    (line,) = lines("text", lambda: Log().opened("ab12", ANN))

    time, rest = line.split(" INFO ")
    assert datetime.fromisoformat(time.replace(",", "."))
    assert rest == "ann at ipv4:10.0.0.2:4000 opened session ab12"


def test_json_has_a_field_for_everything(lines):
    (line,) = lines("json", lambda: Log().resumed("ab12", ANN, 7))

    record = json.loads(line)
    time = datetime.fromisoformat(record.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert record == {
        "level": "INFO",
        "logger": "keras_split.server",
        "message": "ann at ipv4:10.0.0.2:4000 resumed session ab12 at step 7",
        "session": "ab12",
        "client": "ann",
        "peer": "ipv4:10.0.0.2:4000",
        "step": 7,
    }


def test_a_traceback_is_one_line_of_json(lines):
    def fail():
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("other").exception("a step failed")

    (line,) = lines("json", fail)

    record = json.loads(line)
    assert record["logger"] == "other"
    assert "ValueError: no" in record["exc_info"]


def test_what_others_set_up_before_does_not_double_the_lines(lines):
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))

    assert len(lines("text", lambda: Log().opened("s", ANN))) == 1


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="text or json"):
        configure("xml")


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythonjsonlogger.json", None)

    with pytest.raises(
        BackendError, match=r"pip install .*'python-json-logger"
    ):
        configure("json")


def test_sessions_and_checkpoints_are_logged_and_steps_are_not(logged):
    log = Log()

    log.loaded("state", {"old": 4})
    log.opened("s", ANN)
    log.committed(StepCommitted("s", 0, 0.1, 0.2))
    log.carried("s", 1, 2)
    log.checkpointed("state", 0.25)
    log.restored("s", "tag")
    log.left("s")
    log.closed("s", "goodbye")

    assert [record.message for record in logged.records] == [
        "continue from state with 1 session",
        "ann at ipv4:10.0.0.2:4000 opened session s",
        "wrote the checkpoint state in 0.25 s",
        "session s set the body back to a snapshot",
        "session s waits for its client",
        "session s ended (goodbye)",
    ]
    assert {record.levelname for record in logged.records} == {"INFO"}


def test_a_refusal_is_a_warning_with_its_reason(logged):
    Log().refused("s", Caller(peer="p"), "shape")

    (record,) = logged.records
    assert record.levelname == "WARNING"
    assert record.message == "refused p (shape)"
    assert (record.session, record.reason) == ("s", "shape")


def test_a_name_cannot_break_a_line_in_two(lines):
    act = lambda: Log().opened("s", Caller("ann\nERROR", "p"))  # noqa: E731

    (text,) = lines("text", act)
    (line,) = lines("json", act)

    assert text.endswith("ann?ERROR at p opened session s")
    assert json.loads(line)["client"] == "ann\nERROR"


def test_a_flood_of_refusals_is_a_few_lines_and_a_count(logged):
    log = Log()

    for _ in range(500):
        log.refused("", ANN, "shape")
    log._flood.join()

    messages = [record.message for record in logged.records]
    told = [m for m in messages if m.startswith("refused")]
    more = [int(m.split()[0]) for m in messages if "more refusal" in m]
    # One a second comes on top, should the loop have taken so long.
    assert LINES_AT_ONCE <= len(told) <= 2 * LINES_AT_ONCE
    assert len(more) == 1 and len(told) + more[0] == 500


def test_after_a_flood_refusals_are_told_again(logged):
    log = Log()
    for _ in range(500):
        log.refused("", ANN, "shape")
    log._flood.join()
    logged.clear()

    log.refused("", ANN, "busy")

    assert [record.message for record in logged.records] == [
        "refused ann at ipv4:10.0.0.2:4000 (busy)"
    ]


def test_one_peers_flood_does_not_hide_what_others_do(logged):
    log = Log()
    for port in range(500):
        log.refused("", Caller(peer=f"ipv4:10.0.0.9:{port}"), "shape")

    log.refused("", ANN, "busy")
    log._flood.join()

    messages = [record.message for record in logged.records]
    assert "refused ann at ipv4:10.0.0.2:4000 (busy)" in messages


def test_rounds_are_logged_and_of_steps_only_who_was_left_out(logged):
    log = Log()
    log.enrolled("s", 2)
    log.merged(StepMerged(0, (0, 1)))
    for step in range(1, 100):
        log.merged(StepMerged(step, (0,), (1, 2)))
    log.round_ended(RoundEnded(4, (0, 2), (1,), 2.5))
    log.away("s", 2)

    messages = [record.message for record in logged.records]
    late = [text for text in messages if text.startswith("step")]
    assert late[0] == (
        "step 1 went without phones 1, 2, which came too late or not at all"
    )
    assert len(late) < 15
    assert [text for text in messages if text not in late] == [
        "session s is phone 2 of the cohort",
        "round 4 of 2 phones took 2.50 s, without phone 1",
        "phone 2 of the cohort is gone",
    ]
