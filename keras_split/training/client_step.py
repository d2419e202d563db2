"""The phone's half: head and tail as one graph round two exchanges.

One training step is one graph: head forward, the exchange of smashed data
for features, tail forward and backward, the exchange of gradients, head
backward. The exchanges are host callbacks. Variables are read at the start
and assigned at the end, so a step whose server fails leaves no trace.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.compression.cut import client_cuts
from keras_split.defenses.chain import Chain
from keras_split.defenses.chain import Moment
from keras_split.errors import DefenseError
from keras_split.errors import OptionError
from keras_split.protocol.contract import Contract
from keras_split.training.client_passes import ClientPasses
from keras_split.training.client_passes import loss_scale
from keras_split.training.crossed_step import CrossedStep
from keras_split.training.exchange import Exchange
from keras_split.training.exchanges import Exchanges
from keras_split.training.gradients import add
from keras_split.training.graph_checks import total
from keras_split.training.host_calls import HostCalls
from keras_split.training.rate_multipliers import RateMultipliers
from keras_split.training.remote_body import RemoteBody
from keras_split.training.state_scope import Updates
from keras_split.utils import keras_private


class Step(NamedTuple):
    """What came out of a training step, before anything is committed.

    Attributes:
        outputs: The model's outputs, flat.
        loss: The loss to log, the body's penalty included.
        gradients: One for each trainable variable; None where none flows.
        updates: New values of statistics, seeds and metrics.
        ready: What a commit must wait for: the server has made its step, and
            gradients and updates are finite.
        crossed: What crossed the cut; None where messages carried it.
    """

    outputs: list[tf.Tensor]
    loss: tf.Tensor
    gradients: list[tf.Tensor | None]
    updates: Updates
    ready: Any
    crossed: CrossedStep | None = None

    def commit(self, model: Any) -> None:
        """Updates head and tail, when the step may be committed.

        Args:
            model: A `keras_split.ClientModel`.
        """
        variables = model.trainable_variables
        rates = multipliers_of(model)
        with tf.control_dependencies([self.ready]):
            for variable, value in self.updates:
                variable.assign(value)
            if variables:
                pairs = zip(self.gradients, variables, strict=True)
                with rates.applied(model.optimizer, model.head, model.tail):
                    model.optimizer.apply_gradients(pairs)
            else:
                # Keras counts no step without weights; but schedules and what
                # is drawn go by that number.
                keras_private.steps_taken(model.optimizer).assign_add(1)


class ClientHalf:
    """Runs head and tail of a client model.

    Args:
        head: The head as a functional model.
        tail: The tail; None for a model that is cut once.
        contract: What they were cut with.
        skips: How many outputs of the head, behind the smashed data or among
            them, go to the tail: their positions in the head's outputs.
        strategy: Gives what speaks with the server, for each message anew.
        defenses: What is done to tensors before they are sent.
        shared: Positions in the head's inputs of those that are shared.
        calls: Of another half in whose place this one may be.

    Attributes:
        cuts: The tensors that cross.

    Raises:
        DefenseError: If one is for gradients that are not sent.
    """

    def __init__(
        self,
        head: keras.Model,
        tail: keras.Model | None,
        contract: Contract,
        skips: Sequence[int],
        strategy: Callable[[], Exchange],
        defenses: Chain | None = None,
        shared: Sequence[int] = (),
        calls: HostCalls | None = None,
    ) -> None:
        defenses = self._defenses = defenses or Chain()
        if tail is None:
            _check_sent(defenses)
        smashed, features = contract.smashed, contract.features
        arriving = tail.inputs[: len(features)] if tail is not None else []
        self.cuts = client_cuts(
            smashed,
            features,
            contract.quantization,
            leaves=[t.dtype for t in head.outputs[: len(smashed)]],
            arrives=[t.dtype for t in arriving],
            defenses=defenses,
            shared=contract.shared,
        )
        self._passes = ClientPasses(
            head, tail, self.cuts, skips, contract.fused_batchnorm, shared
        )
        self._exchanges = Exchanges(self.cuts, strategy, calls)

    @property
    def calls(self) -> HostCalls:
        """Calls Python in the middle of its graphs."""
        return self._exchanges.calls

    def infer(
        self,
        head_inputs: list[tf.Tensor],
        tail_inputs: list[tf.Tensor],
        body: RemoteBody | None = None,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The model's outputs in inference mode, and the body's penalty.

        Args:
            head_inputs: Inputs of the head.
            tail_inputs: Raw inputs that only the tail reads.
            body: Where the body is; by default the strategy is called in the
                middle of the graph.
        """
        body = body or self._exchanges
        smashed, skips, shared = self._passes.infer_head(head_inputs)

        @tf.custom_gradient
        def cross(*smashed: tf.Tensor) -> tuple[list[tf.Tensor], Any]:
            """Penalty and features in inference mode, and no way back."""
            sent = self.cuts.smashed.quantize(smashed) + shared
            penalty, *parts = body.infer(sent)
            features = self.cuts.features.dequantize(parts)
            return [penalty, *features], _no_way_back

        penalty, *features = cross(*smashed)
        return self._passes.infer_tail(features, skips, tail_inputs), penalty

    def train(
        self,
        head_inputs: list[tf.Tensor],
        tail_inputs: list[tf.Tensor],
        model: keras.Model,
        compute_loss: Callable[[list[tf.Tensor]], tf.Tensor],
        body: RemoteBody | None = None,
    ) -> Step:
        """One step of a model that is cut twice.

        Args:
            head_inputs: Inputs of the head.
            tail_inputs: Raw inputs that only the tail reads.
            model: Owns variables, metrics and optimizer.
            compute_loss: Loss of the model's outputs, the regularizers of
                head and tail included.
            body: Where the body is; by default the strategy is called in the
                middle of the graph.
        """
        optimizer, passes = model.optimizer, self._passes
        moment = Moment(keras_private.steps_taken(optimizer))
        values = values_of(model)
        head = passes.run_head(head_inputs, model, values, moment)
        forward = (body or self._exchanges).forward(
            head.sent, passes.head_trains
        )
        tail = passes.run_tail(
            *(head, forward.parts, tail_inputs, compute_loss),
            *(optimizer, values, moment),
        )
        rate = multipliers_of(model).of_body(optimizer)
        backward = forward.backward(rate, tail.loss, tail.sent)
        head_grads = passes.head_gradients(
            head, backward.parts, tail.head_grads, values, optimizer
        )
        gradients = [
            add(a, b)
            for a, b in zip(head_grads, tail.weights_grad, strict=True)
        ]
        logged = tf.cast(tail.loss, tf.float32) + forward.penalty
        updates = head.scope.updates()
        ready = backward.commit(step_total(model, gradients, updates))
        crossed = CrossedStep(
            *(head.sent, forward.penalty, forward.parts),
            *(rate, tail.sent, backward.parts),
        )
        return Step(tail.outputs, logged, gradients, updates, ready, crossed)

    def smashed_with(
        self,
        head_inputs: list[tf.Tensor],
        model: keras.Model,
        values: list[tf.Tensor],
        state: Updates,
        iteration: tf.Tensor,
    ) -> list[tf.Tensor]:
        """What the head would send in a step with other weights.

        Nothing is assigned, and defenses and layers draw what they draw in
        that step.

        Args:
            head_inputs: Inputs of the head.
            model: Owns the variables.
            values: Of its trainable variables.
            state: The head's other variables, and their values.
            iteration: Number of the optimizer's step.

        Returns:
            Parts of the smashed data.
        """
        return self._passes.run_head(
            head_inputs, model, values, Moment(iteration), state
        ).sent

    def train_labeled(
        self,
        head_inputs: list[tf.Tensor],
        model: keras.Model,
        labels: list[tf.Tensor],
        sample_weights: list[tf.Tensor],
    ) -> Step:
        """One step of a model that is cut once: the server has the loss."""
        optimizer, passes = model.optimizer, self._passes
        values = values_of(model)
        head = passes.run_head(
            *(head_inputs, model, values),
            Moment(keras_private.steps_taken(optimizer)),
        )
        rate = multipliers_of(model).of_body(optimizer)
        weights = [tf.cast(w, tf.float32) for w in sample_weights]
        loss, predictions, backward = self._exchanges.labeled_step(
            rate, head.sent, labels, weights, passes.head_trains
        )
        gradients = passes.head_gradients(
            head, backward.parts, [loss_scale(optimizer)], values, optimizer
        )
        outputs = self.cuts.features.dequantize(predictions)
        (penalty,) = head.losses
        updates = head.scope.updates()
        ready = backward.commit(step_total(model, gradients, updates))
        return Step(outputs, loss + penalty, gradients, updates, ready)


