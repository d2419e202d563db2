"""Chromium, driven from here by web/tests/browser.mjs."""

import base64
import fcntl
import hashlib
import io
import json
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

WEB = Path(__file__).parents[2] / "web"
WASM = WEB / "node_modules" / "@litertjs" / "core" / "wasm"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules").is_dir(),
    reason="needs Node 20 and npm ci in web/",
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium: apt-get install chromium"
)


class Browser:
    """Headless Chromium; each command of `browser.mjs` is a method here.

    Commands go to one tab: the first one, or the last that was opened by
    `another`.

    Args:
        folders: By name what is found at /NAME/ of whatever server a page
            is of; the server is asked only for what is not there at "".
        video: What its camera sees, a .y4m; none without.
        trusts: Certificates (PEM) that it takes as if a CA had signed them.
    """

    def __init__(self, folders=None, *, video=None, trusts=()):
        options = {
            "chromium": CHROMIUM,
            "folders": {name: str(f) for name, f in (folders or {}).items()},
            "video": None if video is None else str(video),
            "trusts": [_key_hash(path) for path in trusts],
        }
        self._node = subprocess.Popen(
            ["node", WEB / "tests" / "browser.mjs", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, command, *, timeout_s=300, **more):
        """Has a command carried out; returns its value."""
        watch = threading.Timer(timeout_s, self._node.kill)
        watch.start()
        try:
            line = json.dumps({"command": command, **more})
            self._node.stdin.write(line + "\n")
            self._node.stdin.flush()
            reply = self._node.stdout.readline()
        finally:
            watch.cancel()
        assert reply, f"the browser ended, or took too long: {line}"
        reply = json.loads(reply)
        assert "error" not in reply, f"{line}: {reply['error']}"
        return reply["value"]

    def __getattr__(self, command):
        if command.startswith("_"):
            raise AttributeError(command)
        return lambda **more: self.tell(command, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._node.stdin.close()
        try:
            self._node.wait(20)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()
        self._node.stdout.close()


class PhoneBrowser(Browser):
    """A browser with the phone of web/client/tests/page.

    Args:
        page: Folder with that page, built.
        data: Folder with what it is told to take from /data/.
        **options: Of `Browser`.
    """

    def __init__(self, page, data, **options):
        folders = {"test": page, "data": data, "wasm": WASM}
        super().__init__(folders, **options)

    def visit(self, url):
        """Opens the page as if it were the server's."""
        self.open(url=f"{url}/test/index.html")
        self.until(script="'phone' in window")

    def start(self, url, **options):
        """Opens the phone; returns its session and next step."""
        self.visit(url)
        return self.phone("open", {"data": "/data/data.bin", **options})

    def phone(self, method, *given):
        """Calls a method of the phone; returns what it does."""
        return self.call(of="phone", method=method, given=given)

    def train(self, steps):
        """Begins to train until so many are taken."""
        self.begin(of="phone", method="train", given=(steps,))

    def save(self):
        """The bytes that the phone's `save` writes."""
        return base64.b64decode(self.phone("save"))

    def state(self):
        """The phone's half, by name."""
        with np.load(io.BytesIO(self.save())) as file:
            return dict(file)


def build_package():
    """Builds keras-split-client, unless it is of its sources already.

    Of two processes of tests one waits: a file that is being written anew is
    not to be read.
    """
    built = WEB / "client" / "dist" / "index.js"
    sources = [*(WEB / "client" / "src").rglob("*.ts")]
    with (WEB / "package.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        changed = max(path.stat().st_mtime for path in sources)
        if not built.exists() or built.stat().st_mtime < changed:
            _run("client", "tsc", "-p", "tsconfig.build.json")


def build_phone(folder):
    """Builds the page of tests of the client into a folder."""
    build_package()
    config = "tests/page/vite.config.ts"
    _run("client", "vite", "build", "--outDir", folder, "--config", config)


def build_page(folder):
    """Builds the page and the dashboard into a folder."""
    build_package()
    _run("app", "vite", "build", "--outDir", folder, "--emptyOutDir")


def _run(workspace, tool, *arguments):
    done = subprocess.run(
        [str(WEB / "node_modules/.bin" / tool), *map(str, arguments)],
        cwd=WEB / workspace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _key_hash(path):
    """SHA-256 of the key of a certificate, as Chromium takes it."""
    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
