"""What stands between a half and its quantization, so that it tells less."""

from keras_split.defenses.accountant import Accountant as Accountant
from keras_split.defenses.chain import Chain as Chain
from keras_split.defenses.clip import Clip as Clip
from keras_split.defenses.defense import Defense as Defense
from keras_split.defenses.defense import Identity as Identity
from keras_split.defenses.defense import get as get
from keras_split.defenses.defense import known as known
from keras_split.defenses.defense import register as register
from keras_split.defenses.epsilon import Epsilon as Epsilon
from keras_split.defenses.epsilon import epsilons as epsilons
from keras_split.defenses.gaussian_mechanism import (
    GaussianMechanism as GaussianMechanism,
)
from keras_split.defenses.gradient_noise import GradientNoise as GradientNoise
from keras_split.defenses.key import Key as Key
from keras_split.defenses.key import coarse as coarse
from keras_split.defenses.laplace_mechanism import (
    LaplaceMechanism as LaplaceMechanism,
)
from keras_split.defenses.max_norm import MaxNorm as MaxNorm
from keras_split.defenses.noise import GaussianNoise as GaussianNoise
from keras_split.defenses.nopeek import NoPeek as NoPeek
from keras_split.defenses.privacy_budget import PrivacyBudget as PrivacyBudget
from keras_split.defenses.randomized_response import (
    RandomizedResponse as RandomizedResponse,
)
from keras_split.defenses.release import Release as Release
from keras_split.defenses.sign import Sign as Sign

__all__ = [
    "Accountant",
    "Chain",
    "Clip",
    "Defense",
    "Epsilon",
    "GaussianMechanism",
    "GaussianNoise",
    "GradientNoise",
    "Identity",
    "Key",
    "LaplaceMechanism",
    "MaxNorm",
    "NoPeek",
    "PrivacyBudget",
    "RandomizedResponse",
    "Release",
    "Sign",
    "coarse",
    "epsilons",
    "get",
    "known",
    "register",
]
