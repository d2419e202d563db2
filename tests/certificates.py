"""Certificates for tests of what is encrypted."""

import types

import pytest
from click.testing import CliRunner

from keras_split_cli import certs


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Files of one CA by name, and of a `foreign` one that nobody knows."""
    return types.SimpleNamespace(
        **_made(tmp_path_factory.mktemp("pki")),
        foreign=types.SimpleNamespace(
            **_made(tmp_path_factory.mktemp("foreign"))
        ),
    )


def _made(folder):
    result = CliRunner().invoke(
        certs.certs,
        ["--out", folder, "--client", "alice", "--force"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    return {
        "folder": folder,
        "ca": folder / "ca.pem",
        "server": folder / "server.pem",
        "server_key": folder / "server-key.pem",
        "client": folder / "client-alice.pem",
        "client_key": folder / "client-alice-key.pem",
    }
