"""The numbers that Keras would log: means over the batches so far."""

from keras_split.device.description import Description

Logs = dict[str, float]


class Averages:
    """Adds up batches; the logs have Keras' names.

    Args:
        description: Says which outputs count right answers.
    """

    def __init__(self, description: Description) -> None:
        outputs = description.outputs
        self._names = {
            i: "accuracy" if len(outputs) == 1 else f"{output.name}_accuracy"
            for i, output in enumerate(outputs)
            if output.accuracy
        }
        self._loss = 0.0
        self._weight = 0
        self._count = 0
        self._correct = dict.fromkeys(self._names, 0.0)

    def add(
        self, count: int, loss: float, correct: dict[int, float] | None = None
    ) -> None:
        """Adds a batch.

        Args:
            count: Its examples, by which Keras weights its loss.
            loss: Its loss.
            correct: Right answers by number of the output, at most `count`
                each; None for a step that was not taken.
        """
        self._loss += loss * count
        self._weight += count
        if correct is not None:
            self._count += count
            for i in self._correct:
                self._correct[i] += correct[i]

    def logs(self) -> Logs:
        """`loss`, `accuracy`, ... of all batches; a loss of NaN stays."""
        logs: Logs = {
            "loss": self._loss / self._weight if self._weight else 0.0
        }
        for i, name in self._names.items():
            total = self._correct[i]
            logs[name] = total / self._count if self._count else 0.0
        return logs


def line(logs: Logs) -> str:
    """Logs as people read them.

    Example:
    >>> line({"loss": 0.51234, "accuracy": 0.875})
    'loss 0.5123, accuracy 0.8750'
    """
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
