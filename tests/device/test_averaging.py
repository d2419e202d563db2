import pytest

from keras_split.device import FederatedAveraging
from keras_split.errors import OptionError
from keras_split.protocol.cohort import AveragingTerms


def test_its_terms_are_those_of_a_keras_client():
    assert FederatedAveraging().terms == AveragingTerms()
    assert FederatedAveraging(4, batchnorm="local").terms == AveragingTerms(
        4, batchnorm="local"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"every": 0},
        {"every": True},
        {"every": "step"},
        {"batchnorm": "none"},
        {"what": "gradients"},
        {"examples": 0},
    ],
)
def test_what_cannot_be_is_refused(given):
    name, value = next(iter(given.items()))
    with pytest.raises(OptionError, match=f"{name}.*{value}"):
        FederatedAveraging(**given)


def test_gradients_are_refused_with_what_to_do():
    with pytest.raises(OptionError, match="--averaged weights"):
        FederatedAveraging(1, what="gradients")
