"""A picture of accuracy by round, and by bytes."""

import os
from collections.abc import Sequence
from typing import Any

from keras_split.errors import DataError
from keras_split.evaluation.plot import require_plots
from keras_split.federation.result import SimulationResult


def plot(
    results: Sequence[SimulationResult], path: str | os.PathLike[str]
) -> None:
    """Draws the accuracy of simulations by round and by bytes, side by side.

    Args:
        results: One line each.
        path: Of the picture; its suffix says the format, such as .png.

    Raises:
        BackendError: If matplotlib is not installed.
        DataError: If there is no such format.
    """
    made = figure(results)
    try:
        made.savefig(path, dpi=150)
    except ValueError as error:
        raise DataError(
            "Expected a picture's file name, such as phones.png. Received: "
            f"{os.fspath(path)!r} ({error})."
        ) from error


def figure(results: Sequence[SimulationResult]) -> Any:
    """The same picture as a figure of matplotlib.

    Args:
        results: One line each.

    Raises:
        BackendError: If matplotlib is not installed.
    """
    require_plots()
    from matplotlib.figure import Figure

    made = Figure(figsize=(11, 4.5), layout="constrained")
    by_round, by_bytes = made.subplots(1, 2, sharey=True)
    for result in results:
        rounds = result.scored
        accuracy = [one.accuracy for one in rounds]
        numbers = [one.number for one in rounds]
        megabytes = [
            (one.uplink_bytes + one.downlink_bytes) / 1e6 for one in rounds
        ]
        (line,) = by_round.plot(numbers, accuracy, label=result.name)
        if megabytes and megabytes[0] > 0:
            by_bytes.plot(megabytes, accuracy, color=line.get_color())
    by_round.set_xlabel("round")
    by_round.set_ylabel("accuracy on the test data")
    by_round.legend()
    by_bytes.set_xlabel("MB sent and received, by all phones")
    by_bytes.set_xscale("log")
    for axes in (by_round, by_bytes):
        axes.grid(alpha=0.3)
    return made
