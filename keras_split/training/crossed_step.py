"""What crossed the cut in a step."""

from typing import NamedTuple

import tensorflow as tf

from keras_split.compression.cut import ClientCuts
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad
from keras_split.protocol.moment import Moment

_UNKNOWN = Moment()


class CrossedStep(NamedTuple):
    """What crossed the cut in a step of a model that is cut twice.

    Attributes:
        smashed: Parts of the smashed data.
        penalty: The body's regularization loss, shape `()`.
        features: Parts of the features.
        rate: The learning rate, shape `()`.
        features_grad: Parts of the gradients of the features.
        smashed_grad: Parts of those of the smashed data; none if the head has
            no weights to train.
    """

    smashed: list[tf.Tensor]
    penalty: tf.Tensor
    features: list[tf.Tensor]
    rate: tf.Tensor
    features_grad: list[tf.Tensor]
    smashed_grad: list[tf.Tensor]

    def messages(
        self,
        cuts: ClientCuts,
        session: str,
        step: int,
        early: bool,
        durable_steps: int = 0,
        moment: Moment = _UNKNOWN,
        frozen_body: bool = False,
    ) -> tuple[list[Message], list[Message]]:
        """The messages that carry it over a network, `(up, down)`.

        Outside a graph.

        Args:
            cuts: The tensors that crossed.
            session: Name of the session.
            step: The step's number.
            early: Whether gradients come before the body's update.
            durable_steps: Those that outlive the server.
            moment: Of the body after the step.
            frozen_body: Whether the body has no weights to train.
        """
        smashed = cuts.smashed.wrap(self.smashed)
        features = cuts.features.wrap(self.features)
        grads = cuts.features_grad.wrap(self.features_grad)
        smashed_grad = cuts.smashed_grad.wrap(self.smashed_grad)
        frozen = not smashed_grad
        early = early and not frozen
        if frozen and frozen_body:
            grads = []
        up: list[Message] = [
            Forward(
                session, step, smashed, early=early, no_smashed_grad=frozen
            ),
            Backward(
                session,
                step,
                grads,
                float(self.rate),
                early=early,
                rate_said=True,
            ),
        ]
        down: list[Message] = [
            Features(step, features, float(self.penalty)),
        ]
        if early:
            down += [
                SmashedGrad(step, smashed_grad),
                Committed(step, durable_steps, moment),
            ]
        else:
            down += [SmashedGrad(step, smashed_grad, durable_steps, moment)]
        return up, down
