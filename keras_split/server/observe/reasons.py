"""The reasons for which a server refuses a message."""

OTHER = "other"
REASONS = frozenset(
    {
        "busy",
        "checkpoint",
        "codec",
        "cut",
        "fingerprint",
        "internal",
        "learning-rate",
        "loss",
        "memory",
        "microbatches",
        "norm",
        "not-finite",
        "optimizer",
        "order",
        "permission",
        "protocol",
        "quantization",
        "rate",
        "refused",
        "session",
        "shape",
        "size",
        "snapshot",
        "state",
        "stopping",
        "truncated",
        "unauthenticated",
        "unreadable",
    }
)


def known(reason: str) -> str:
    """The reason if the server has it, else `"other"`.

    Whoever counts by reason keeps a bounded table this way, and nothing that
    a client made up gets into a log.

    Example:
    >>> known("shape"), known("*" * 1000)
    ('shape', 'other')
    """
    return reason if reason in REASONS else OTHER
