"""A phone in Chromium that is killed, cut off and left without a server."""

import shutil
import threading

import keras
import numpy as np
import pytest

import keras_split
from tests import links
from tests.disturbances import Proxy
from tests.disturbances import committed
from tests.web.browser import PhoneBrowser
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node
from tests.web.served import WebProcess

pytestmark = [pytest.mark.slow, needs_node, needs_chromium]

STEPS, BATCH, RATE = 40, 8, 0.05
# What happens when so many bytes have passed, of all messages together: in
# this order, at places of a message that the number of bytes decides.
TAB, CUT, SERVER = "tab", "cut", "server"
HARM = (
    *(TAB, CUT, TAB, CUT, SERVER, TAB, CUT, TAB, CUT, CUT),
    *(SERVER, TAB, CUT, TAB, CUT, SERVER, TAB, CUT, TAB, CUT),
)


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Both halves of a net with statistics, a seed and momentum."""
    folder = tmp_path_factory.mktemp("halves")
    client, server = links.halves("int8")
    links.compile(client, keras.optimizers.SGD(RATE, momentum=0.9))
    client.export(folder / "client.tflite", batch_size=BATCH)
    server.save(folder / "server.keras")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory, halves):
    """What the page takes from here, and not through what cuts it off."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("client.tflite", "client.json"):
        shutil.copy(halves / name, folder)
    x, y = links.batch(48)
    (folder / "data.bin").write_bytes(x.tobytes() + y.astype("<i4").tobytes())
    return folder


def train(browser, url, dying):
    """Trains; a tab that is to die does, and another goes on.

    Args:
        browser: Where.
        url: Of the server.
        dying: Semaphore, which counts the tabs that are to die.

    Returns:
        How many tabs it took.
    """
    options = {"learningRate": RATE, "giveUpS": 200, "files": "/data"}
    browser.start(url, **options)
    tabs, taken = 1, 0
    browser.train(STEPS)
    while taken < STEPS:
        if dying.acquire(timeout=0.02):
            browser.kill()
            assert browser.start(url, **options)["nextStep"] >= taken
            browser.train(STEPS)
            tabs += 1
        taken = browser.phone("nextStep")
    browser.phone("train", STEPS)  # the last step may be in flight
    return tabs


def trained(halves, phone_page, data, folder, harm=(), every=0):
    """What a training ends with.

    Args:
        halves: Folder with both.
        phone_page: Of tests.
        data: What the page takes from here.
        folder: For what the server writes.
        harm: What happens, one behind the other.
        every: Whenever so many bytes have passed.

    Returns:
        Weights of both halves by name, the steps that the audit log has of
        each session, and how many bytes have passed.
    """
    folder.mkdir()
    body, audit = folder / "body.keras", folder / "audit.jsonl"
    keeps = ("--checkpoints", folder / "state", "--checkpoint-every", 5)
    dying = threading.Semaphore(0)
    acts = {CUT: "cut", TAB: dying.release, SERVER: lambda: server.kill()}
    plan = [(every * (n + 1), acts[what]) for n, what in enumerate(harm)]
    with (
        WebProcess(
            halves, *keeps, "--save", body, "--audit-log", audit
        ).wait() as server,
        Proxy(server.web_port, plan) as proxy,
        PhoneBrowser(phone_page, data) as browser,
    ):
        tabs = train(browser, f"http://{proxy.target}", dying)
        assert browser.phone("nextStep") == STEPS
        half = browser.state()
        browser.phone("close")
        assert len(proxy.done) == len(harm)
        assert tabs == 1 + harm.count(TAB)
        assert server.deaths == harm.count(SERVER)
        assert server.stop() == 0
    weights = {n: v for n, v in half.items() if n.startswith("state.")}
    assert weights
    for n, value in enumerate(keras_split.load_model(body).get_weights()):
        weights[f"body.{n}"] = value
    return weights, committed(audit), proxy.passed


@pytest.mark.alone
@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(HARM[4:9], id="five times"),
        pytest.param(HARM, id="twenty times", marks=pytest.mark.long),
    ],
)
def test_killed_cut_off_and_left_alone_ends_bit_for_bit(
    halves, phone_page, data, tmp_path, harm
):
    """Tabs and servers die in mid-step, and connections in mid-message."""
    given = halves, phone_page, data
    expected, steps, passed = trained(*given, tmp_path / "calm")
    assert list(steps.values()) == [list(range(STEPS))]

    every = passed // (len(harm) + 1)
    ended, steps, _ = trained(*given, tmp_path / "harmed", harm, every)

    assert list(steps.values()) == [list(range(STEPS))]
    assert ended.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(ended[name], value, err_msg=name)
