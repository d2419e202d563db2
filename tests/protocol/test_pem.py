import pytest
from cryptography.hazmat.primitives import serialization

from keras_split.errors import DataError
from keras_split.protocol.pem import check_files


def test_files_that_belong_together_are_fine(pki):
    check_files(pki.server, pki.server_key, pki.ca)


def test_a_key_with_a_password_is_an_error_and_asks_nobody(pki, tmp_path):
    key = serialization.load_pem_private_key(pki.server_key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(DataError, match="the key is encrypted"):
        check_files(pki.server, locked, None)


def test_the_files_are_named(pki):
    with pytest.raises(DataError) as info:
        check_files(pki.server, pki.client_key, pki.ca)

    named = f"{pki.server}, {pki.client_key}, {pki.ca} (KEY_VALUES_MISMATCH)"
    assert f"Received: {named}." in str(info.value)
