import click
import pytest
from click.testing import CliRunner

from keras_split.server.config import ServerConfig
from keras_split.server.security import Security
from keras_split_cli.server_options import server_options
from keras_split_cli.server_options import serving


@pytest.fixture
def parse():
    """The config that a command line makes, and what is left of it."""

    def parse(*arguments):
        found = []

        @click.command()
        @server_options
        def command(**options):
            found.extend((serving(options), options))

        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0, result.output
        return found

    return parse


def test_without_options_it_is_the_default_config(parse):
    config, left = parse()

    assert config == ServerConfig()
    assert left == {
        "metrics_port": None,
        "audit_log": None,
        "log_format": "text",
    }


@pytest.mark.parametrize(
    ("host", "web", "invites"),
    [
        ("127.0.0.1", True, False),
        ("0.0.0.0", True, True),
        ("0.0.0.0", False, False),
    ],
)
def test_browsers_beyond_this_machine_are_asked_for_tokens(host, web, invites):
    found = []

    @click.command()
    @server_options
    def command(**options):
        found.append(serving(options, web=web))

    CliRunner().invoke(command, ["--host", host])

    assert found[0].security == Security(invites=invites)


def test_the_operators_token_is_made_if_it_is_not_there(parse, tmp_path):
    path = tmp_path / "operator"
    config, _ = parse("--operator-token", str(path))
    token = path.read_text()
    parse("--operator-token", str(path))

    assert config.security.operator_token == str(path)
    assert path.read_text() == token and len(token) > 20


def test_each_option_has_its_field(parse):
    config, _ = parse(
        *("--host", "::1", "--port", "0", "--insecure"),
        *("--tls-cert", "a", "--tls-key", "b", "--client-ca", "c"),
        *("--tokens", "d", "--max-sessions", "2", "--max-batch", "3"),
        *("--idle-timeout", "4.5", "--max-grad-norm", "5"),
        *("--clip-grad-norm", "6", "--checkpoints", "e"),
        *("--max-smashed-norm", "8"),
        *("--checkpoint-every", "7", "--checkpoint-every-mib", "0.5"),
        *("--snapshots", "f", "--max-unary-mib", "0.25"),
    )

    assert config == ServerConfig(
        address="::1",
        port=0,
        insecure=True,
        security=Security("a", "b", "c", "d"),
        max_sessions=2,
        max_batch=3,
        max_unary_bytes=1 << 18,
        idle_timeout_s=4.5,
        max_grad_norm=5.0,
        clip_grad_norm=6.0,
        max_smashed_norm=8.0,
        checkpoints="e",
        checkpoint_every=7,
        checkpoint_every_bytes=1 << 19,
        snapshots="f",
    )


def test_less_than_a_byte_between_checkpoints_is_one(parse):
    config, _ = parse("--checkpoint-every-mib", "1e-9")

    assert config.checkpoint_every_bytes == 1
