"""The dashboard in Chromium, before a real server that trains."""

import math
import os
import threading
import time
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest
import zxingcpp
from PIL import Image

from keras_split.errors import RefusedError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Welcome
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.times import Times
from keras_split.server.callbacks import RoundEnded
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.observe import Metrics
from keras_split.server.observe.stopwatch import BOUNDS_S
from keras_split.server.security import Security
from keras_split.server.web.server import WebServer
from keras_split.transports.grpc.status import fetch
from tests import links
from tests.ray.fronts import front
from tests.server.web.browsers import Browser as Caller
from tests.web.browser import Browser
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node

pytestmark = [pytest.mark.slow, needs_node, needs_chromium]

MINE = "a-token-of-the-operator"
TOKENS = {"alice": "token-of-alice-0123", "bob": "token-of-bob-456789"}
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
# Two frames: what was drawn anew is there.
SETTLED = """new Promise((done) => requestAnimationFrame(
    () => requestAnimationFrame(() => done(true))))"""
LIVE = "document.querySelector('.badge.live') !== null"
FIGURES = """Object.fromEntries(
    [...document.querySelectorAll("data")].map(
        (one) => [one.dataset.figure, one.value]))"""
# What is measured when it is asked for, and not counted.
MEASURED = {"uptime_s", "memory_bytes", "checkpoint_age_s"}


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        browser.size(width=1280, height=900)
        yield browser


class Training:
    """Two clients that train until they are told to rest."""

    def __init__(self, server, model, folder):
        self._server, self._contract = server, model.contract
        self._rest, self._end = threading.Event(), threading.Event()
        self._resting = threading.Barrier(len(TOKENS) + 1)
        self._threads = [
            threading.Thread(target=self._train, args=(folder / name,))
            for name in TOKENS
        ]

    def rest(self):
        """Both are in no step when this returns, and still connected."""
        self._rest.set()
        self._resting.wait(10)

    def _train(self, file):
        contract = self._contract
        credentials = Credentials(token_file=file)
        with links.wire(self._server.target, credentials=credentials) as wire:
            session = wire.exchange(links.hello(contract)).session
            late = Forward(session, 99, links.smashed(contract))
            with pytest.raises(RefusedError):
                wire.exchange(late)
            step = 0
            while not self._rest.wait(0.05):
                links.take_step(wire.exchange, session, contract, step)
                step += 1
            self._resting.wait(10)
            self._end.wait()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        if not self._rest.is_set():
            self.rest()
        self._end.set()
        for thread in self._threads:
            thread.join()


class Served(NamedTuple):
    """A server with tokens, on which two clients train."""

    server: Any
    contract: Any
    metrics: Metrics
    window: WebServer
    training: Training
    mine: Path

    def status(self, who=None):
        """What the operator is told, or another by name."""
        file = self.mine.with_name(who) if who else self.mine
        credentials = Credentials(token_file=file)
        return fetch(f"grpc://{self.server.target}", credentials=credentials)


@pytest.fixture(scope="module")
def served(tmp_path_factory, page):
    folder = tmp_path_factory.mktemp("server")
    tokens, mine = folder / "tokens", folder / "operator.txt"
    tokens.write_text("".join(f"{n} {t}\n" for n, t in TOKENS.items()))
    mine.write_text(MINE)
    for name, token in TOKENS.items():
        (folder / name).write_text(token)
    for file in folder.iterdir():
        file.chmod(0o600)
    metrics = Metrics()
    _, model = links.halves()
    with (
        model.serve(
            port=0,
            listeners=[metrics],
            checkpoints=folder / "state",
            security=Security(tokens=tokens, operator_token=mine, invites=True),
        ) as server,
        WebServer(server.endpoint, page=page).start() as window,
        Training(server, model, folder) as training,
    ):
        yield Served(server, model.contract, metrics, window, training, mine)