def _no_way_back(*gradients: tf.Tensor, variables: Any = None) -> Any:
    """The gradient of an exchange whose answer has none.

    TensorFlow tells it of the variables of a body in this process.
    """
    raise OptionError(
        "Expected gradients that fit asks for. Received: a GradientTape round "
        "a call of the client, whose body is on the server and answers such a "
        "call with predictions alone. Train with client.fit or "
        "client.train_on_batch, and give a loss of your own to "
        "client.compile. For weights of the tail alone, watch just those: "
        "GradientTape(watch_accessed_variables=False)."
    )


def _check_sent(defenses: Chain) -> None:
    """Refuses what would do nothing in a model that is cut once."""
    for defense in defenses.defenses:
        if not {"smashed", "labels"} & set(defense.where):
            raise DefenseError(
                "Expected a defense of smashed data or of labels, for a model "
                "that is cut once: its phone sends those, and no gradients. "
                "Received: "
                f"{defense.name!r} for {', '.join(defense.where)}. Cut it "
                "twice, or leave the defense out."
            )


def multipliers_of(model: Any) -> RateMultipliers:
    """What the learning rates of the model's parts are multiplied by."""
    return RateMultipliers.get(
        getattr(model, "learning_rate_multipliers", None)
    )


def values_of(model: keras.Model) -> list[tf.Tensor]:
    """The trainable variables as they are when the step begins."""
    return [tf.convert_to_tensor(v.value) for v in model.trainable_variables]


def step_total(
    model: keras.Model,
    gradients: list[tf.Tensor | None],
    updates: Updates,
) -> tf.Tensor:
    """A number that is finite if a step may be committed.

    A `LossScaleOptimizer` deals with gradients that are not finite by itself:
    it skips the step.
    """
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return total([])
    return total([*gradients, *(value for _, value in updates)])
