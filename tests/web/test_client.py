"""A phone in Chromium beside one in Python."""

import base64
import io
import re
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_split import zoo
from keras_split.compression import codecs
from keras_split.device import Client
from keras_split.transports import Transport
from keras_split.transports import decode
from tests.web.browser import PhoneBrowser
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node
from tests.web.served import TOKEN
from tests.web.served import WebProcess

pytestmark = [pytest.mark.slow, needs_node, needs_chromium]

STEPS, SIZE, BATCH, RATE = 10, 64, 8, 1e-4
NUMBERS = {
    "float32": {"quantization": "float32"},
    "int8": {"quantization": "int8"},
    "small": {"quantization": "small", "bottleneck": 4},
}


class Trained(NamedTuple):
    """What a phone in a browser has come to.

    Attributes:
        folder: With both halves, as they were before.
        losses: Of each step.
        saved: What it saved, an .npz.
        replies: All that its server said, in order.
    """

    folder: Any
    losses: list[float]
    saved: bytes
    replies: list[bytes]

    def state(self):
        with np.load(io.BytesIO(self.saved)) as file:
            return dict(file)


@pytest.fixture(scope="module")
def trained(phone_page, pki, tmp_path_factory):
    """A phone in Chromium by its numbers on the link: over TLS, by token."""
    data = tmp_path_factory.mktemp("data")
    x, y = examples()
    (data / "data.bin").write_bytes(x.tobytes() + y.tobytes())
    tokens = data / "tokens.txt"
    tokens.write_text(f"alice {TOKEN}\n")
    tokens.chmod(0o600)
    arguments = (
        *("--tls-cert", pki.server, "--tls-key", pki.server_key),
        *("--tokens", tokens),
    )
    made = {}

    def get(numbers):
        if numbers not in made:
            folder = tmp_path_factory.mktemp(numbers)
            export(folder, numbers)
            with (
                WebProcess(folder, *arguments).wait() as server,
                PhoneBrowser(phone_page, data, trusts=[pki.server]) as browser,
            ):
                browser.start(
                    f"https://localhost:{server.web_port}",
                    token=TOKEN,
                    learningRate=RATE,
                    record=True,
                )
                losses = browser.phone("train", STEPS)
                saved, replies = browser.save(), []
                while (said := browser.phone("reply")) is not None:
                    replies.append(base64.b64decode(said))
                browser.phone("close")
            made[numbers] = Trained(folder, losses, saved, replies)
        return made[numbers]

    return get


def export(folder, numbers):
    """Both halves of mobilenet_v2, with the statistics of one that has learned.

    An untrained one has its activations around 0, where a ReLU has its kink:
    sooner or later a difference of 1e-7 decides whether a gradient passes,
    and weights differ by 1e-4 a step later, by 1e-2 after 30, also between
    two phones in Python. With a beta of 3 they stay between 0 and 6.
    """
    client, server = zoo.load(
        "mobilenet_v2",
        input_shape=(SIZE, SIZE, 3),
        classes=10,
        seed=0,
        **NUMBERS[numbers],
    )
    for weight in [*client.weights, *server.weights]:
        if not re.search("project", weight.path, re.IGNORECASE):
            for name, value in (("gamma", 0.8), ("beta", 3.0)):
                if weight.path.endswith(f"/{name}"):
                    weight.assign(np.full(weight.shape, value))
    client.compile(
        keras.optimizers.SGD(RATE, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    client.export(folder / "client.tflite", batch_size=BATCH)
    server.save(folder / "server.keras")


def examples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, SIZE, SIZE, 3)).astype("float32")
    return x, (np.arange(32) % 10).astype("int32")


def train(phone):
    """Losses of the steps that the page takes."""
    x, y = examples()
    losses = []
    for step in range(STEPS):
        count = BATCH - 3 if step % 5 == 4 else BATCH
        first = step * BATCH % (len(x) - BATCH + 1)
        rows = slice(first, first + count)
        logs = phone.train_on_batch(x[rows], y[rows], learning_rate=RATE)
        losses.append(logs["loss"])
    return losses


class Replay(Transport):
    """Says what a server said to another phone."""

    def __init__(self, replies, codec):
        super().__init__()
        self._replies = iter(replies)
        self._codec = codecs.get(codec)

    def carry(self, message):
        return decode(next(self._replies), self._codec)

    def close(self):
        pass


@pytest.mark.parametrize(
    "numbers",
    ["float32", pytest.param("int8", marks=pytest.mark.long), "small"],
)
def test_each_loss_is_that_of_the_python_phone(numbers, trained, tmp_path):
    """Before the same server, which speaks to one of them alone.

    Codes are rounded: between two servers a difference of 1e-7 moves one
    here and there, and losses differ by 1e-2 in the end. So the phone in
    Python hears what the server said to the browser, and both compute the
    rest.
    """
    browser = trained(numbers)
    file = browser.folder / "client.tflite"
    codec = Client(
        file, transport=Replay([], "raw")
    ).description.contract.codec_name

    phone = Client(file, transport=Replay(browser.replies, codec))
    losses = train(phone)

    np.testing.assert_allclose(browser.losses, losses, rtol=0, atol=1e-5)
    state = browser.state()
    for name, value in phone.get_state().items():
        np.testing.assert_allclose(
            state[f"state.{name}"], value, rtol=0, atol=2e-6, err_msg=name
        )
    saved = tmp_path / "state.npz"
    saved.write_bytes(browser.saved)
    phone.load_state(saved, body=False)
    assert phone.step == STEPS


def test_each_loss_is_that_of_a_python_phone_with_a_server_of_its_own(trained):
    """From the same files, and nothing else."""
    browser = trained("float32")
    with (
        WebProcess(browser.folder).wait() as server,
        Client(
            browser.folder / "client.tflite", f"grpc://{server.target}"
        ) as phone,
    ):
        losses = train(phone)

        np.testing.assert_allclose(browser.losses, losses, rtol=0, atol=1e-5)
        state = browser.state()
        for name, value in phone.get_state().items():
            np.testing.assert_allclose(
                state[f"state.{name}"], value, rtol=0, atol=2e-6, err_msg=name
            )
