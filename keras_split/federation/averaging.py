"""The Keras callback with which a phone trains one model with others."""

import hashlib
import logging
from numbers import Integral
from typing import Any

import keras

from keras_split.client.cohort import CohortClient
from keras_split.client.rounds import Rounds
from keras_split.errors import OptionError
from keras_split.federation.drawn_batches import DrawnBatches
from keras_split.federation.own_batches import OwnBatches
from keras_split.federation.train_function import TrainFunction
from keras_split.models import functions
from keras_split.models import uncounted
from keras_split.models.half_vector import HalfVector
from keras_split.protocol.cohort import EPOCH
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.half_layout import BATCHNORM
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.training import optimizer_description
from keras_split.training import shared_loss

_LOG = logging.getLogger("keras_split")
_WHAT = (None, "weights", "gradients")


class FederatedAveraging(keras.callbacks.Callback):
    """Trains one model with the other phones of a server.

    For a server that was started for a cohort (`keras-split serve --cohort`,
    `ServerConfig.cohort`), which says how its phones train. In a `merged`
    cohort the server draws how many examples of each step are this phone's,
    so it decides the size of batches; in the others each batch of `fit` is a
    step. All phones pass the same arguments, but for `examples`.

    The half of a phone that comes first is that of all. What is validated,
    saved by callbacks and left after `fit` is the model of all; logs of the
    training are of this phone's examples.

    A phone that was killed goes on with `keras_split.Resume`, or Keras'
    `BackupAndRestore`: it takes over the half that the others have by then,
    and the body stays as it is. What would bring the body back under the
    others is refused when it does so, as `EarlyStopping` with
    `restore_best_weights=True`; unless the server allows it.

    Callbacks that change the learning rate must do so alike on all phones
    where gradients are averaged, which the number of the epoch does and the
    loss of one phone does not.

    Args:
        every: `"epoch"`, or after how many steps halves are averaged. 1 in a
            merged cohort is synchronous training: what one phone with all the
            data would do, for gradients are averaged.
        optimizer: A Keras optimizer, its name or its config as JSON, which
            the server applies to the average change of the weights, as
            FedAvgM and FedAdam do; None for the average as it is. Not for
            gradients.
        batchnorm: `"average"`, or `"local"` for batch normalization that this
            phone keeps to itself: weights and statistics.
        what: `"weights"` or `"gradients"`; by default gradients where they
            can be: with `every=1` in a merged cohort. Where LiteRT-only
            devices are in it, which have no gradients to give, say
            `"weights"`.
        require_secure: Whether to train only where the server adds up what it
            cannot read.
        examples: How many an epoch has, such as `len(x)`. Keras knows batches
            alone, so without it the last batch counts as one example until it
            is there, and the last step of all phones' first epoch may become
            two. Data of unknown length need it.

    Attributes:
        cohort: Speaks with the others; None before `fit`.

    Raises:
        OptionError: If an argument cannot be, or does not fit the cohort.
        RefusedError: With reason `"cohort"`, if the server has none, or the
            others train otherwise.
    """

    def __init__(
        self,
        every: str | int = "epoch",
        optimizer: Any = None,
        batchnorm: str = "average",
        what: str | None = None,
        require_secure: bool = False,
        examples: int | None = None,
    ) -> None:
        super().__init__()
        self._every = EPOCH if every == "epoch" else _positive("every", every)
        self._optimizer = ""
        if optimizer is not None:
            self._optimizer = _described(optimizer)
        for name, value, known in (
            ("batchnorm", batchnorm, BATCHNORM),
            ("what", what, _WHAT),
        ):
            if value not in known:
                raise OptionError(
                    f"Expected {name} to be one of {', '.join(map(str, known))}"
                    f". Received: {value!r}."
                )
        if examples is not None:
            examples = _positive("examples", examples)
        self._batchnorm = batchnorm
        self._what = what
        self._require_secure = require_secure
        self._examples = examples
        self._in_epoch = False
        self._half: HalfVector | None = None
        self.cohort: CohortClient | None = None

    # -- what Keras calls --------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Looks whether this phone and its cohort fit together."""
        model: Any = self.model
        info = model.strategy.session.connection.cohort
        terms = self._terms(info)
        self._check(model, info, terms)
        self._in_epoch = model.strategy.session.connection.enrolled = False
        gradients = terms.what == "gradients"
        half = HalfVector(model, terms.batchnorm, optimizer=gradients)
        # Where gradients are averaged, the server does not have the half; so
        # this one is not to be replaced by an older one of the server's.
        self._half = half if gradients else None
        if half.size:
            uncounted.note(model, uncounted.AVERAGED)
        steps = self.params.get("steps")
        self.cohort = cohort = CohortClient(
            model.strategy.session,
            terms,
            half,
            self._examples or 0,
            require_secure=self._require_secure,
        )
        if info is not None and info.mode == "merged":
            every = None if gradients else terms.every
            function: TrainFunction = DrawnBatches(
                model, steps, cohort, half, every, self._examples
            )
        else:
            rounds = Rounds(cohort, half)
            function = OwnBatches(model, steps, rounds, terms.every)
        model.train_function = function

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Begins a round, with the half that all have."""
        if not self.model.strategy.session.connection.enrolled:
            self._enroll()  # by now other callbacks have loaded what they load
        self._in_epoch = True
        self._function.begin_epoch(epoch)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the epoch, where Keras did not know which batch is the last."""
        self._end_epoch()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Likewise."""
        self._end_epoch()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Nobody waits for this phone any more."""
        model: Any = self.model
        model.train_function = functions.plain(model.train_function)
        session = model.strategy.session
        session.committed()
        connection, cohort = session.connection, self.cohort
        if cohort is not None and self._half is not None:
            known = cohort.info.name, _hash(self._half), cohort.version
            connection.half = known
        connection.enrolled = False
        if cohort is not None:
            cohort.leave()

    # -- in between --------------------------------------------------------

    @property
    def _function(self) -> TrainFunction:
        function: TrainFunction = self.model.train_function
        return function

    def _end_epoch(self) -> None:
        if self._in_epoch:
            self._in_epoch = False
            self._function.end_epoch()

    def _enroll(self) -> None:
        cohort, optimizer = self.cohort, self.model.optimizer
        assert cohort is not None
        before = float(optimizer.learning_rate)
        known = self.model.strategy.session.connection.half
        if known is not None and self._half is not None:
            if known[:2] == (cohort.info.name, _hash(self._half)):
                cohort.version = known[2]
        cohort.enroll()
        self.model.strategy.session.connection.enrolled = True
        after = float(optimizer.learning_rate)
        if after != before:
            _LOG.warning(
                "The learning rate is %g, as that of the other phones. It was "
                "%g.",
                after,
                before,
            )

    def _terms(self, info: CohortInfo | None) -> AveragingTerms:
        what = self._what
        merged = info is not None and info.mode == "merged"
        can = merged and self._every == 1 and not self._optimizer
        if what is None:
            what = "gradients" if can else "weights"
        if what == "gradients" and not can:
            mode = info.mode if info is not None else "none"
            raise OptionError(
                "Expected every=1, no optimizer and a merged cohort, to "
                f"average gradients. Received: every={self._every}"
                f"{', an optimizer' if self._optimizer else ''}, and a cohort "
                f'of mode {mode}. Average weights: what="weights".'
            )
        return AveragingTerms(
            self._every, what, self._batchnorm, self._optimizer
        )

    def _check(
        self, model: Any, info: CohortInfo | None, terms: AveragingTerms
    ) -> None:
        """Refuses what this phone cannot do in the cohort."""
        if info is None or info.mode != "merged":
            return
        if model.tail is None or model.strategy.microbatches > 1:
            raise OptionError(
                "Expected a model that is cut twice, and whole batches, for a "
                "merged cohort: its server puts the phones' examples together "
                "and gives each its features. Received: "
                + ("a model that is cut once" if model.tail is None else "")
                + ("" if model.tail is None else "microbatches")
                + ". Serve with --cohort shared or private."
            )
        if not shared_loss.is_mean(model):
            raise OptionError(
                "Expected a loss that is a mean over the examples, for steps "
                "to which each phone gives its share. Received: another "
                'reduction, such as "sum". Leave reduction= of the loss out.'
            )
        if terms.what == "gradients":
            _check_gradients(model, terms)


