"""The program of docs/on-the-phone.md, as Node runs it."""

import re
import signal
import subprocess
from pathlib import Path

import keras
import pytest

from tests import links
from tests.disturbances import committed
from tests.web.browser import WEB
from tests.web.browser import build_package
from tests.web.browser import needs_node
from tests.web.served import WebProcess

pytestmark = [pytest.mark.slow, needs_node]

PAGE = Path(__file__).parents[2] / "docs" / "on-the-phone.md"
STEPS = 5


@pytest.fixture(scope="module")
def program():
    """The program, beside the package that it imports."""
    build_package()
    section = PAGE.read_text("utf-8").partition("\n## Write your own client\n")
    code = re.search("```typescript\n(.*?)```", section[2], re.DOTALL)[1]
    path = WEB / "client" / "dist" / "phone_of_the_page.mjs"
    path.write_text(code)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def served(tmp_path_factory, program):
    """How it is run before `keras-split serve --web`, and the server's log."""
    folder = tmp_path_factory.mktemp("served")
    client, server = links.halves("int8", classes=10)
    links.compile(client, keras.optimizers.SGD(0.1))
    client.export(folder / "client.tflite", batch_size=4)
    server.save(folder / "server.keras")
    log = folder / "audit.jsonl"
    with WebProcess(folder, "--audit-log", log).wait() as running:
        url = f"http://localhost:{running.web_port}"
        yield ["node", program, folder / "client.tflite", url], log


def steps_of(lines):
    """Numbers of the steps that were printed, each with its loss."""
    found = [re.fullmatch(r"step (\d+): loss \d+\.\d{3}", x) for x in lines]
    assert all(found), lines
    return [int(one[1]) for one in found]


def taken(log):
    """Steps of the session that was opened last."""
    return [*committed(log).values()][-1]


def test_it_takes_five_steps_and_ends(served, tmp_path):
    command, log = served

    ended = subprocess.run(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )

    assert steps_of(ended.stdout.splitlines()) == list(range(STEPS))
    assert taken(log) == list(range(STEPS))


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_ended_in_the_middle_it_goes_on_and_takes_each_step_once(
    served, tmp_path, kill
):
    command, log = served
    go = {"cwd": tmp_path, "stdout": subprocess.PIPE, "text": True}

    first = subprocess.Popen(command, **go)
    lines = [first.stdout.readline().rstrip() for _ in range(2)]
    first.send_signal(kill)
    lines += first.communicate(timeout=60)[0].splitlines()
    second = subprocess.run(command, **go, timeout=120, check=True)

    steps = steps_of(lines) + steps_of(second.stdout.splitlines())
    # One that was in flight is finished before the first line, unsaid.
    assert len(steps) in (STEPS - 1, STEPS)
    assert steps == sorted(set(steps)) and set(steps) <= set(range(STEPS))
    assert taken(log) == list(range(STEPS))
