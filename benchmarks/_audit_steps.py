"""Steps that count, of servers that were killed, as their audit logs tell."""

import json
from collections.abc import Iterable
from pathlib import Path


def taken(logs: Iterable[Path]) -> dict[str, list[int]]:
    """Steps of each session that count, as audit logs tell.

    A process that comes back says from where each session goes on; what was
    taken behind that died with the one before, and so did sessions that had
    not begun to be kept. Who said goodbye is kept.
    """
    steps: dict[str, list[int]] = {}
    for log in logs:
        here: dict[str, list[int]] = {}
        closed = set()
        for line in map(json.loads, log.read_text("utf-8").splitlines()):
            session = line.get("session")
            if line["event"] == "step":
                here.setdefault(session, []).append(line["step"])
            elif line["event"] == "closed" and line["reason"] == "goodbye":
                closed.add(session)
            elif line["event"] == "loaded":
                kept = line["sessions"]
                here = {
                    name: taken[: kept.get(name)]
                    for name, taken in here.items()
                    if name in kept or name in closed
                }
        for session, numbers in here.items():
            steps.setdefault(session, []).extend(numbers)
    return steps
