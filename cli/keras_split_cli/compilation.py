"""What a client is trained with: its optimizer, loss and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import click
import keras

from keras_split.errors import DataError
from keras_split.training.optimizer_copy import has_schedule
from keras_split.utils import keras_private
from keras_split_cli import losses
from keras_split_cli.console import note
from keras_split_cli.label_form import LabelForm
from keras_split_cli.learning_rates import LearningRates

if TYPE_CHECKING:
    from keras_split.client.strategy import SplitStrategy
    from keras_split.models import ClientModel

_OPTIMIZER = "adam"


@dataclass(frozen=True)
class Compilation:
    """What a user asks for; None for what the client was compiled with.

    Attributes:
        optimizer: Name of an optimizer of Keras.
        learning_rate: Of the optimizer, or of each part.
        loss: Name of a loss of Keras.
        metrics: Names of metrics of Keras, between commas.
    """

    optimizer: str | None = None
    learning_rate: LearningRates | None = None
    loss: str | None = None
    metrics: str | None = None

    def compile(
        self, client: "ClientModel", strategy: "SplitStrategy", labels: Any
    ) -> LabelForm:
        """Compiles a client, and says with what.

        What was saved stays: the optimizer with its slots and its learning
        rate, the loss and the metrics, unless the user asks for others. For
        a client that is not compiled it is Adam, and what fits its output.

        Args:
            client: The phone's half.
            strategy: How to reach the server.
            labels: Of the training, as they come.

        Returns:
            The form in which the loss wants labels.

        Raises:
            click.BadParameter: If Keras has nothing of a name, or the
                learning rate follows a schedule.
            DataError: If what fits is not known.
        """
        output = None if client.tail is None else client.tail.outputs[0]
        given = keras_private.compile_config(client)
        found = [x for x in keras.tree.flatten(given.get("loss")) if x]
        if self.loss is not None:
            loss = losses.named(self.loss, output)
            given |= {"loss": loss, "loss_weights": None}
        elif found:
            loss = found[0]
        else:
            loss = losses.fitting(output, labels)
            given["loss"] = loss
        if self.metrics is not None:
            given["metrics"] = _metrics(self.metrics)
            given["weighted_metrics"] = None
        elif self.loss is not None or not (found or given.get("metrics")):
            given["metrics"] = losses.accuracy(loss)
            given["weighted_metrics"] = None
        for metric in keras.tree.flatten(
            [given.get("metrics"), given.get("weighted_metrics")]
        ):
            if isinstance(metric, keras.Metric):
                metric.reset_state()
        saved = getattr(client, "optimizer", None)
        chosen = given["optimizer"] = self._optimizer(saved)
        rates: Any = client.learning_rate_multipliers
        if self.learning_rate is not None:
            rates = self.learning_rate.given_to(
                chosen, has_tail=client.tail is not None
            )
        given.pop("jit_compile", None)
        client.compile(
            **given, strategy=strategy, learning_rate_multipliers=rates
        )
        form = losses.form(loss, output)
        changed = {
            "optimizer": self.optimizer and saved is not None,
            "learning rate": self.learning_rate and saved is not None,
            "loss": self.loss and found,
            "metrics": (self.metrics or self.loss) and found,
        }
        others = ", ".join(what for what, other in changed.items() if other)
        rate = float(client.optimizer.learning_rate)
        multiples = client.learning_rate_multipliers.get_config()
        parts = [f"{k} {v * rate:g}" for k, v in multiples.items() if v != 1]
        note(
            f"{type(client.optimizer).__name__} at a learning rate of {rate:g}"
            + (f" ({', '.join(parts)})" if parts else "")
            + f", {form.loss}"
            + (f"; not as in the file: {others}" if others else "")
        )
        return form

    def _optimizer(self, saved: Any) -> Any:
        chosen = saved
        if self.optimizer is not None or saved is None:
            name = self.optimizer or _OPTIMIZER
            try:
                chosen = keras.optimizers.get(name)
            except ValueError as error:
                raise click.BadParameter(
                    f"Expected an optimizer of Keras. Received: {name!r}.",
                    param_hint="'--optimizer'",
                ) from error
        if self.learning_rate is not None and has_schedule(chosen):
            raise click.BadParameter(
                "Expected an optimizer whose learning rate can be set. "
                f"Received: the {type(chosen).__name__} of the file, whose "
                "learning rate follows a schedule. Leave it out, or pass "
                "--optimizer for a new one.",
                param_hint="'--learning-rate'",
            )
        return chosen


def _metrics(names: str) -> Sequence[Any]:
    metrics = [name.strip() for name in names.split(",") if name.strip()]
    for name in metrics:
        try:
            # These two become what fits the output.
            if name not in ("accuracy", "crossentropy"):
                keras.metrics.get(name)
        except ValueError as error:
            raise click.BadParameter(
                "Expected names of metrics of Keras between commas. Received: "
                f"{name!r}.",
                param_hint="'--metrics'",
            ) from error
    return metrics


def check_one_image(client: "ClientModel") -> None:
    """Refuses a client that takes or gives more than a command can bring.

    Raises:
        DataError: If it has several inputs or outputs.
    """
    advice = "Train it from Python: client.fit(x, y)."
    if len(client.wiring.inputs) != 1:
        raise DataError(
            "Expected a model that takes one image. Received: the inputs "
            f"{', '.join(client.wiring.inputs)}. {advice}"
        )
    outputs = keras.tree.flatten(client.wiring.outputs)
    if len(outputs) != 1:
        raise DataError(
            "Expected a model with one output, for one label an image. "
            f"Received: the {len(outputs)} outputs "
            f"{', '.join(client.wiring.names)}. {advice}"
        )
