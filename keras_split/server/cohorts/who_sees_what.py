"""What phones are told of who sees their halves."""

from keras_split.server.cohorts.config import FEWEST_SECURE
from keras_split.server.cohorts.config import CohortConfig


def notice(config: CohortConfig | None) -> str:
    """What is to be said at `Hello`; empty if there is no cohort.

    Example:
    >>> notice(CohortConfig("shared", phones=3))
    "This server trains one model with 3 phones (shared). Halves are added ..."
    """
    if config is None:
        return ""
    if config.mode == "personal":
        return (
            "The phones of this server train one body, and each keeps a half "
            "of its own on purpose (personal)."
        )
    return " ".join(
        [
            f"This server trains one model with {config.phones} phones "
            f"({config.mode}).",
            _halves(config),
            *(
                ["Each phone may turn the body back under all."]
                if config.allow_restore
                else []
            ),
        ]
    )


def _halves(config: CohortConfig) -> str:
    if config.secure:
        return (
            "Halves are added up under masks: the server sees the average, "
            "and no single phone's half."
        )
    why = (
        f" (with fewer than {FEWEST_SECURE} phones a mask would hide nothing)"
        if config.phones < FEWEST_SECURE
        else ""
    )
    return f"Halves are averaged in plain: the server sees each phone's{why}."
