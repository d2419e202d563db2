import os
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner
from cryptography import x509

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.protocol.pem import check_files
from keras_split.server.tokens import Tokens
from keras_split_cli.authority import hosts_of
from keras_split_cli.certs import certs


def run(folder, *arguments):
    result = CliRunner().invoke(
        certs, ["--out", str(folder), *arguments], catch_exceptions=True
    )
    if result.exception:
        raise result.exception
    return result.output


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_server_and_its_clients_get_certificates_of_one_ca(tmp_path):
    run(tmp_path, "--host", "a.example", "--host", "10.0.0.2", "--client", "al")

    server = load(tmp_path / "server.pem")
    names = server.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert [str(i) for i in names.get_values_for_type(x509.IPAddress)] == [
        "10.0.0.2"
    ]
    for name in ("server", "client-al"):
        load(tmp_path / f"{name}.pem").verify_directly_issued_by(
            load(tmp_path / "ca.pem")
        )
        check_files(
            tmp_path / f"{name}.pem",
            tmp_path / f"{name}-key.pem",
            tmp_path / "ca.pem",
        )
    subject = load(tmp_path / "client-al.pem").subject
    assert subject.rfc4514_string() == "CN=al"


def test_a_client_cannot_pose_as_the_server(tmp_path):
    run(tmp_path, "--client", "alice")

    usage = load(tmp_path / "client-alice.pem").extensions
    usage = usage.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [u._name for u in usage] == ["clientAuth"]


def test_keys_and_tokens_are_for_their_owner_alone(tmp_path):
    run(tmp_path, "--client", "alice", "--token", "alice")

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.iterdir()
    }
    public = {"ca.pem", "server.pem", "client-alice.pem"}
    assert public < set(modes)
    for name, mode in modes.items():
        assert mode & 0o077 == (0o044 if name in public else 0)


def test_each_client_gets_a_token_that_the_server_knows(tmp_path, caplog):
    output = run(tmp_path, "--token", "alice", "--token", "bob")

    tokens = Tokens.read(tmp_path / "tokens.txt")
    for name in ("alice", "bob"):
        token = (tmp_path / f"token-{name}.txt").read_text().strip()
        assert tokens.who(token) == name
        assert token not in output
    assert not caplog.records


def test_days_say_how_long_they_are_valid(tmp_path):
    run(tmp_path, "--days", "7")

    for name in ("ca", "server"):
        certificate = load(tmp_path / f"{name}.pem")
        valid = (
            certificate.not_valid_after_utc - certificate.not_valid_before_utc
        )
        assert valid.days == 8  # one of them in the past


def test_files_that_are_there_are_not_written_over(tmp_path):
    run(tmp_path)
    before = (tmp_path / "ca-key.pem").read_bytes()

    with pytest.raises(DataError, match="ca.pem, ca-key.pem, server.pem"):
        run(tmp_path)
    assert (tmp_path / "ca-key.pem").read_bytes() == before
    run(tmp_path, "--force")

    assert (tmp_path / "ca-key.pem").read_bytes() != before


def test_a_full_disk_leaves_what_was_to_be_written_over(tmp_path, monkeypatch):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    opened = os.open

    def full(path, *arguments, **options):
        if "server.pem" in str(path):
            raise OSError(28, "No space left on device")
        return opened(path, *arguments, **options)

    monkeypatch.setattr("os.open", full)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path, "--force", "--client", "alice")

    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_it_says_how_to_use_them(tmp_path):
    output = run(
        tmp_path, "--host", "h", "--client", "alice", "--token", "alice"
    )

    words = output.replace("\\\n", " ").split()
    for option, name in {
        "--client-ca": "ca.pem",
        "--tokens": "tokens.txt",
        "--tls-ca": "ca.pem",
        "--token-file": "token-alice.txt",
    }.items():
        assert words[words.index(option) + 1] == str(tmp_path / name)
        assert (tmp_path / name).exists()
    assert "grpcs://h:50051" in words


@pytest.mark.parametrize("name", ["", "../alice", "a b", "a/b", "al-key"])
@pytest.mark.parametrize("option", ["--client", "--token"])
def test_a_name_that_is_no_part_of_a_file_name_is_refused(
    tmp_path, option, name
):
    with pytest.raises(DataError, match="Expected a name of letters"):
        run(tmp_path, option, name)

    assert not list(tmp_path.iterdir())


def test_without_cryptography_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)

    with pytest.raises(BackendError, match=r"pip install 'cryptography"):
        run(tmp_path)


def test_it_loads_neither_keras_nor_grpc(tmp_path):
    code = (
        "import sys; from keras_split_cli.certs import certs\n"
        "certs(['--out', sys.argv[1]], standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )

    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert not {"keras", "tensorflow", "grpc"} & set(result.stderr.split())


def test_a_certificate_is_renewed_with_the_ca_that_is_there(tmp_path):
    run(tmp_path, "--token", "ann")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    run(tmp_path, "--renew", "--host", "split.example")
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"server.pem", "server-key.pem"}
    check_files(
        *(tmp_path / "server.pem", tmp_path / "server-key.pem"),
        tmp_path / "ca.pem",
    )
    assert (tmp_path / "server-key.pem").stat().st_mode & 0o77 == 0


def test_without_a_ca_nothing_can_be_renewed(tmp_path):
    with pytest.raises(DataError, match="Expected ca.pem and ca-key.pem"):
        run(tmp_path, "--renew")


