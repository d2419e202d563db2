"""What stands between a half and its quantization, so that it tells less."""

from keras_split.defenses.chain import Chain as Chain
from keras_split.defenses.defense import Defense as Defense
from keras_split.defenses.defense import Identity as Identity
from keras_split.defenses.defense import get as get
from keras_split.defenses.defense import register as register
from keras_split.defenses.key import Key as Key
from keras_split.defenses.key import coarse as coarse
from keras_split.defenses.noise import GaussianNoise as GaussianNoise

__all__ = [
    "Chain",
    "Defense",
    "GaussianNoise",
    "Identity",
    "Key",
    "coarse",
    "get",
    "register",
]
