"""`keras-split serve` as its owner runs and stops it."""

import signal
import ssl
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from keras_split.errors import RefusedError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Refusal
from keras_split.server.service import TrainingService
from keras_split_cli import serve
from tests import links
from tests.cli import commands
from tests.disturbances import ServeProcess


@pytest.fixture
def saved(tmp_path):
    """The client of two halves that are saved to a folder."""
    client, server = links.halves()
    server.save(tmp_path / "server.keras")
    client.save(tmp_path / "client.keras")
    return client


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status


@pytest.mark.slow
def test_sigterm_lets_a_step_in_flight_finish(saved, tmp_path):
    """Not serving first, then the step, then the checkpoint, then exit 0."""
    contract = saved.contract
    with ServeProcess(
        *(tmp_path / "server.keras", "--checkpoints", tmp_path / "state"),
        *("--checkpoint-every", 1000),
    ) as process:
        with (
            links.wire(process.target) as wire,
            grpc.insecure_channel(process.target) as channel,
        ):
            before = health(channel)
            session = wire.exchange(links.hello(contract)).session
            links.take_step(wire.exchange, session, contract)
            wire.exchange(Forward(session, 1, links.smashed(contract)))
            ended = []
            stop = threading.Thread(target=lambda: ended.append(process.stop()))
            stop.start()
            while health(channel) == before:
                assert stop.is_alive()
            new = wire.carry(links.hello(contract))
            grad = links.features_grad(contract)
            taken = wire.exchange(Backward(session, 1, grad, 0.1))
        stop.join(60)
    server = links.halves()[1]
    host = TrainingService(server.half, checkpoints=tmp_path / "state")
    again = host.handle(links.hello(contract, session=session, next_step=2))

    assert before == health_pb2.HealthCheckResponse.SERVING
    assert isinstance(new, Refusal) and new.reason == "stopping"
    assert (taken.step, ended) == (1, [0])
    assert (again.next_step, again.durable_steps) == (2, 2)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "keras_split_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_with_certificates_and_tokens_only_friends_train(saved, tmp_path):
    """As the pages say it: certs, serve, train."""
    certs = tmp_path / "certs"
    made = command(
        *("certs", "--out", certs, "--client", "ann", "--token", "ann")
    )
    x, y = links.batch(16)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    tls = [
        *("--tls-cert", certs / "server.pem"),
        *("--tls-key", certs / "server-key.pem"),
        *("--client-ca", certs / "ca.pem", "--tokens", certs / "tokens.txt"),
    ]
    (tmp_path / "wrong.txt").write_text("x" * 40)
    files = {
        "--tls-ca": certs / "ca.pem",
        "--tls-cert": certs / "client-ann.pem",
        "--tls-key": certs / "client-ann-key.pem",
        "--token-file": certs / "token-ann.txt",
    }

    with ServeProcess(
        tmp_path / "server.keras", *tls, "--audit-log", tmp_path / "audit.log"
    ) as process:

        def train(**other):
            chosen = files | other
            return command(
                *("train", tmp_path / "client.keras", "--epochs", 1),
                *("--server", process.target, "--data", tmp_path / "data.npz"),
                *("--validation-split", 0),
                *(v for pair in chosen.items() if pair[1] for v in pair),
            )

        friend = train()
        stranger = train(**{"--token-file": tmp_path / "wrong.txt"})
        nobody = train(**{"--tls-cert": None, "--tls-key": None})
        plain = train(**dict.fromkeys(files))
    audit = (tmp_path / "audit.log").read_text()

    assert made.returncode == friend.returncode == 0, friend.stderr
    assert [r.returncode for r in (stranger, nobody, plain)] == [1, 1, 1]
    assert "token" in stranger.stderr and "certificate" in nobody.stderr
    assert "TLS" in plain.stderr
    assert '"client": "ann"' in audit and '"unauthenticated"' in audit
    token = (certs / "token-ann.txt").read_text().strip()
    assert token not in audit + friend.stdout + friend.stderr


