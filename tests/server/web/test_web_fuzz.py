"""The port for browsers under a hail of nonsense, and a good client beside."""

import http.client
import os
import random
import socket
import subprocess
import sys
import textwrap

import grpc
import numpy as np
import pytest

from keras_split.server.web import calls
from tests import links
from tests.fuzzer import Fuzzer
from tests.test_fuzz import ALICE
from tests.test_fuzz import MALLORY
from tests.test_fuzz import ROOT
from tests.test_fuzz import good_client
from tests.test_fuzz import outcome
from tests.test_fuzz import resident

SERVE = """
    import sys
    from keras_split.server.security import Security
    from keras_split.server.web.server import WebServer
    from tests import links

    server = links.halves("int8")[1]
    running = links.listen(
        server.host(),
        security=Security(tokens=sys.argv[1], invites=True),
        hello_burst=1e9,
        messages_per_s=1e9,
        hello_timeout_s=3.0,
        message_timeout_s=3.0,
    ).start()
    web = WebServer(running.endpoint).start()
    print(running.target, web.port, flush=True)
    running.wait()
"""


class _Refused(grpc.RpcError):
    """A status of HTTP, as the fuzzer knows those of gRPC."""

    def __init__(self, status, body):
        known = {403: grpc.StatusCode.PERMISSION_DENIED}
        self._code = known.get(status, grpc.StatusCode.UNKNOWN)
        self._details = f"{status}: {body[:200]!r}"

    def code(self):
        return self._code

    def details(self):
        return self._details


class WebFuzzer(Fuzzer):
    """The same over HTTP, and heads that are damaged, too.

    Args:
        port: Of the server, on this machine.
        *args: As a fuzzer's.
    """

    def __init__(self, port, *args):
        self._port = port
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        super().__init__(*args)

    def _reach(self):
        def exchange(raw, metadata, timeout=60):
            headers = {"content-type": calls.KIND, **dict(metadata)}
            self._http.request("POST", calls.EXCHANGE, raw, headers)
            response = self._http.getresponse()
            body = response.read()
            if response.status != 200:
                raise _Refused(response.status, body)
            return body

        self._exchange = exchange

    def heads(self, count):
        """Sends requests of which any byte may be another."""
        chance = random.Random(count)
        head = (
            f"POST {calls.EXCHANGE} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {MALLORY}\r\nContent-Type: {calls.KIND}"
            "\r\nContent-Length: 5\r\n\r\nabcde"
        ).encode()
        for _ in range(count):
            raw = self._damaged(head)
            self.sent += 1
            with socket.create_connection(("127.0.0.1", self._port)) as one:
                one.sendall(raw)
                if chance.random() < 0.5:
                    one.shutdown(socket.SHUT_WR)
                one.settimeout(0.05)
                try:
                    said = one.recv(1 << 16)
                except (TimeoutError, ConnectionError):
                    continue
                status = said[9:12]
                self.replies[status] += 1
                if said and (said[:5] != b"HTTP/" or status[:1] == b"5"):
                    self.surprises.append((said[:300], raw))

    def close(self):
        self._http.close()
        super().close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "messages", [600, pytest.param(5_000, marks=pytest.mark.long)]
)
def test_nonsense_over_http_moves_no_weight_and_disturbs_nobody(
    tmp_path, messages
):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice {ALICE}\nmallory {MALLORY}\n")
    tokens.chmod(0o600)
    (tmp_path / "alice").write_text(ALICE)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVE), tokens],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        target, port = process.stdout.readline().split()
        good = good_client(target, tmp_path / "alice")
        good.step()
        contract = links.halves("int8")[1].contract
        victim = good.client.strategy.session.connection.session
        fuzzer = WebFuzzer(int(port), target, MALLORY, contract, victim)

        good.start()
        hail(fuzzer, messages // 3)
        before = resident(process)
        hail(fuzzer, messages - messages // 3)
        after = resident(process)
        fuzzer.close()
        good.enough.set()
        good.join(60)
        received = outcome(good)
        good.client.close()
        running = process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

    assert fuzzer.sent >= messages
    assert fuzzer.surprises == []
    assert good.error is None
    assert running
    assert abs(after - before) < 0.05 * before
    assert {"PERMISSION_DENIED", "unreadable", b"400"} <= set(fuzzer.replies)
    assert all(np.isfinite(value).all() for value in received)
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


def hail(fuzzer, count):
    fuzzer.generate(count // 4)
    fuzzer.heads(count // 4)
    fuzzer.mutate(count - 2 * (count // 4))
