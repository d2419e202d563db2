import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

from keras_split.aggregation import masks
from keras_split.errors import ProtocolError

SALT = bytes(range(32))
# RFC 7748, section 6.1: Bob's private key, Alice's public one.
BOB = bytes.fromhex(
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
)
ALICE = bytes.fromhex(
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
)
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def stream(key, dtype, size):
    zeros = np.zeros(size, dtype)
    masks.add_stream(zeros, key)
    return zeros


def test_two_members_agree_as_the_standard_says():
    assert masks.agree(BOB, ALICE).hex() == SHARED
    assert masks.public_key(BOB).hex().startswith("de9edb7d7b7dc1b4d35b61c2")


def test_keys_and_masks_are_the_same_bytes_in_another_library():
    key = masks.pair_key(BOB, ALICE, SALT, 3, 258)

    info = b"keras_split pair mask" + bytes([0, 0, 0, 3, 0, 0, 1, 2])
    shared = bytes.fromhex(SHARED)
    assert key == HKDF(shared, 32, SALT, SHA256, context=info)
    cipher = AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=0)
    expected = np.frombuffer(cipher.encrypt(bytes(80)), "<u8")
    assert (stream(key, "uint64", 10) == expected).all()


def test_known_masks_for_phones_in_other_languages():
    key = masks.self_key(bytes(range(16)), SALT, 7)

    assert key.hex() == (
        "81a3b10ff818c98cbab006290a22e4a07d66fc622552add3e7dcbd860356d1c6"
    )
    assert [f"{n:08x}" for n in stream(key, "uint32", 2)] == [
        "e6aa8f52",
        "cc025dcc",
    ]
    assert f"{stream(key, 'uint64', 1)[0]:016x}" == "cc025dcce6aa8f52"


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("size", [1, 3, 70_001, 200_000])
def test_a_mask_is_one_stream_however_long_and_comes_off_again(dtype, size):
    vector = np.arange(size, dtype=dtype)
    key = bytes(32)

    masks.add_stream(vector, key)
    masked = vector.copy()
    masks.add_stream(vector, key, subtract=True)

    cipher = AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=0)
    nbytes = vector.nbytes
    expected = np.frombuffer(cipher.encrypt(bytes(nbytes)), dtype)
    assert (masked == np.arange(size, dtype=dtype) + expected).all()
    assert (vector == np.arange(size, dtype=dtype)).all()


def test_keys_differ_by_purpose_member_and_roster():
    keys = {
        masks.pair_key(BOB, ALICE, SALT, 3, 4),
        masks.pair_key(BOB, ALICE, SALT, 3, 5),
        masks.pair_key(BOB, ALICE, bytes(32), 3, 4),
        masks.self_key(bytes.fromhex(SHARED), SALT, 3),
        masks.derive(bytes.fromhex(SHARED), SALT, "keras_split seal", 3, 4),
    }

    assert len(keys) == 5


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32)])
def test_what_is_no_public_key_is_refused(key):
    with pytest.raises(ProtocolError, match="Expected a public X25519 key"):
        masks.agree(BOB, key)
