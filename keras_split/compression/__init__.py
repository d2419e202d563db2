"""How cut-layer tensors lose precision, once, and become few bytes."""

# With the room come all names that are ours, so that no other format, codec
# or preset can take one before.
from keras_split.compression import codecs as codecs
from keras_split.compression import formats as formats
from keras_split.compression import presets as presets