@pytest.fixture
def dashboard(browser, served):
    """The browser before the server's dashboard, which is open."""
    address = f"{served.window.address}/dashboard"
    if browser.run(script="location.href") != address:
        browser.open(url=address)
        browser.wait(text="Operator's token")
        browser.fill(label="Operator's token", text=MINE)
        browser.press(key="Enter")
    browser.until(script=LIVE)
    return browser


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Where screenshots go: SHOTS, to look at them."""
    return Path(os.environ.get("SHOTS") or tmp_path_factory.mktemp("shots"))


def look(browser, shots, name):
    """Takes pictures of it; nothing serious is wrong with any."""
    for width, height in ((1280, 900), (360, 740)):
        browser.size(width=width, height=height)
        for scheme in ("light", "dark"):
            browser.colours(scheme=scheme)
            browser.until(script=SETTLED)
            browser.shoot(path=str(shots / f"{name}-{width}-{scheme}.png"))
            assert browser.axe() == []
            assert browser.run(script=OVERFLOW) <= 0
    browser.colours(scheme="light")
    browser.size(width=1280, height=900)


def test_without_the_operators_token_nothing_is_shown(browser, served, shots):
    browser.open(url=f"{served.window.address}/dashboard")
    browser.wait(text="Operator's token")
    look(browser, shots, "locked")

    browser.fill(label="Operator's token", text=TOKENS["alice"])
    browser.press(key="Enter")
    browser.wait(text="That token does not open it")
    assert browser.run(script=FIGURES) == {}

    browser.fill(label="Operator's token", text=MINE)
    browser.press(key="Enter")
    browser.until(script=LIVE)
    assert browser.run(script=FIGURES)
    assert browser.run(script="location.href").endswith("/dashboard")


def test_it_shows_what_happens_without_a_reload(dashboard, served, shots):
    dashboard.run(script="window.here = true")
    dashboard.wait(text="alice")
    dashboard.wait(text="bob")
    before = int(dashboard.run(script=FIGURES)["steps"])

    dashboard.until(
        script="Number(document.querySelector('[data-figure=steps]').value)"
        f" > {before + 20}"
    )
    time.sleep(20 if "SHOTS" in os.environ else 2)

    rows = dashboard.run(
        script="[...document.querySelectorAll('.cards tbody tr')].map("
        "(row) => row.innerText)"
    )
    assert len(rows) == 2 and all("yes" in row for row in rows)
    assert dashboard.run(script="window.here")
    look(dashboard, shots, "training")


def test_a_code_lets_a_phone_in_and_is_made_with_the_keyboard(
    dashboard, served, shots
):
    for _ in range(30):
        dashboard.press(key="Tab")
        if "Make a code" in dashboard.run(
            script="document.activeElement.innerText"
        ):
            break
    dashboard.press(key="Enter")

    dashboard.wait(text="#join=")
    assert dashboard.run(script="document.querySelector('.qr path') !== null")
    dashboard.wait(text="Good for 9:5")
    look(dashboard, shots, "invited")
    url = dashboard.run(
        script="document.body.innerText.match(/http.*#join=.*/)"
    )
    for name in ("1280-light", "1280-dark", "360-light", "360-dark"):
        with Image.open(shots / f"invited-{name}.png") as picture:
            (scanned,) = zxingcpp.read_barcodes(picture)
        assert scanned.text == url[0], name


def test_status_prometheus_and_the_dashboard_tell_the_same(dashboard, served):
    dashboard.until(
        script="Number(document.querySelector('[data-figure=steps]').value)"
        " > 20"
    )
    with pytest.raises(RefusedError, match="operator"):
        served.status("alice")
    served.training.rest()
    status = served.status()
    dashboard.until(
        script="document.querySelector('[data-figure=\"queue_times.count\"]')"
        f".value === '{status.steps}'"
    )
    time.sleep(2.5)  # a checkpoint that was being written, and two replies
    status, shown = served.status(), dashboard.run(script=FIGURES)

    told = figures_of(status)
    assert set(shown) == set(told)
    for name in set(told) - MEASURED:
        assert shown[name] == "" or float(shown[name]) == told[name], name
    for name in MEASURED:
        assert math.isclose(
            float(shown[name]), told[name], rel_tol=0.1, abs_tol=3
        ), name
    counted = prometheus_of(served.metrics)
    assert len(counted) > 15
    for name, value in counted.items():
        assert math.isclose(value, told[name]), name
    age = value_of(served.metrics, "checkpoint_age_seconds")
    assert math.isclose(age, told["checkpoint_age_s"], abs_tol=3)
    assert told["refusals.order"] == 2 and status.steps > 20


def figures_of(status):
    """What the dashboard should show of a status."""
    told = {
        "connections": sum(one.connected for one in status.sessions),
        "steps": status.steps,
        "uplink_bytes": status.uplink_bytes,
        "downlink_bytes": status.downlink_bytes,
        "sessions_opened": status.sessions_opened,
        "sessions_resumed": status.sessions_resumed,
        **{name: getattr(status, name) for name in MEASURED},
        **{f"steps of {one.label}": one.steps for one in status.sessions},
        **{f"refusals.{why}": n for why, n in status.refusals.items()},
    }
    for name in ("queue_times", "compute_times", "checkpoint_times"):
        times = getattr(status, name)
        told[f"{name}.count"] = times.count
        told[f"{name}.mean_s"] = times.mean_s
        told[f"{name}.within_s"] = times.within_s(0.95)
    return told


def value_of(metrics, name, **labels):
    value = metrics.registry.get_sample_value(f"keras_split_{name}", labels)
    assert value is not None, name
    return value


def prometheus_of(metrics):
    """What Prometheus is told, by the names of `figures_of`."""
    found = {
        "connections": value_of(metrics, "connections"),
        "steps": value_of(metrics, "steps_total"),
        "sessions_opened": value_of(metrics, "sessions_opened_total"),
        "sessions_resumed": value_of(metrics, "sessions_resumed_total"),
    }
    for way in ("uplink", "downlink"):
        found[f"{way}_bytes"] = value_of(metrics, "bytes_total", direction=way)
    for why in ("order", "permission"):
        found[f"refusals.{why}"] = value_of(
            metrics, "refusals_total", reason=why
        )
    for name in ("queue", "compute", "checkpoint"):
        count = value_of(metrics, f"{name}_seconds_count")
        total = value_of(metrics, f"{name}_seconds_sum")
        found[f"{name}_times.count"] = count
        found[f"{name}_times.mean_s"] = total / count
        found[f"{name}_times.within_s"] = Times(
            BOUNDS_S, counts_of(metrics, name), total
        ).within_s(0.95)
    return found


def counts_of(metrics, name):
    sums = [
        value_of(metrics, f"{name}_seconds_bucket", le=str(bound))
        for bound in (*BOUNDS_S, "+Inf")
    ]
    return tuple(
        int(now - before) for now, before in zip(sums, [0, *sums], strict=False)
    )


def test_the_token_of_a_phone_that_joined_is_taken_back(
    dashboard, served, shots
):
    window = served.window
    code = window.invitations.make()
    _, told = Caller(window.port).post("/join", {"code": code})
    phone = Caller(window.port, token=told["token"])
    hello = links.hello(served.contract)
    assert isinstance(phone.exchange(hello), Welcome)

    dashboard.offered(name=f"Take back the token of {told['name']}")
    look(dashboard, shots, "joined")
    dashboard.click(name=f"Take back the token of {told['name']}")
    dashboard.wait(text="Its token is taken back")

    assert phone.exchange(hello)[2] == "unauthenticated"


def test_a_server_that_goes_away_and_comes_back_is_noticed(
    browser, page, shots
):
    _, model = links.halves()
    with (
        model.serve(port=0, cohort=CohortConfig("private", phones=3)) as server,
        WebServer(server.endpoint, page=page).start() as window,
    ):
        # Nobody asks for a token here, on loopback.
        browser.open(url=f"{window.address}/dashboard")
        browser.until(script=LIVE)
        browser.wait(text="No phone is here")
        look(browser, shots, "empty")

        events = server.endpoint.service.events
        for member, session in enumerate(("ab12cd34", "cd34ef56", "0123abcd")):
            events.enrolled(session, member)
        events.away("cd34ef56", 1)
        for number in range(40):
            events.round_ended(
                RoundEnded(number, (0, 2), (1,) if number % 3 else (), 2.5)
            )
        browser.wait(text="round 39")
        shown = browser.run(script=FIGURES)
        assert shown["phones"] == "2"
        assert shown["cohort.rounds"] == "40"
        assert shown["cohort.left_out"] == "26"
        look(browser, shots, "cohort")

        window.stop(0)
        browser.wait(text="The server does not answer")
        look(browser, shots, "stale")
        assert browser.run(script=FIGURES)["cohort.rounds"] == "40"
    with (
        model.serve(port=0) as server,
        WebServer(server.endpoint, window.port, page=page).start(),
    ):
        browser.until(script=LIVE)
        assert "cohort.rounds" not in browser.run(script=FIGURES)
        server.endpoint.service.events.stopping()
        browser.wait(text="The server is about to stop")
    said = browser.said()
    assert not [one for one in said if "Failed to load" not in one], said


def test_several_processes_are_shown_as_one_and_each_by_itself(
    browser, page, shots
):
    phones = [
        SessionStatus(label, who, "ipv4:10.0.0.2:4000", 20, connected=True)
        for label, who in (
            *(("ab12cd34", "ann"), ("cd34ef56", "bob")),
            ("0123abcd", "cleo"),
        )
    ]
    with (
        front() as (replicated, (one, other)),
        WebServer(replicated.endpoint, page=page).start() as window,
    ):
        one.phones, one.steps = tuple(phones[:2]), 60
        other.phones, other.steps = tuple(phones[2:]), 60
        browser.open(url=f"{window.address}/dashboard")
        browser.wait(text="cleo")
        both = browser.run(script=FIGURES)
        other.state = "dead"
        browser.wait(text="no, silent for")
        after = browser.run(script=FIGURES)
        rows = browser.run(
            script="[...document.querySelectorAll('.cards tbody tr')].map("
            "(row) => row.innerText.split(/\\s+/))"
        )
        look(browser, shots, "replicas")
        invites = browser.run(
            script="document.body.innerText.includes('Make a code')"
        )
        browser.open(url=f"{window.address}/#join=a-code")
        browser.wait(text="browsers do not follow to one of them")
        browser.wait(text="--cohort merged --replicas N")

    assert (both["connections"], both["steps"]) == ("3", "120")
    assert (after["connections"], after["steps"]) == ("2", "120")
    for name, steps, up in (("front", 0, 1), ("0", 60, 1), ("1", 60, 0)):
        assert after[f"steps of replica {name}"] == str(steps)
        assert after[f"up of replica {name}"] == str(up)
    assert [row[0] for row in rows[:3]] == ["front", "0", "1"]
    assert [row[:3] for row in rows[3:]] == [
        ["ab12cd34", "0", "ann"],
        ["cd34ef56", "0", "bob"],
        ["0123abcd", "1", "cleo"],  # away, and so behind those that are here
    ]
    assert not invites
