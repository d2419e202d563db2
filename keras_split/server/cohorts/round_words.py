"""What phones are told of rounds."""

from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Refusal


def alone(fewest: int) -> Refusal:
    """What a phone is told that waits for others in vain."""
    return Refusal(
        "cohort",
        f"Expected {fewest} phones or more in a round, whose sum tells of "
        "none. Received: fewer, since the others have ended or are gone. What "
        "was averaged so far is in this phone's half. Train as many steps on "
        "all phones, or serve with --plain-aggregation.",
    )


def late(round: int, now: int) -> ProtocolError:
    """The error of a contribution to a round that is over."""
    return ProtocolError(
        f"Expected a contribution to round {now}. Received: one to round "
        f"{round}, which is over. Ask for the next.",
        "late",
    )
