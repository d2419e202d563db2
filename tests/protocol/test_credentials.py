import pytest

from keras_split.errors import DataError
from keras_split.protocol.credentials import Credentials


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

    assert config["token_file"] == "no-token"


@pytest.mark.parametrize("read", ["ca", "certificate", "token"])
def test_a_missing_file_is_named(read):
    credentials = Credentials("nowhere", "nowhere", "nowhere", "nowhere")

    with pytest.raises(DataError, match="in the file nowhere. Received: No"):
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
