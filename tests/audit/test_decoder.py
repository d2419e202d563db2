import numpy as np
import pytest

from keras_split.audit.critic import make_critic
from keras_split.audit.decoder import make_decoder

SMASHED = [
    [(14, 14, 16)],
    [(7, 7, 4), (14, 14, 3)],
    [(6, 6, 4)],
    [(28, 28, 2)],
    [(40, 40, 2)],
    [(50,)],
    [(17, 6)],
    [(12, 6), (5, 5, 2), (9,)],
    [(1, 1, 8)],
]


@pytest.mark.parametrize(
    ("smashed", "example"),
    [(shapes, (28, 28, 1)) for shapes in SMASHED]
    + [(SMASHED[7], example) for example in [(20, 33, 2), (11, 3), (4,)]],
)
def test_any_smashed_data_are_decoded_to_any_input(smashed, example):
    decoder = make_decoder(smashed, example, (-2.0, 3.0))
    tensors = [np.ones((2, *shape), "float32") for shape in smashed]

    made = decoder(tensors, training=False)

    assert made.shape == (2, *example)


def test_images_stay_in_their_range():
    decoder = make_decoder([(4, 4, 2)], (8, 8, 1), (-2.0, 3.0))
    tensor = 1e6 * np.random.default_rng(0).normal(size=(9, 4, 4, 2))

    made = np.asarray(decoder([tensor.astype("float32")], training=False))

    assert made.min() >= -2 and made.max() <= 3 and made.std() > 0.5


@pytest.mark.parametrize("shapes", SMASHED)
def test_a_critic_says_one_number_of_any_smashed_data(shapes):
    tensors = [np.ones((2, *shape), "float32") for shape in shapes]

    assert make_critic(shapes, 8)(tensors).shape == (2, 1)
