"""Browsers, a phone in Node and a Python device train one model."""

import contextlib
import json
import shutil
import subprocess
import threading

import keras
import numpy as np
import pytest

from keras_split import device
from keras_split.device import FederatedAveraging
from keras_split.device.half_vector import HalfVector
from keras_split.errors import SplitError
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.web.server import WebServer
from tests import links
from tests.web.browser import CHROMIUM
from tests.web.browser import WEB
from tests.web.browser import build_package
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node

CLIENT = WEB / "client"
CLASSES, EPOCHS, WAIT_S = 4, 5, 240
# The second of them gives no value to the second round, and is killed then.
HANG = {"stage": "value", "round": 1}
NAMES = ("one", "two", "three")  # phones that are not Python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_node]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The file of the phones, and for each of them one class of the data."""
    build_package()
    made = tmp_path_factory.mktemp("cohort")
    client, server = links.halves("int8", classes=CLASSES)
    links.compile(client, keras.optimizers.SGD(0.1))
    client.export(made / "client.tflite", batch_size=8)
    server.save(made / "server.keras")
    for name, (x, y) in zip(NAMES, parts(), strict=False):
        x.tofile(made / f"{name}.x")
        y.tofile(made / f"{name}.y")
    return made


def parts():
    """A class for each phone: stripes, stripes across, squares, nothing."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16] // 2 % 2
    textures = [rows, columns, rows ^ columns, np.ones_like(rows)]
    shape = (40, 16, 16, 1)
    return [
        (
            rng.normal(2 * texture[..., None] - 1, 0.5, shape).astype(
                "float32"
            ),
            np.full(shape[0], label, "int32"),
        )
        for label, texture in enumerate(textures)
    ]


def batches(*which):
    x, y = (np.concatenate(arrays) for arrays in zip(*which, strict=True))
    return device.batches(x, y, 8)


@pytest.fixture
def served(folder):
    """Serves the body, for browsers too; it is told settings of a cohort."""
    with contextlib.ExitStack() as stack:

        def serve(**options):
            config = {"phones": CLASSES, "batch": 8, "seed": 0, **options}
            body = keras.saving.load_model(folder / "server.keras")
            cohort = CohortConfig("merged", **config)
            running = stack.enter_context(body.serve(port=0, cohort=cohort))
            web = stack.enter_context(WebServer(running.endpoint).start())
            return running, web.address

        yield serve


def spec(folder, url, name, every="epoch", **more):
    """What one of the phones is told; halves are for nobody to see."""
    federate = {"every": every, "requireSecure": True}
    known = {"folder": str(folder), "url": url, "name": name}
    return {**known, "epochs": EPOCHS, "federate": federate, **more}


class Phones:
    """Processes of Node, each with one phone or many browsers.

    Attributes:
        said: What the phones have said, in order.
        server: Stops when a phone fails, so that nobody waits for it.
    """

    def __init__(self, folder):
        self.said = []
        self.server = None
        self._folder = folder
        self._running = []

    def start(self, script, name, what, heard=None):
        """Starts one.

        Args:
            script: Of web/client/tests/cohort.
            name: Of the file with what it is told.
            what: It is told.
            heard: Hears of each thing that it says, and the process.
        """
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(what))
        process = subprocess.Popen(
            ["node", CLIENT / "tests/cohort" / script, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def listen():
            for line in process.stdout:
                self.said.append(line.strip())
                if heard is not None and line.startswith("{"):
                    heard(json.loads(line), process)
            if process.wait() > 0:
                self.server.stop(0)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        self._running.append((process, thread))

    def wait(self):
        """Waits until all have ended, also those that are started yet."""
        for process, thread in self._running:
            process.wait(WAIT_S)
            thread.join(WAIT_S)

    def half(self, name):
        file = self._folder / f"{name}.half"
        assert file.exists(), "\n".join(self.said[-40:])
        return np.fromfile(file, "<f4")

    def close(self):
        for process, thread in self._running:
            process.kill()
            thread.join(WAIT_S)
            process.stdout.close()


@pytest.fixture
def phones(folder):
    for file in [*folder.glob("*.half"), *folder.glob("*.store")]:
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    made = Phones(folder)
    yield made
    made.close()


def fit(folder, running, phones, every="epoch"):
    """The Python device's part in it: its half and accuracy."""
    file, address = folder / "client.tflite", f"grpc://{running.target}"
    with device.Client(file, address, num_threads=1, retry=None) as phone:
        try:
            phone.fit(
                batches(parts()[-1]),
                EPOCHS,
                federate=FederatedAveraging(every, require_secure=True),
                verbose=False,
            )
        except SplitError as error:
            pytest.fail("\n".join([*phones.said[-40:], str(error)]))
        half = HalfVector(phone._model, phone.description).get()
        return half, phone.evaluate(batches(*parts()))["accuracy"]


@pytest.fixture(scope="module")
def pooled(folder):
    """Accuracy of one phone with all the data, for as many epochs."""
    body = keras.saving.load_model(folder / "server.keras")
    with (
        body.serve(port=0) as running,
        device.Client(
            folder / "client.tflite", f"grpc://{running.target}", num_threads=1
        ) as phone,
    ):
        phone.fit(batches(*parts()), EPOCHS, verbose=False)
        return phone.evaluate(batches(*parts()))["accuracy"]


@pytest.mark.long
@needs_chromium
def test_three_browsers_and_a_device_reach_what_pooled_data_does(
    folder, served, phones, pooled
):
    running, url = served()
    phones.server = running
    browsers = [spec(folder, url, name, every=4) for name in NAMES]
    what = {"chromium": CHROMIUM, "phones": browsers}
    phones.start("browsers.mjs", "all", {"folder": str(folder), **what})
    half, accuracy = fit(folder, running, phones, every=4)
    phones.wait()

    for name in NAMES:
        np.testing.assert_array_equal(phones.half(name), half)
    assert accuracy >= pooled - 0.05


@needs_chromium
def test_a_tab_that_is_killed_behind_its_shares_comes_back(
    folder, served, phones
):
    running, url = served(step_deadline_s=8, round_deadline_s=10)
    phones.server = running
    tabs = [spec(folder, url, name) for name in NAMES]
    tabs[1] |= {"hang": HANG, "again": {"epochs": EPOCHS - 2}}
    what = {"chromium": CHROMIUM, "phones": tabs}
    phones.start("browsers.mjs", "all", {"folder": str(folder), **what})
    half, _ = fit(folder, running, phones)
    phones.wait()

    assert any('"hangs"' in line for line in phones.said)
    for name in NAMES:
        np.testing.assert_array_equal(phones.half(name), half)


@pytest.mark.long
def test_a_process_that_is_killed_behind_its_shares_comes_back(
    folder, served, phones
):
    """Its mask is taken off with shares that Node and Python hold."""
    running, url = served(step_deadline_s=8, round_deadline_s=10)
    phones.server = running

    def heard(said, process):
        if "hangs" in said:
            process.kill()
            again = spec(folder, url, "two", epochs=EPOCHS - 2)
            phones.start("phone.mjs", "again", again)

    for name in NAMES:
        what = spec(folder, url, name)
        if name == "two":
            what["hang"] = HANG
        phones.start("phone.mjs", name, what, heard)
    half, _ = fit(folder, running, phones)
    phones.wait()

    assert any('"hangs"' in line for line in phones.said)
    for name in NAMES:
        np.testing.assert_array_equal(phones.half(name), half)