@pytest.fixture
def folder(tmp_path):
    """A folder with a CA, a server and alice."""
    run(
        tmp_path, "--host", "h.example", "--client", "alice", "--token", "alice"
    )
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_more_client_is_let_in_and_nobody_else_changes(folder):
    before = contents(folder)

    output = run(folder, "add", "bob")

    after = contents(folder)
    assert set(after) - set(before) == {
        *("client-bob.pem", "client-bob-key.pem", "token-bob.txt")
    }
    assert {n for n in before if after[n] != before[n]} == {"tokens.txt"}
    assert after["tokens.txt"].startswith(before["tokens.txt"])
    tokens = Tokens.read(folder / "tokens.txt")
    for name in ("alice", "bob"):
        token = (folder / f"token-{name}.txt").read_text().strip()
        assert tokens.who(token) == name
        assert token not in output
    load(folder / "client-bob.pem").verify_directly_issued_by(
        load(folder / "ca.pem")
    )
    for name in ("client-bob-key.pem", "token-bob.txt", "tokens.txt"):
        assert (folder / name).stat().st_mode & 0o77 == 0
    assert "grpcs://h.example:50051" in output
    assert str(folder / "token-bob.txt") in output


def test_a_certificate_or_a_token_alone_can_be_added(folder):
    run(folder, "add", "bob", "--only", "token")
    run(folder, "add", "cleo", "--only", "certificate", "--days", "7")

    assert not (folder / "client-bob.pem").exists()
    assert not (folder / "token-cleo.txt").exists()
    run(folder, "add", "bob", "--only", "certificate")
    listed = run(folder, "list").split()
    assert listed[listed.index("cleo") + 3] == "-"
    assert listed[listed.index("bob") + 3] == "yes"


def test_comments_and_tokens_by_hand_stay_where_tokens_change(folder):
    path = folder / "tokens.txt"
    text = path.read_text() + "# by hand\n\nzoe a-token-that-is-long-enough"
    path.write_text(text)

    run(folder, "add", "bob")
    run(folder, "remove", "bob")

    assert path.read_text() == text + "\n"


def test_a_name_that_is_taken_is_refused(folder):
    before = contents(folder)

    with pytest.raises(DataError, match="alice.*certificate and a token"):
        run(folder, "add", "alice")

    assert contents(folder) == before


def test_a_client_that_is_removed_has_no_token_and_no_files(folder):
    run(folder, "add", "bob")
    token = (folder / "token-bob.txt").read_text().strip()

    output = run(folder, "remove", "bob")

    assert Tokens.read(folder / "tokens.txt").who(token) is None
    assert not list(folder.glob("*bob*"))
    assert "certificate of bob is good until" in output
    with pytest.raises(DataError, match="Expected one of alice"):
        run(folder, "remove", "bob")


def test_the_last_token_is_not_removed_in_silence(folder):
    before = contents(folder)

    with pytest.raises(DataError, match="would keep its old list"):
        run(folder, "remove", "alice")

    assert contents(folder) == before


def test_a_ca_that_is_of_no_use_is_refused_before_anything_is_written(folder):
    def refused(match):
        before = contents(folder)
        with pytest.raises(DataError, match=match):
            run(folder, "add", "bob")
        assert contents(folder) == before

    key = folder / "ca-key.pem"
    key.chmod(0o640)
    refused("mode 640 of .*chmod 600")
    key.chmod(0o600)
    right = key.read_bytes()
    key.write_bytes((folder / "server-key.pem").read_bytes())
    refused("the key of another CA")
    key.unlink()
    refused("Expected ca.pem and ca-key.pem")
    key.write_bytes(right)
    key.chmod(0o600)
    (folder / "tokens.txt").write_text("alice\n")
    refused("Expected NAME TOKEN in line 1")


def test_what_was_written_of_a_failed_add_goes(folder, monkeypatch):
    before = contents(folder)
    opened = os.open

    def full(path, *arguments):
        if str(path).endswith("token-bob.txt"):
            raise OSError(28, "No space left on device")
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space"):
        run(folder, "add", "bob")
    monkeypatch.undo()

    assert contents(folder) == before


def test_options_of_certs_are_not_dropped_before_a_command(folder):
    result = CliRunner().invoke(
        certs, ["--out", str(folder), "--token", "zoe", "add", "bob"]
    )

    assert result.exit_code == 2
    assert "Expected --token with keras-split certs alone" in result.output


@pytest.mark.parametrize(
    "host", ["", "10.0.0.2:50051", "a b", "münchen.example", "[::1]", "a..b"]
)
def test_a_host_that_no_client_calls_so_is_refused(tmp_path, host):
    with pytest.raises(DataError, match="without a port"):
        run(tmp_path, "--host", host)

    assert not list(tmp_path.iterdir())


def test_names_of_hosts_may_be_longer_than_a_common_name(tmp_path):
    host = f"phones.{'a' * 60}.example"

    run(tmp_path, "--host", host, "--host", "::1")

    assert hosts_of(load(tmp_path / "server.pem")) == [host, "::1"]


def test_a_name_or_a_time_that_no_certificate_can_hold_is_refused(tmp_path):
    with pytest.raises(DataError, match="64 at most"):
        run(tmp_path, "--client", "a" * 65)
    far = CliRunner().invoke(
        certs, ["--out", str(tmp_path), "--days", "9999999"]
    )

    assert far.exit_code == 2 and "--days" in far.output
    assert not list(tmp_path.iterdir())


def test_the_folder_is_told_as_it_is(tmp_path):
    output = run(tmp_path / "certs[bold]", "--host", "a.example")

    assert str(tmp_path / "certs[bold]" / "server.pem") in output
