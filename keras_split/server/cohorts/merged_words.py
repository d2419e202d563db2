"""What phones of a merged cohort may say, and what they are told of it."""

from collections.abc import Mapping
from dataclasses import replace

from keras_split.errors import OptionError
from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.cohort_messages import GIVE_FIRST
from keras_split.protocol.cohort_messages import NO_STEP
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import Share
from keras_split.protocol.contract import Contract

_MOST_LEFT = 1 << 40  # examples of one phone


def mergeable(contract: Contract) -> None:
    """Refuses a model whose steps cannot be merged.

    Raises:
        OptionError: If it is such a one.
    """
    if contract.labels_on_server:
        raise OptionError(
            "Expected a model that is cut twice, for phones whose steps are "
            "merged. Received: one that is cut once. Cut it twice, or serve "
            "with --cohort shared."
        )
    if contract.buckets:
        raise OptionError(
            "Expected sequences of one length, for phones whose steps are "
            "merged into one batch. Received: a model with lengths="
            f"{list(contract.lengths)}. Compile with one, "
            "keras_split.fix_length(model, length), or serve with --cohort "
            "shared."
        )
    rules = contract.quantization
    for rule in (rules.activations, rules.gradients):
        if rule.has_scales and rule.granularity != "example":
            raise OptionError(
                "Expected a scale for each example, or floats, for phones "
                "whose steps are merged: what several have rounded with "
                "scales of their own is no tensor with one. Received: "
                f"granularity={rule.granularity!r}. Compile with "
                "granularity='example'."
            )


def asked(message: AskShare) -> None:
    """Refuses what no phone has left.

    Raises:
        ProtocolError: With reason `"cohort"`.
    """
    for name in ("left", "epoch", "seen"):
        value = getattr(message, name)
        if not 0 <= value <= _MOST_LEFT:
            raise ProtocolError(
                f"Expected {name} from 0 to {_MOST_LEFT:,}. Received: "
                f"{value:,}.",
                "cohort",
            )


def give_first(version: int) -> Share:
    """What a phone is told whose half others need for the next step."""
    return Share(GIVE_FIRST, 0, version=version, give_half=True)


def epoch_over(message: AskShare) -> Share:
    """What ends the epoch of a phone."""
    return Share(NO_STEP, 0, version=message.version)


def epoch_ends(asked: Mapping[int, AskShare], kept: int) -> dict[int, Share]:
    """What ends the epoch of all phones.

    Args:
        asked: What they said, by member.
        kept: Version of the half that the server has. If phones have a newer
            one, which they do where gradients are averaged, one gives it.
    """
    replies = {number: epoch_over(said) for number, said in asked.items()}
    ahead = [n for n, said in asked.items() if said.version > kept]
    if ahead:
        giver = max(ahead, key=lambda n: (asked[n].version, -n))
        replies[giver] = replace(replies[giver], give_half=True)
    return replies


def check_told(merged: MergedStep, told: Share | None) -> None:
    """Refuses a share that is not what its phone was told.

    Raises:
        ProtocolError: With reason `"cohort"`.
    """
    if told is None or not told.count:
        return  # who was not asked is late
    if (merged.count, tuple(merged.members)) != (
        told.count,
        tuple(told.members),
    ):
        raise ProtocolError(
            f"Expected a share of {told.count} examples, among members "
            f"{list(told.members)[:64]}. Received: one of {merged.count}, "
            f"among {list(merged.members)[:64]}. Send back what Share said.",
            "cohort",
        )


def late(step: int, next_step: int) -> ProtocolError:
    """The error of a share whose step went on without it."""
    return ProtocolError(
        f"Expected a share of step {next_step} of the cohort. Received: one of "
        f"step {step}, which went on without it. Ask for the next.",
        "late",
    )
