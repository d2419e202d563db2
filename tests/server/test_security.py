import pytest

from keras_split.errors import DataError
from keras_split.server.security import Security


def test_a_key_of_another_certificate_is_an_error(pki):
    security = Security(pki.server, pki.client_key)

    with pytest.raises(DataError, match="its own private key") as info:
        security.read_certificates()

    assert "PRIVATE KEY-" not in str(info.value)


def test_a_certificate_without_its_key_is_an_error(pki):
    with pytest.raises(DataError) as info:
        Security(tls_cert=pki.server)

    assert str(info.value) == (
        "Expected a certificate and its private key. Received: the "
        f"certificate {pki.server} alone. Give the file with the private "
        "key, too."
    )


def test_a_missing_file_is_named(pki):
    security = Security(pki.server, "nowhere.pem")

    with pytest.raises(DataError) as info:
        security.read_certificates()

    assert str(info.value) == (
        "Expected the server's private key in the file nowhere.pem. "
        "Received: No such file or directory. Look at the path and at who "
        "may read it."
    )


def test_a_file_that_is_no_certificate_is_an_error(pki, tmp_path):
    (tmp_path / "text").write_text("hello")
    security = Security(pki.server, pki.server_key, tmp_path / "text")

    with pytest.raises(DataError, match="Expected PEM files"):
        security.read_certificates()


def test_a_client_ca_without_tls_is_an_error(pki):
    with pytest.raises(DataError, match="Expected TLS, for clients show"):
        Security(client_ca=pki.ca)


def test_the_files_are_read_as_they_are(pki):
    alone = Security(pki.server, pki.server_key).read_certificates()
    mutual = Security(pki.server, pki.server_key, pki.ca).read_certificates()

    assert alone == (
        pki.server.read_bytes(),
        pki.server_key.read_bytes(),
        None,
    )
    assert mutual.client_ca == pki.ca.read_bytes()
    assert Security().read_certificates() is None
