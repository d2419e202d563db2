"""ChaCha: the published vectors, and the same words in LiteRT."""

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_split.defenses.chacha import blocks
from keras_split.defenses.chacha import high_bits
from keras_split.defenses.chacha import key_of
from keras_split.litert.convert import convert

RFC_KEY = np.frombuffer(bytes(range(32)), "<i4")


def test_it_is_the_block_function_of_rfc_8439():
    nonce = bytes.fromhex("01000000000000090000004a00000000")  # section 2.3.2
    places = tf.constant(np.frombuffer(nonce, "<i4").reshape(4, 1))

    made = blocks(RFC_KEY, places, rounds=20).numpy()

    expected = (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )
    assert made.tobytes().hex() == expected


def test_eight_rounds_give_what_others_publish():
    # Test vector of ChaCha8 with a key and a nonce of zeros: estream's.
    made = blocks(np.zeros(8, np.int32), tf.zeros((4, 1), tf.int32)).numpy()

    assert made.tobytes().hex().startswith("3e00ef2f895f40d67f5bb8e81f09a5a1")


def test_the_highest_bits_are_counted_from_zero():
    words = tf.constant([-1, 0x7FFFFFFF, 1 << 20, 0])

    assert high_bits(words, 12).numpy().tolist() == [4095, 2047, 1, 0]


def test_litert_makes_the_same_words_and_stores_no_block():
    places = np.arange(4000, dtype=np.int32).reshape(4, 1000) * 77_777_777

    def words(nonce):
        return {"words": blocks(key_of("7"), nonce)}

    specs = {"nonce": tf.TensorSpec(places.shape, tf.int32)}
    content = convert(tf.Module(), {"draw": (words, specs)}, {})
    runner = Interpreter(model_content=content).get_signature_runner("draw")

    expected = words(tf.constant(places))["words"]
    np.testing.assert_array_equal(runner(nonce=places)["words"], expected)
    assert len(content) < 80_000
