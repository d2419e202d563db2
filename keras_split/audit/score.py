"""How good a defense is, in one number for attack and accuracy together."""

import math
from collections.abc import Mapping
from collections.abc import Sequence

from keras_split.errors import DataError


def defense_score(
    attack: float,
    accuracy: float,
    undefended: float,
    *,
    ideal_attack: float = 0.0,
    weight: float = 0.5,
) -> float:
    """The Defense Capability Score (DCS) of a defense against one attack.

    Zou et al. 2024, "VFLAIR" (ICLR; arXiv 2310.09827), and VFLAIR-LLM (arXiv
    2508.03097), "Metrics": `1 / (1 + D)` with
    `D = sqrt((1 - b) (AP - AP*)^2 + b (MP - MP*)^2)`, from the ideal defense,
    behind which the attack gets `AP*` and the model loses nothing, `MP*` its
    accuracy without a defense. As in their code, `b` is 0.5, `AP*` is 0, and
    what is better than ideal is ideal.

    It is 1 for the ideal defense. No defense against an attack that gets all
    has 0.586, and so a defense below that was not worth it; the worst there
    is, all found and nothing learned, has 0.5. Their `AP*` of 0 stands even
    where chance is more: against labels of ten classes 0.934 is chance.

    Args:
        attack: What the attack gets, up to 1 (`AP`): the part of labels that
            it found, or the SSIM of its images. Below 0 counts as 0.
        accuracy: Of the model with the defense, 0 to 1 (`MP`).
        undefended: Of the model without (`MP*`).
        ideal_attack: What is left to the attack at best (`AP*`).
        weight: Of the accuracy (`b`), 0 to 1.

    Returns:
        The score, at least 0.5 and at most 1.

    Raises:
        DataError: If one of them is out of its range.

    Example:
    >>> round(defense_score(attack=0.1, accuracy=0.9, undefended=0.9), 3)
    0.934
    """
    given = {
        "attack": max(attack, 0.0),  # an SSIM may be less
        "accuracy": accuracy,
        "undefended": undefended,
        "ideal_attack": ideal_attack,
        "weight": weight,
    }
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise DataError(
                f"Expected {name} to be from 0 to 1. Received: "
                f"{name}={value!r}. Divide what is in % by 100."
            )
    leaked = max(attack - ideal_attack, 0.0)
    lost = max(undefended - accuracy, 0.0)
    distance = math.sqrt((1 - weight) * leaked**2 + weight * lost**2)
    return 1 / (1 + distance)


def overall_score(scores: Mapping[str, Sequence[float]]) -> float:
    """The score of a defense against all kinds of attacks (C-DCS).

    The mean over the kinds of the mean over the attacks of each (T-DCS), with
    equal weights, as in their code.

    Args:
        scores: What `defense_score` says, by kind of attack, such as
            `"labels"` and `"images"`. A kind without an attack is left out.

    Returns:
        The score, at least 0.5 and at most 1.

    Raises:
        DataError: If there is no score.

    Example:
    >>> overall_score({"labels": [0.6, 0.8], "images": [0.9]})
    0.8
    """
    means = [sum(kind) / len(kind) for kind in scores.values() if kind]
    if not means:
        raise DataError(
            "Expected the score of one attack at least. Received: none. Run "
            "one attack."
        )
    return sum(means) / len(means)
