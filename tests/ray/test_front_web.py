"""The port for browsers of a front: the dashboard, and nothing to train."""

import json
import time

import pytest

from keras_split.errors import OptionError
from keras_split.protocol.messages import Refusal
from keras_split.protocol.wire import status as wire_status
from keras_split.protocol.wire.split_pb2 import StatusReply
from keras_split.ray import serve
from keras_split.server.security import Security
from keras_split.server.web import calls
from keras_split.server.web.server import WebServer
from tests import links
from tests.ray.fronts import front
from tests.server.web.browsers import Browser

MINE = "a-token-of-the-operator"


@pytest.fixture
def page(tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<p>the page")
    (folder / "dashboard.html").write_text("<p>the dashboard")
    return folder


@pytest.fixture
def operators(tmp_path):
    """Security of a server that shows what it does to the operator alone."""
    file = tmp_path / "operator.txt"
    file.write_text(MINE)
    file.chmod(0o600)
    return Security(operator_token=file)


@pytest.fixture(scope="module")
def browser():
    """One of this machine, before a front that asks nobody for a token."""
    with (
        front() as (replicated, _),
        WebServer(replicated.endpoint).start() as window,
    ):
        yield Browser(window.port)


def status_of(browser, **headers):
    """What the dashboard is told, or the status of a refusal."""
    status, _, body = browser.ask(
        "POST", calls.STATUS, b"", content_type=calls.KIND, **headers
    )
    if status != 200:
        return status
    return wire_status.from_wire(StatusReply.FromString(body))


def test_the_dashboard_is_told_of_all_as_one_and_of_each(page):
    with (
        front() as (replicated, actors),
        WebServer(replicated.endpoint, page=page).start() as window,
    ):
        actors[0].steps, actors[1].state = 5, "dead"
        end = time.monotonic() + 10
        while replicated.status.steps != 6 or replicated.replicas[1:]:
            assert time.monotonic() < end
            time.sleep(0.01)
        browser = Browser(window.port)
        pages = [browser.get(path)[2] for path in ("/", "/dashboard")]
        told = status_of(browser)

    assert pages == [b"<p>the page", b"<p>the dashboard"]
    assert told.steps == 6
    assert [(one.name, one.up, one.status.steps) for one in told.replicas] == [
        ("front", True, 0),
        ("0", True, 5),
        ("1", False, 1),
    ]
    with pytest.raises(ConnectionError):  # the front has taken it along
        browser.get("/dashboard")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/client.json"),
        ("GET", "/client.tflite"),
        ("POST", "/join"),
        ("POST", "/invite"),
        ("POST", "/revoke"),
    ],
)
def test_what_phones_ask_for_is_not_there_and_why(method, path, browser):
    status, found, body = browser.ask(method, path, b"{}")

    assert (status, found["keras-split-reason"]) == (501, "unimplemented")
    assert "--cohort merged --replicas N" in json.loads(body)["message"]


def test_a_browser_that_would_train_is_told_that_it_does_not_follow(
    browser,
):
    _, model = links.halves()

    refused = browser.exchange(links.hello(model.contract))

    assert isinstance(refused, Refusal)
    assert refused.reason == "unimplemented"
    assert "such as a browser" in refused.text


def test_with_an_operators_token_nobody_else_sees_it(page, operators):
    with (
        front(security=operators) as (replicated, _),
        WebServer(replicated.endpoint, page=page).start() as window,
    ):
        mine = Browser(window.port, MINE)
        told = status_of(mine, host="front.example:8443")
        refused = [
            status_of(Browser(window.port, token)) for token in (None, "other")
        ]

    assert len(told.replicas) == 3  # by whatever name it is called
    assert refused == [403, 403]


def test_without_one_it_is_shown_by_a_name_of_this_machine(browser):
    assert status_of(browser, host="front.example:8443") == 421


def test_tokens_of_the_front_are_of_no_use_at_replicas():
    _, server = links.halves()

    with pytest.raises(OptionError, match="no invites with replicas"):
        serve(server, bodies="private", security=Security(invites=True))
