"""Steps that died with their process do not count; others count once."""

import json

import pytest

from benchmarks._audit_steps import taken


def step(session, number):
    return {"event": "step", "session": session, "step": number}


def loaded(**sessions):
    return {"event": "loaded", "sessions": sessions}


@pytest.fixture
def steps(tmp_path):
    """What comes of the lines of some logs."""

    def read(*logs):
        paths = [
            tmp_path / f"audit.replica-{n}.jsonl" for n in range(len(logs))
        ]
        for path, lines in zip(paths, logs, strict=True):
            path.write_text("".join(json.dumps(one) + "\n" for one in lines))
        return taken(paths)

    return read


def test_what_was_behind_the_checkpoint_is_counted_when_it_is_taken_again(
    steps,
):
    before = [step("a", 0), step("a", 1), step("a", 2)]

    found = steps([*before, loaded(a=1), step("a", 1)], [step("b", 0)])

    assert found == {"a": [0, 1], "b": [0]}


def test_what_was_taken_twice_or_not_at_all_is_seen(steps):
    twice = [step("a", 0), step("a", 1), loaded(a=2), step("a", 1)]
    never = [step("b", 0), step("b", 1), loaded(b=1), step("b", 2)]

    assert steps(twice, never) == {"a": [0, 1, 1], "b": [0, 2]}


def test_of_sessions_that_no_checkpoint_has_those_count_that_said_goodbye(
    steps,
):
    closed = {"event": "closed", "session": "a", "reason": "goodbye"}

    found = steps([step("a", 0), closed, step("b", 0), loaded()])

    assert found == {"a": [0]}
