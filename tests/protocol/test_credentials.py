import pytest

from keras_split.errors import DataError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.credentials import loading_from


def test_a_config_makes_the_same_again(tmp_path):
    one = Credentials(
        tmp_path / "ca.pem", "cert.pem", "key.pem", "token", "split.example"
    )

    other = Credentials.from_config(one.get_config())

    assert other == one
    assert one.get_config()["ca_file"] == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    "given, there, missing",
    [
        ({"cert_file": "c.pem"}, "certificate c.pem", "private key"),
        ({"key_file": "k.pem"}, "private key k.pem", "certificate"),
    ],
)
def test_a_certificate_and_its_key_come_together(given, there, missing):
    with pytest.raises(DataError) as info:
        Credentials(**given)

    assert str(info.value) == (
        "Expected a certificate and its private key. Received: the "
        f"{there} alone. Give the file with the {missing}, too."
    )


def test_nothing_is_read_before_it_is_needed():
    config = Credentials("no-ca", "no-cert", "no-key", "no-token").get_config()

    assert config["token_file"].endswith("no-token")


@pytest.mark.parametrize("read", ["ca", "certificate", "token"])
def test_a_missing_file_is_named(read):
    credentials = Credentials("nowhere", "nowhere", "nowhere", "nowhere")

    with pytest.raises(
        DataError, match=r"in the file \S+nowhere. Received: No"
    ):
        getattr(credentials, read)()


def test_what_is_not_given_is_none():
    credentials = Credentials()

    assert credentials.ca() is None
    assert credentials.certificate() is None
    assert credentials.token() is None


def test_a_token_is_read_without_the_space_around_it(tmp_path):
    path = tmp_path / "token"
    path.write_text("  a-token-of-alice \n\n")

    assert Credentials(token_file=path).token() == "a-token-of-alice"


@pytest.mark.parametrize(
    "content, received",
    [
        ("", "an empty file"),
        (" \n\t", "an empty file"),
        ("alice s3cr3t-of-alice", "other text"),
        ("s3cr3t\nand more", "other text"),
        ("s3cr3t-é", "other text"),
    ],
)
def test_a_file_that_holds_no_token_is_refused_and_not_shown(
    tmp_path, content, received
):
    path = tmp_path / "token"
    path.write_text(content)

    with pytest.raises(DataError) as info:
        Credentials(token_file=path).token()

    assert str(info.value) == (
        f"Expected one token in {path}. Received: {received}. Write the token "
        "alone into it, as the server's owner gave it to you."
    )


def test_the_token_is_not_shown(tmp_path):
    path = tmp_path / "token"
    path.write_text("s3cr3t-s3cr3t")
    credentials = Credentials(token_file=path)
    credentials.token()

    assert "s3cr3t" not in repr(credentials) + str(credentials.get_config())


def test_files_are_found_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("a-token-of-alice")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    made = Credentials(token_file="token")
    config = made.get_config()

    monkeypatch.chdir(tmp_path / "elsewhere")

    assert made.token() == "a-token-of-alice"
    assert Credentials.from_config(config).token() == "a-token-of-alice"


def test_what_a_file_of_before_names_is_looked_for_beside_it(
    tmp_path, monkeypatch
):
    (tmp_path / "token").write_text("a-token-of-alice")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = {"ca_file": "nowhere.pem", "token_file": "token"}

    with loading_from(tmp_path):
        loaded = Credentials.from_config(config)

    assert loaded.token() == "a-token-of-alice"
    with pytest.raises(DataError, match="strategy with other credentials"):
        loaded.ca()
    assert Credentials.from_config(config).token_file == str(
        tmp_path / "elsewhere" / "token"
    )
