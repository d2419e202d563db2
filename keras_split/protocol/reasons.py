"""The reasons for which a server refuses, as programs read them.

What each means and what to do about it is in docs/on-the-phone.md.
"""

# Those that say: not now. The same message may be answered later.
LATER = frozenset({"busy", "memory", "rate", "stopping"})

REASONS = LATER | {
    "checkpoint",
    "codec",
    "cohort",
    "cut",
    "data",
    "digest",
    "fingerprint",
    "inference-only",
    "internal",
    "late",
    "learning-rate",
    "loss",
    "microbatches",
    "norm",
    "not-finite",
    "optimizer",
    "order",
    "permission",
    "protocol",
    "quantization",
    "refused",
    "session",
    "shape",
    "size",
    "snapshot",
    "state",
    "truncated",
    "unauthenticated",
    "unimplemented",
    "unreadable",
}

# Trailing metadata of a call that ends without a reply: one of them.
METADATA_KEY = "keras-split-reason"
