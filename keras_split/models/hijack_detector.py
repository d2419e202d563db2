"""The Keras callback with which a phone checks its server's gradients."""

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.compression.tensors import CutTensor
from keras_split.detection import Check
from keras_split.detection import HijackDetector as Detector
from keras_split.errors import OptionError
from keras_split.errors import SplitError
from keras_split.models import functions
from keras_split.models import uncounted
from keras_split.utils import keras_private

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel

_Array = np.ndarray[Any, Any]


class HijackDetector(keras.callbacks.Callback):
    """Stops a training whose server pulls the head somewhere else.

    A server that sends gradients of its own choice makes the head of a phone
    an encoder that it can read (FSHA, Pasquini et al., CCS 2021; SSIM 0.7 in
    600 steps). At moments that the server cannot foresee, this callback asks
    for the features of a step's examples again, with the head's weights moved
    a little, and looks whether they change as the gradients say; see
    `keras_split.detection.HijackDetector`. Weights, statistics and optimizer
    stay as they are, and all steps are those of a training without it.

    A check costs `2 * tries + 2` forwards: their smashed data, their features,
    and the server's time for them. It needs a model that is cut twice, whole
    batches and 4 bits or more. A server that is honest in each step that it
    sees checked, and makes features up that agree with the gradients of
    others, is not told; with `every=1` it has no others.

    Forwards of a check have the noise of their step, so a training with checks
    has no epsilon of inputs.

    Args:
        every: Steps from one check to the next in the long run; there are
            three in the first 56. 1 for each step.
        tries: Directions of a check.
        seed: Of all draws; by default from the system's randomness, for
            whoever knows it foresees the checks.

    Attributes:
        checks: Those of the last training; `check.agreement` is near 1 for
            an honest server.

    Raises:
        OptionError: If a number is none, or when training begins, if its
            steps cannot be checked.
        HijackError: In `fit`, with what was seen and what to do.

    Example:
        client.fit(x, y, epochs=3, callbacks=[keras_split.HijackDetector()])
    """

    def __init__(
        self, every: int = 500, tries: int = 8, *, seed: int | None = None
    ) -> None:
        super().__init__()
        self._detector = Detector(every, tries, seed=seed)

    @property
    def checks(self) -> list[Check]:
        """Those made so far."""
        return self._detector.checks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Looks whether steps can be checked, and takes their place."""
        self._detector.checks = []
        model: Any = self.model
        if model.contract.buckets:
            raise OptionError(
                "Expected sequences of one length, for HijackDetector. "
                "Received: a client with lengths="
                f"{list(model.contract.lengths)}. Compile with one, "
                "keras_split.fix_length(model, length), or leave it out."
            )
        self._detector.begin(
            model.strategy.session,
            model.contract,
            microbatches=model.strategy.microbatches,
            head_trains=bool(model.head.trainable_variables),
        )
        if functions.plain(model.train_function) is not model.train_function:
            raise OptionError(
                "Expected keras_split.HijackDetector before "
                "keras_split.FederatedAveraging in callbacks, which takes the "
                "steps that the first one checks. Received: it behind. Change "
                "their order."
            )
        if model.head.trainable_variables:
            uncounted.note(model, uncounted.CHECKED, ["smashed"])
        model.train_function = _Checked(model, self._detector)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Steps are what they were."""
        model: Any = self.model
        model.train_function = functions.plain(model.train_function)


class _Checked:
    """Takes batches from Keras, and checks some of the steps with them.

    Args:
        client: A `keras_split.ClientModel`.
        detector: Says which.

    Attributes:
        plain: The function that it stands for, which takes all other steps.
    """

    def __init__(self, client: "ClientModel", detector: Detector) -> None:
        self._client = client
        self._detector = detector
        self.plain = client.train_function
        step: Any = client.train_step
        smashed: Any = self._smashed_with
        if not client.run_eagerly:
            step = tf.function(step, reduce_retracing=True, autograph=False)
            smashed = tf.function(
                smashed, reduce_retracing=True, autograph=False
            )
        step = functions.explained(client, step)
        self._step = step if client.run_eagerly else functions.waiting(step)
        self._smashed = smashed

    def __call__(self, iterator: Any) -> Any:
        """Takes the next batches of an iterator; returns logs."""
        kind = self._detector.next()
        if not kind:
            return self.plain(iterator)
        logs = None
        for data in islice(iterator, self._client.steps_per_execution):
            try:
                logs = self._checked(kind, functions.bare(data))
            except SplitError as error:
                logs = functions.not_taken(self._client, error)
            kind = ""
        if logs is None:
            raise StopIteration
        return logs

    def take(self, batch: Any) -> Any:
        """Takes a step with a batch, for who goes through batches itself."""
        return self._checked(self._detector.next(), batch)

    def _checked(self, kind: str, batch: Any) -> Any:
        if not kind:
            return self._step(batch)
        head = _Head(self._client, batch, self._smashed)
        return self._detector.take(kind, head, lambda: self._step(batch))

    def _smashed_with(
        self,
        inputs: list[tf.Tensor],
        values: list[tf.Tensor],
        state: list[tf.Tensor],
        iteration: tf.Tensor,
    ) -> list[tf.Tensor]:
        client = self._client
        others = client.head.non_trainable_variables
        pairs = list(zip(others, state, strict=True))
        return client._half.smashed_with(
            inputs, client, values, pairs, iteration
        )


class _Head:
    """A head as it is now; see `keras_split.detection.detector.Head`.

    Weights are not assigned: the head runs with others in their place, so
    there is nothing to bring back.
    """

    def __init__(self, client: "ClientModel", batch: Any, smashed: Any) -> None:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        self._inputs, _ = client.wiring.sort(x)
        self._smashed = smashed
        self._cut = client._half.cuts.smashed
        trained = client.trainable_variables
        self._values = [tf.identity(v.value) for v in trained]
        self._state = [
            tf.identity(v.value) for v in client.head.non_trainable_variables
        ]
        steps = keras_private.steps_taken(client.optimizer)
        self._iteration = tf.identity(steps.value)
        ours = {id(v) for v in client.head.trainable_variables}
        self._places = [i for i, v in enumerate(trained) if id(v) in ours]

    def weights(self) -> Sequence[_Array]:
        return [self._values[place].numpy() for place in self._places]

    def smashed(self, weights: Sequence[_Array]) -> list[CutTensor]:
        values = list(self._values)
        for place, weight in zip(self._places, weights, strict=True):
            values[place] = tf.constant(weight)
        parts = self._smashed(
            self._inputs, values, self._state, self._iteration
        )
        return self._cut.wrap([part.numpy() for part in parts])
