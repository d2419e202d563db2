"""What a phone may say of itself when it joins a cohort."""

import re

from keras_split.errors import ProtocolError
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.server.cohorts.config import CohortConfig

# What is added up under masks, and what is not.
_WORDS = {"what": ("weights", "gradients"), "batchnorm": ("average", "local")}
_LAYOUT = re.compile("[0-9a-f]{64}")
_MOST = 1 << 40  # examples, of any phone
_TERMS = "Use the FederatedAveraging of keras_split."


def check(message: Enroll, config: CohortConfig) -> None:
    """Refuses a phone whose words cannot be, before anything is made of them.

    Args:
        message: Its words.
        config: Of the cohort.

    Raises:
        ProtocolError: With reason `"cohort"`, `"size"` for a half that is too
            long, or `"optimizer"`.
    """
    terms = message.terms
    for name, words in _WORDS.items():
        _check(
            getattr(terms, name) in words,
            f"{name} to be {' or '.join(words)}",
            repr(str(getattr(terms, name))[:80]),
            _TERMS,
        )
    if terms.what == "gradients":
        _check(
            terms.every == 1 and config.mode == "merged",
            "gradients to be averaged after every step of a merged cohort",
            f"every={terms.every} in a {config.mode} one",
            "Average weights, or serve --cohort merged and say every=1.",
        )
    if terms.optimizer:
        OptimizerConfig.read(terms.optimizer)
    longest = config.longest_half
    if not 0 < message.size <= longest:
        raise ProtocolError(
            f"Expected a half of 1 to {longest:,} numbers. Received: "
            f"{message.size:,}. Cut the model nearer to its input and output, "
            "or serve with a larger CohortConfig.max_half_bytes.",
            "size",
        )
    _check(
        0 <= message.averaged <= message.size,
        f"0 to {message.size:,} numbers that are averaged",
        f"{message.averaged:,}",
        _TERMS,
    )
    _check(
        _LAYOUT.fullmatch(message.layout) is not None,
        "the SHA-256 of what the numbers of a half are",
        repr(message.layout[:80]),
        _TERMS,
    )
    for name in ("examples", "capacity"):
        value = getattr(message, name)
        _check(
            0 <= value <= _MOST,
            f"{name} to be 0 to {_MOST:,}",
            f"{value:,}",
            "Say how many the phone has.",
        )


def _check(fits: bool, expected: str, received: str, advice: str) -> None:
    if not fits:
        raise ProtocolError(
            f"Expected {expected}. Received: {received}. {advice}", "cohort"
        )
