"""How simulated phones may train: what the command line knows without Keras."""

from keras_split.protocol.cohort import MODES

# What modes are compared with.
BASELINES = ("centralized", "fedavg")
# Those of a server's cohort, and classic split learning, which none serves.
SIMULATED = (*MODES, "relay", *BASELINES)
# Those whose phones do not wait for each other in a round.
APART = ("private", "fedavg")