def _hash(half: HalfVector) -> str:
    return hashlib.sha256(half.get().tobytes()).hexdigest()


def _described(optimizer: Any) -> str:
    if isinstance(optimizer, str) and optimizer.startswith("{"):
        return OptimizerConfig.read(optimizer).text
    return optimizer_description.describe(keras.optimizers.get(optimizer))


def _check_gradients(model: Any, terms: AveragingTerms) -> None:
    optimizer = model.optimizer
    received = ""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        received = (
            "a LossScaleOptimizer, whose scale is each phone's own. Train in "
            "float32"
        )
    elif getattr(optimizer, "gradient_accumulation_steps", None):
        received = (
            "gradient_accumulation_steps. The server's batch is as large as "
            "you say: serve --batch-size"
        )
    elif (
        getattr(optimizer, "global_clipnorm", None)
        and terms.batchnorm == "local"
    ):
        received = (
            'global_clipnorm and batchnorm="local", with which each phone '
            "would scale by a norm of its own. Leave one of them out"
        )
    elif not _ours(model):
        received = f"{type(model).__name__}, with a train_step of its own"
    if received:
        raise OptionError(
            "Expected an optimizer that does the same on every phone, for "
            f"gradients that are averaged. Received: {received}; or average "
            'weights: what="weights".'
        )


def _ours(model: Any) -> bool:
    """Whether a step is as `ClientModel` takes it."""
    from keras_split.models import ClientModel

    return type(model).train_step is ClientModel.train_step


def _positive(name: str, value: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, Integral)
        or int(value) < 1
    ):
        text = '"epoch" or ' if name == "every" else ""
        raise OptionError(
            f"Expected {name} to be {text}a whole number of 1 or more. "
            f"Received: {value!r}."
        )
    return int(value)
