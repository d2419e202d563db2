"""The session that authors of clients test with is one of ours."""

import json

import pytest

from keras_split.protocol import timeline
from keras_split.server.callbacks import Caller
from keras_split.server.sessions import Sessions
from tests.golden import session

RECORDED = json.loads(session.SESSION.read_text())
EXCHANGES = RECORDED["exchanges"]


def kinds(side):
    return [
        next(key for key in item[side] if not key.startswith("payload"))
        for item in EXCHANGES
    ]


def test_it_shows_what_an_author_needs():
    tasks = RECORDED["plan"]
    hellos = [
        e["request"]["hello"] for e in EXCHANGES if "hello" in e["request"]
    ]
    lost = [item for item in EXCHANGES if item.get("lost")]

    assert [task["do"] for task in tasks] == [
        *("train", "train", "evaluate", "train", "train", "close")
    ]
    assert len(tasks[1]["x"]) < session.ROWS, "no partial batch"
    assert "refusal" in kinds("reply")
    assert "infer" in kinds("request")
    assert hellos[0] == json.loads(session.JSON.read_text())["hello"]
    again = {"session": session.NAME, "next_step": "1"}
    again["moment"] = {"run": session.RUN, "steps": "1"}
    assert hellos[1] == hellos[0] | again
    assert ["backward" in item["request"] for item in lost] == [True]


def test_the_server_answers_as_recorded(monkeypatch):
    _, server = session.halves()
    monkeypatch.setattr(Sessions, "name", staticmethod(lambda: session.NAME))
    monkeypatch.setattr(timeline, "new_run", lambda: session.RUN)
    with server.endpoint() as endpoint:
        for item in EXCHANGES:
            request = session.from_json(item["request"])

            raw = endpoint.answer(request.SerializeToString(), Caller())

            reply = session.pb.Envelope.FromString(raw)
            stored = session.from_json(item["reply"])
            assert [*session.differences(reply, stored)] == []


def test_the_device_client_asks_as_recorded():
    left = list(EXCHANGES)

    def answer(raw):
        item = left.pop(0)
        request = session.pb.Envelope.FromString(raw)
        stored = session.from_json(item["request"])
        assert [*session.differences(request, stored)] == []
        reply = session.from_json(item["reply"])
        return reply.SerializeToString(), not item.get("lost")

    phone = session.phone(answer)
    for task in RECORDED["plan"]:
        logs = session.do(phone, task)

        expected = {
            name: float("nan") if value is None else value
            for name, value in task.get("logs", {}).items()
        }
        assert logs == pytest.approx(expected, rel=1e-3, nan_ok=True)
    assert left == []


def test_a_number_that_is_off_and_a_field_that_is_are_noticed():
    forward = session.from_json(EXCHANGES[1]["request"])
    payload = bytearray(forward.payload)
    payload[0] ^= 128
    other = session.pb.Envelope.FromString(forward.SerializeToString())
    other.payload = bytes(payload)
    later = session.pb.Envelope.FromString(forward.SerializeToString())
    later.forward.step = 7

    assert [*session.differences(forward, forward)] == []
    assert [*session.differences(other, forward)] != []
    assert [*session.differences(later, forward)] != []
