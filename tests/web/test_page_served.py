"""The page when its server dies, and among other phones."""

import threading

import keras
import numpy as np
import pytest

from keras_split import device
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.web.files import ClientFiles
from keras_split.server.web.server import WebServer
from tests.disturbances import committed
from tests.web.browser import Browser
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node
from tests.web.served import TOKEN
from tests.web.served import WebProcess

pytestmark = [pytest.mark.slow, needs_node, needs_chromium]

PROGRESS = "label[for=progress]"
EPOCHS = 30
STEPS = 2 * EPOCHS  # of ten photos, eight a step


def make_two_classes(browser, files, epochs):
    """Five photos each, to be trained so often."""
    browser.wait(text="Show it things")
    for name, given in (("One", files[:5]), ("Two", files[5:10])):
        browser.fill(label="New class", text=name)
        browser.click(name="Add class")
        browser.give(label=f"Photo files for {name}", files=given)
        browser.wait(text="5 photos", inside=f"[aria-label='Class {name}']")
    browser.fill(label="Epochs", text=str(epochs))


def test_a_phone_that_joined_goes_on_when_the_server_died_and_came_back(
    page, page_halves, photos, pki, tmp_path
):
    """With its token, in its session, and no step twice."""
    tokens, log = tmp_path / "tokens.txt", tmp_path / "audit.jsonl"
    tokens.write_text(f"alice {TOKEN}\n")
    tokens.chmod(0o600)
    arguments = (
        *("--tls-cert", pki.server, "--tls-key", pki.server_key),
        *("--tokens", tokens, "--audit-log", log),
        *("--checkpoints", tmp_path / "state", "--checkpoint-every", 7),
    )
    _, files = photos
    with (
        WebProcess(page_halves, *arguments) as server,
        Browser({"": page}, trusts=[pki.server]) as browser,
    ):
        url = server.wait("joins within").said[-1].rpartition(" ")[2].strip()
        browser.open(url=url)
        make_two_classes(browser, files, EPOCHS)
        browser.click(name="Train", exact=True)
        browser.wait(matches=r"^Step ([5-9]|\d\d) of")
        server.kill()
        browser.wait(matches="^Trained: ")
        assert browser.read(selector=PROGRESS) == f"Trained: {STEPS} steps"

        assert server.wait().stop() == 0
    assert list(committed(log).values()) == [list(range(STEPS))]


def test_the_page_trains_in_a_cohort_with_a_phone_in_python(
    page, page_halves, photos
):
    """Both have the same half in the end, and each its own data."""
    body = keras.saving.load_model(page_halves / "server.keras")
    file = page_halves / "client.tflite"
    _, files = photos
    cohort = CohortConfig("merged", phones=2, batch=8, seed=0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 24, 24, 3)).astype("float32")
    y = np.full(10, 2, "int32")
    with (
        body.serve(port=0, cohort=cohort) as running,
        WebServer(
            running.endpoint, client=ClientFiles.read(file), page=page
        ).start() as web,
        Browser() as browser,
        device.Client(file, f"grpc://{running.target}", retry=None) as phone,
    ):
        data = device.batches(x, y, 8)
        averaging = device.FederatedAveraging("epoch")
        other = threading.Thread(
            target=phone.fit,
            args=(data, 6),
            kwargs={"federate": averaging, "verbose": False},
        )
        browser.open(url=web.url())
        make_two_classes(browser, files, 6)
        browser.wait(text="One model of 2 phones")
        other.start()
        browser.click(name="Train", exact=True)
        other.join(120)
        browser.wait(matches="^Trained: ")
        saved = browser.download(name="Save this phone's half")
        with np.load(saved) as arrays:
            state = dict(arrays)
        expected = phone.get_state()

    slots = {t.name for t in phone.description.state if t.kind == "slot"}
    for name in expected.keys() - slots:
        np.testing.assert_array_equal(
            state[f"state.{name}"], expected[name], err_msg=name
        )
