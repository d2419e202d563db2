"""Reasons of refusals as they are counted and logged."""

from keras_split.protocol.reasons import REASONS

OTHER = "other"


def known(reason: str) -> str:
    """The reason if the server has it, else `"other"`.

    Whoever counts by reason keeps a bounded table this way, and nothing that
    a client made up gets into a log.

    Example:
    >>> known("shape"), known("*" * 1000)
    ('shape', 'other')
    """
    return reason if reason in REASONS else OTHER
