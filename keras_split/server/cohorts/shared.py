"""One body that phones train in turns: SplitFed v2."""

from keras_split.server.cohorts.in_rounds import InRounds


class Shared(InRounds):
    """Phones train one body in turns, and average their halves in rounds.

    Thapa et al., SplitFed: When Federated Learning Meets Split Learning, AAAI
    2022, version 2, with the steps of all phones mixed as they come.
    """