def shown(process):
    """The certificate that a server shows to those who come now."""
    address = ("127.0.0.1", process.port)
    return ssl.get_server_certificate(address, timeout=20)


@pytest.mark.slow
def test_a_certificate_is_renewed_and_a_token_taken_back_while_it_runs(
    saved, tmp_path
):
    """As docs/running-a-server.md says it, with a phone that goes on."""
    certs = tmp_path / "certs"
    command("certs", "--out", certs, "--token", "ann", "--token", "bob")
    tls = [
        *("--tls-cert", certs / "server.pem"),
        *("--tls-key", certs / "server-key.pem"),
        *("--tokens", certs / "tokens.txt"),
    ]

    def phone(name):
        return links.wire(
            process.target,
            secure=True,
            credentials=Credentials(
                certs / "ca.pem", token_file=certs / f"token-{name}.txt"
            ),
        )

    with ServeProcess(tmp_path / "server.keras", *tls) as process:
        before = shown(process)
        with phone("ann") as ann, phone("bob") as bob:
            welcomes = [
                wire.exchange(links.hello(saved.contract))
                for wire in (ann, bob)
            ]
            renewed = command("certs", "--out", certs, "--renew")
            lines = (certs / "tokens.txt").read_text().splitlines(True)
            kept = [line for line in lines if not line.startswith("bob ")]
            (certs / "tokens.txt").write_text("".join(kept))
            process.process.send_signal(signal.SIGHUP)

            with pytest.raises(grpc.RpcError):
                next(iter(bob._stream))  # it is ended, although it says nothing
            with pytest.raises(RefusedError, match="UNAUTHENTICATED"):
                with phone("bob") as again:
                    again.exchange(links.hello(saved.contract))
            session = welcomes[0].session
            links.take_step(ann.exchange, session, saved.contract)
        after = shown(process)
        with phone("ann") as again:
            again.exchange(links.hello(saved.contract))
        code = process.stop()

    assert renewed.returncode == 0 and before != after
    assert code == 0


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--host", "0.0.0.0"], "Expected TLS to listen on 0.0.0.0"),
        (["--tls-cert", "a.pem"], "a certificate and its private key"),
        (["--tokens", "none.txt"], "none.txt"),
        (["--audit-log", "/none/audit.log"], "Expected an audit log"),
        (
            ["--bodies", "private", "--save", "body.keras"],
            "Expected one body for --save",
        ),
        (["--save", "none/body.keras"], "Expected --save in a folder that c"),
    ],
)
def test_what_cannot_be_served_safely_is_refused(
    saved, tmp_path, arguments, said
):
    result = commands.run(
        "serve", tmp_path / "server.keras", "--port", 0, *arguments
    )

    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "option, value",
    [
        ("--save", "body.keras"),
        ("--optimizer", "adam"),
        ("--checkpoints", "state"),
        ("--bodies", "private"),
    ],
)
def test_what_only_a_training_has_is_refused_beside_inference_only(
    option, value
):
    result = commands.run(
        "serve", "absent.keras", "--inference-only", option, value
    )

    assert result.returncode == 1
    assert result.stderr.startswith("Error: Expected ")
    assert option.strip("-") in result.stderr and value in result.stderr


def test_a_body_that_is_written_nowhere_is_told(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "_wait", lambda *_: None)
    said = {}
    for options in (
        (),
        ("--save", tmp_path / "trained.keras"),
        ("--checkpoints", tmp_path / "state"),
        ("--inference-only",),
        ("--bodies", "private"),
    ):
        result = commands.run(
            *("serve", tmp_path / "server.keras", "--port", 0, *options)
        )
        assert result.returncode == 0, result.stderr
        said[options[:1]] = "is gone when this stops" in result.stdout

    assert [*said.values()] == [True, False, False, False, False]
