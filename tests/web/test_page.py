"""The page in a real browser, driven with its buttons, over TLS."""

import pathlib

import keras
import pytest

import keras_split
from keras_split.server.web.files import ClientFiles
from keras_split.server.web.server import WebServer
from tests.web.browser import Browser
from tests.web.browser import needs_chromium
from tests.web.browser import needs_node

pytestmark = [pytest.mark.slow, needs_node, needs_chromium]
PROGRESS = "label[for=progress]"
VERDICT = ".verdict strong"
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
PLAYING = "document.querySelector('video')?.videoWidth > 0"
FOCUSED = """document.activeElement.getAttribute("aria-label")
    || document.activeElement.textContent.trim()"""


@pytest.fixture(scope="module")
def driven(page, page_halves, photos, pki, tmp_path_factory):
    """What came of an afternoon with the page."""
    server = keras.saving.load_model(page_halves / "server.keras")
    endpoint = server.endpoint(
        security=keras_split.server.Security(
            tls_cert=pki.server, tls_key=pki.server_key, invites=True
        )
    )
    half = ClientFiles.read(page_halves / "client.tflite")
    video, files = photos
    shots = tmp_path_factory.mktemp("shots")
    endpoint.start()
    with (
        WebServer(endpoint, client=half, page=page).start() as web,
        Browser(video=video, trusts=[pki.server]) as browser,
    ):
        afternoon = Afternoon(browser, web, files, shots)
        afternoon.make_two_classes()
        afternoon.train_and_close()
        afternoon.go_on()
        afternoon.predict()
        afternoon.keep_and_load()
        afternoon.give_what_is_no_photo()
        afternoon.look()
        afternoon.use_the_keyboard()
        afternoon.use_the_invitation_again()
    endpoint.close()
    return afternoon.found


class Afternoon:
    """Somebody with the page.

    Args:
        browser: Theirs.
        web: What they open.
        files: Photos of blue things; the last one is not for training.
        shots: Folder for pictures of the page.

    Attributes:
        found: What they saw, by name.
    """

    def __init__(self, browser, web, files, shots):
        self.browser, self.files, self.shots = browser, files, shots
        self.url = web.url(web.invitations.make())
        self.found = {}
        browser.size(width=360, height=740)
        browser.open(url=self.url)
        browser.wait(text="Show it things")
        self.found["address"] = browser.run(script="location.href")
        self.found["first"] = browser.fetched()

    def make_two_classes(self):
        browser = self.browser
        for name in ("Here", "There"):
            browser.fill(label="New class", text=name)
            browser.click(name="Add class")
        browser.click(name="Camera for Here")
        browser.until(script=PLAYING)
        browser.click(name="Take 10 in a row")
        browser.wait(text="10 photos", inside="[aria-label='Class Here']")
        browser.click(name="Close camera")
        browser.give(label="Photo files for There", files=self.files[:-1])
        browser.wait(text="10 photos", inside="[aria-label='Class There']")

    def train_and_close(self):
        """Pauses it first, for a number to compare."""
        browser = self.browser
        browser.fill(label="Epochs", text="30")
        browser.click(name="Train", exact=True)
        browser.wait(matches=r"^Step [1-9]\d* of")
        browser.click(name="Pause")
        browser.offered(name="Go on")
        self.found["paused"] = browser.read(selector=PROGRESS)
        browser.restart()

    def go_on(self):
        browser = self.browser
        browser.size(width=360, height=740)
        browser.open(url=self.url.partition("#")[0])
        browser.offered(name="Go on")
        self.found["again"] = browser.read(selector=PROGRESS)
        browser.click(name="Go on")
        browser.wait(matches="^Trained: ")
        self.found["trained"] = browser.read(selector=PROGRESS)

    def predict(self):
        """Of a file that it has not seen, and of what the camera sees."""
        browser = self.browser
        browser.give(label="Try a photo file", files=self.files[-1:])
        self.found["file"] = browser.read(selector=VERDICT)
        browser.click(name="Try with the camera")
        browser.wait(matches="^Here$", inside=VERDICT)
        self.found["camera"] = browser.read(selector=VERDICT)
        browser.click(name="Stop the camera")

    def keep_and_load(self):
        browser = self.browser
        saved = browser.download(name="Save this phone's half")
        self.found["saved"] = pathlib.Path(saved).read_bytes()[:2]
        browser.give(label="Load a half", files=[saved])
        browser.wait(text="Loaded ")

    def give_what_is_no_photo(self):
        browser = self.browser
        browser.give(
            label="Photo files for There", name="notes.txt", text="no photo"
        )
        self.found["problem"] = browser.read(selector="[role=alert]")
        browser.click(name="Close this note")

    def look(self):
        """At both sizes, in light and in the dark."""
        browser, found = self.browser, self.found
        found["axe"], found["overflow"] = {}, []
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                browser.size(width=width, height=740)
                browser.colours(scheme=scheme)
                path = self.shots / f"page-{width}-{scheme}.png"
                browser.shoot(path=str(path))
                found["axe"][width, scheme] = browser.axe()
                found["overflow"].append(browser.run(script=OVERFLOW))
        browser.size(width=360, height=740)
        browser.colours(scheme="light")

    def use_the_keyboard(self):
        browser = self.browser
        browser.reload()
        browser.wait(text="Show it things")
        stops = self.found["stops"] = []
        for _ in range(20):
            browser.press(key="Tab")
            stops.append(browser.run(script=FOCUSED))

    def use_the_invitation_again(self):
        browser = self.browser
        browser.another()
        browser.open(url=self.url)
        self.found["used"] = browser.read(selector="[role=alert]")
        self.found["fetched"] = browser.fetched()
        self.found["said"] = browser.said()


def test_two_classes_are_made_trained_and_told_apart(driven):
    assert driven["trained"] == "Trained: 90 steps"
    assert driven["file"] == "There"
    assert driven["camera"] == "Here"


def test_a_training_goes_on_after_the_browser_was_closed(driven):
    assert driven["paused"].startswith("Paused after step ")
    assert driven["again"] == driven["paused"]


def test_over_tls_the_invitation_leaves_the_address_and_is_for_one_phone(
    driven,
):
    assert driven["address"].startswith("https://")
    assert "#" not in driven["address"]
    assert "for one phone" in driven["used"]
    assert not any("join=" in one["path"] for one in driven["fetched"])


def test_the_half_is_saved_as_an_npz_and_loaded_again(driven):
    assert driven["saved"] == b"PK"


def test_a_file_that_is_no_photo_is_said_in_our_words(driven):
    assert "notes.txt is no photo" in driven["problem"]
    assert "JPEG or PNG" in driven["problem"]


def test_axe_finds_nothing_serious_at_any_size_or_colour(driven):
    assert len(driven["axe"]) == 4
    assert not any(driven["axe"].values()), driven["axe"]
    assert driven["overflow"] == [0, 0, 0, 0]


def test_keys_reach_every_class(driven):
    assert "Camera for Here" in driven["stops"]
    assert "Photo files for Here" in driven["stops"]


def test_the_page_is_small_and_nothing_fails_in_silence(driven):
    first = sum(one["bytes"] for one in driven["first"])
    wasm = {p["path"] for p in driven["fetched"] if p["path"].endswith(".wasm")}
    policy = [line for line in driven["said"] if "Content Security" in line]

    assert 1e6 < first < 12e6
    assert len(wasm) == 1
    assert policy == []
