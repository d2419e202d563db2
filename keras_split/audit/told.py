"""The few labels that an attack is told."""

from keras_split.errors import DataError


def check_told(labels: dict[int, int], examples: int) -> None:
    """Checks that there are labels, and that they are of these examples.

    Args:
        labels: What was told, by place among the examples.
        examples: How many there are.

    Raises:
        DataError: If not.
    """
    if not labels:
        raise DataError(
            "Expected a few labels of the examples. Received: none. Hand "
            "end() what leak() returned for this attack, then guess()."
        )
    places = [*labels]
    if min(places) < 0 or max(places) >= examples:
        raise DataError(
            f"Expected labels of the {examples} examples to guess. Received: "
            f"one of example {max(places)}. leak() tells those of the steps "
            "that it was given: guess the same."
        )
