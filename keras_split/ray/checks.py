"""What several processes can serve, and what they cannot."""

import os
from pathlib import Path

from keras_split.errors import OptionError
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.config import ServerConfig


def check(
    config: ServerConfig, replicas: int, average_every: int | None = None
) -> None:
    """Whether several processes can serve so.

    Args:
        config: Of the server.
        replicas: How many.
        average_every: Steps from one average of bodies to the next; None for
            no averages.

    Raises:
        OptionError: If not, and why.
    """
    if replicas < 1:
        raise OptionError(
            f"Expected 1 replica or more. Received: replicas={replicas}."
        )
    if config.cohort is not None:
        _check_cohort(config.cohort, average_every)
        return
    if config.security.invites:
        raise OptionError(
            "Expected no invites with replicas to which phones are sent: "
            "these do not know the tokens that the front would give. Received: "
            "Security(invites=True). Name phones in a file (tokens), or leave "
            "it out."
        )
    if average_every is not None:
        check_every(average_every)
        _check_averages(config)
    elif config.bodies == "shared" and not config.inference_only:
        raise OptionError(
            "Expected to hear how often bodies of several replicas are "
            "averaged (--average-every), or that each phone has its own "
            "(--bodies private), or that none is trained. Received: "
            "bodies='shared', and nothing else. Say average_every=100, or "
            "serve one body from one process."
        )
    if config.checkpoints is None:
        return
    left = [
        path.name
        for path in Path(config.checkpoints).glob("replica-*")
        if not path.name.removeprefix("replica-").isdecimal()
        or int(path.name.removeprefix("replica-")) >= replicas
    ]
    if left:
        raise OptionError(
            "Expected as many replicas as the checkpoints are of. Received: "
            f"replicas={replicas}, and {', '.join(sorted(left))} in "
            f"{os.fspath(config.checkpoints)!r}, whose sessions nobody would "
            "have. Ask for as many, or move those folders away."
        )


def check_every(every: int) -> None:
    """Whether bodies can be averaged after so many steps.

    Raises:
        OptionError: If not, and what to do instead.
    """
    if every == 1:
        raise OptionError(
            "Expected 2 steps or more from one average to the next. Received: "
            "1. To take every step with the gradients of all phones, leave it "
            "out and serve a merged cohort: --cohort merged."
        )
    if every < 1:
        raise OptionError(
            "Expected 2 steps or more from one average to the next. Received: "
            f"average_every={every}."
        )


def _check_cohort(cohort: CohortConfig, average_every: int | None) -> None:
    if cohort.mode != "merged":
        raise OptionError(
            "Expected a merged cohort, whose steps several processes can "
            f"share. Received: a {cohort.mode} cohort. Serve it from one "
            "process."
        )
    if average_every is not None:
        raise OptionError(
            "Expected no average_every with a cohort: each step of a merged "
            "one is taken by all replicas together. Received: both. Leave one "
            "of them out."
        )


def _check_averages(config: ServerConfig) -> None:
    if config.inference_only or config.bodies != "shared":
        raise OptionError(
            "Expected replicas whose phones train one body, to average "
            "bodies. Received: average_every and "
            + (
                "inference_only."
                if config.inference_only
                else f"bodies={config.bodies!r}."
            )
            + " Leave one of them out."
        )
