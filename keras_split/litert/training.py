"""The signatures of a file that trains: one training step in three calls."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_split.defenses.chain import INFERENCE
from keras_split.defenses.chain import Moment
from keras_split.errors import DefenseError
from keras_split.errors import ExportError
from keras_split.litert import silent
from keras_split.litert.layer_overrides import Batch
from keras_split.litert.losses import OutputLoss
from keras_split.litert.optimizers import Update
from keras_split.litert.segment import Run
from keras_split.litert.segment import TracedSegment
from keras_split.litert.signature_io import SignatureIO
from keras_split.litert.signature_io import Specs
from keras_split.litert.signature_io import Tensors
from keras_split.litert.signature_io import named
from keras_split.litert.signature_io import part_names
from keras_split.litert.signature_io import part_specs
from keras_split.training.rate_multipliers import RateMultipliers

_SCALAR = tf.TensorSpec((), tf.float32)
_COUNT = tf.TensorSpec((), tf.int32)
_TAIL_SALT = 1000


class TrainingSignatures:
    """Head and tail of a client as functions of named tensors.

    A forward changes nothing, and neither does `tail_step`: it leaves the
    tail's new state in variables of its own, from where `head_backward`
    commits it together with the head's. So a step whose server fails leaves
    no trace, and every call but the last may be repeated.

    Args:
        client: The phone's half.
        batch_size: Rows of every tensor.
        losses: The loss of each output.
        update: The optimizer's rule.
        rates: By what the parts multiply the learning rate. The rate that a
            phone gives is the body's, which travels; so head and tail are
            updated at multiples of that, whoever wrote the phone.

    Attributes:
        head: The head and its state.
        tail: The tail and its state.
        module: Owns the variables; for saving.
    """

    def __init__(
        self,
        client: Any,
        batch_size: int,
        losses: list[OutputLoss],
        update: Update,
        rates: RateMultipliers | None = None,
    ) -> None:
        rates = rates or RateMultipliers()
        self._rates = {
            "head": rates.head / rates.body,
            "tail": rates.tail / rates.body,
        }
        self._client = client
        self._size = batch_size
        self._losses = losses
        self.head = TracedSegment("head", client.head, update)
        self.tail = TracedSegment(
            "tail", client.tail, update, self.head.state.entries
        )
        self._staged = self.tail.state.staged()
        self.module = tf.Module()
        self.module.state = [e.variable for e in self._entries()]
        self.module.staged = self._staged
        self._boundary = SignatureIO(client)
        # What is tied and the tail has no gradient for, once that is traced.
        self._idle: set[int] | None = None

    def functions(self) -> dict[str, tuple[Callable[..., Tensors], Specs]]:
        """Each signature: its function and the specs of its inputs."""
        clock = {"step": _COUNT}
        count = {"count": _COUNT}
        rate = {"learning_rate": _SCALAR}
        boundary, size = self._boundary, self._size
        inputs, features = boundary.head_specs(size), boundary.tail_specs(size)
        state = {
            e.name: tf.TensorSpec(e.variable.shape, e.variable.dtype)
            for e in self._entries()
        }
        answers = self._labels() | count
        answering = features | answers | rate | clock
        if self._client.defenses.applies("labels"):
            answering |= inputs  # they are drawn by those
        back = clock  # it commits what the tail has staged
        if self.head.state.entries:
            back = inputs | count | clock  # and takes statistics
        if self.head.state.trained:
            back = inputs | part_specs(
                "smashed_grad", boundary.smashed_grad, size
            )
            back |= boundary.skip_specs("skip_grad", size)
            back |= {
                f"tied_grad_{i}": tf.TensorSpec(entry.variable.shape)
                for i, entry in enumerate(self.tail.state.tied)
            }
            back |= count | rate | clock
        return {
            "head_forward": (self.head_forward, inputs | count | clock),
            "tail_step": (self.tail_step, answering),
            "head_backward": (self.head_backward, back),
            "head_infer": (self.head_infer, inputs),
            "tail_infer": (self.tail_infer, features),
            "tail_evaluate": (self.tail_evaluate, features | answers),
            "get_state": (self.get_state, {}),
            "set_state": (self.set_state, state),
        }

    def head_forward(self, **given: tf.Tensor) -> Tensors:
        """Smashed data of a batch."""
        run = self.head.train(
            self.head.state.read(),
            self._inputs(given),
            Batch(self._size, given["count"], given["step"]),
        )
        self._boundary.check_skips(run.outputs)
        leaving = self._boundary.leaving(run.outputs, given, _moment(given))
        return leaving | {"penalty": self._penalty(given, run)}

    def tail_step(self, **given: tf.Tensor) -> Tensors:
        """Loss and gradients of the features; the tail's step waits."""
        boundary = self._boundary
        arriving = boundary.arriving(given)
        batch = Batch(self._size, given["count"], given["step"], _TAIL_SALT)
        read = self.tail.state.read()
        run = self.tail.train(read, arriving, batch)
        silent.check_masks(
            self._client.tail, run.outputs, "that its loss would heed"
        )
        loss, correct = self._score(given, run.outputs, self._drawn(given))
        loss += run.penalty
        count = len(boundary.features.specs)
        edge = arriving[: count + len(boundary.skips)]
        trained = read[: len(self.tail.state.trained)]
        tied = self.tail.state.tied_values(read)
        found = tf.gradients(loss, [*edge, *tied, *trained])
        of_tied = found[len(edge) : len(edge) + len(tied)]
        _check_tied(of_tied)
        self._idle = {i for i, g in enumerate(of_tied) if g is None}
        new = self.tail.updated(
            read,
            run,
            found[len(edge) + len(tied) :],
            self._rate("tail", given),
            given["step"],
        )
        for variable, value in zip(self._staged, new, strict=True):
            variable.assign(value)
        grads = [
            tf.zeros_like(t) if g is None else tf.convert_to_tensor(g)
            for t, g in zip([*edge, *tied], found, strict=False)
        ]
        crossing = boundary.features_grad
        parts = crossing.send(
            grads[:count], _moment(given), boundary.arrived(given)
        )
        return {
            "loss": loss,
            **correct,
            **named("features_grad", crossing, parts),
            **_numbered("skip_grad", grads[count : len(edge)]),
            **_numbered("tied_grad", grads[len(edge) :]),
        }

    def head_backward(self, **given: tf.Tensor) -> Tensors:
        """Commits the step: head, tail and their statistics."""
        new = self._next_head(given) if self.head.state.entries else []
        pairs = list(zip(self.head.state.entries, new, strict=True))
        staged = [tf.identity(v) for v in self._staged]
        pairs += zip(self.tail.state.entries, staged, strict=True)
        for entry, value in pairs:
            entry.variable.assign(value)
        return {"done": given["step"] + 1}

    def _next_head(self, given: Tensors) -> list[tf.Tensor]:
        """The new value of each entry of the head's state."""
        batch = Batch(self._size, given["count"], given["step"])
        read = self.head.state.read()
        run = self.head.train(read, self._inputs(given), batch)
        if not self.head.state.trained:
            return run.statistics
        crossing, skips = self._boundary.smashed_grad, self._boundary.skips
        names = part_names("smashed_grad", crossing)
        sent = self._boundary.defended(run.outputs, _moment(given))
        grads = crossing.dequantize(
            [given[name] for name in names], self._boundary.left(sent)
        )
        grads += [given[f"skip_grad_{i}"] for i in range(len(skips))]
        edge = sent + [run.outputs[i] for i in skips]
        # What was filled up has no gradient.
        grads = [g * batch.real(len(g.shape)) for g in grads]
        found = tf.gradients(
            [*edge, self._penalty(given, run)],
            read[: len(self.head.state.trained)],
            [*grads, tf.ones(())],
        )
        # What the tail trains as well has two gradients, and one update. That
        # of an Embedding alone stays sparse: Keras squares its rows one by one.
        assert self._idle is not None, "tail_step is traced before"
        for i, entry in enumerate(self.tail.state.tied):
            if i in self._idle:
                continue
            place = self.head.state.entries.index(entry)
            mine, theirs = found[place], given[f"tied_grad_{i}"]
            if mine is not None:  # rows of an Embedding become one tensor
                theirs += tf.convert_to_tensor(mine)
            found[place] = theirs
        return self.head.updated(
            read, run, found, self._rate("head", given), given["step"]
        )

    def _penalty(self, given: Tensors, run: Run) -> tf.Tensor:
        """What the head adds to the loss: regularizers, and defenses."""
        smashed = self._boundary.smashed
        told = smashed.penalty(
            self._inputs(given),
            run.outputs[: len(smashed.specs)],
            bool(self.head.state.trained),
            given["count"],
        )
        return run.penalty if told is None else run.penalty + told

    def _rate(self, part: str, given: Tensors) -> tf.Tensor:
        rate, factor = given["learning_rate"], self._rates[part]
        return rate if factor == 1 else rate * factor

    def head_infer(self, **given: tf.Tensor) -> Tensors:
        """Smashed data in inference mode."""
        read = self.head.state.read()
        made = self.head.infer(read, self._inputs(given))
        return self._boundary.leaving(made, given, INFERENCE)

    def tail_infer(self, **given: tf.Tensor) -> Tensors:
        """Predictions from features."""
        return {
            f"prediction_{i}": output
            for i, output in enumerate(self._infer_tail(given))
        }

    def tail_evaluate(self, **given: tf.Tensor) -> Tensors:
        """Loss and right answers in inference mode."""
        loss, correct = self._score(given, self._infer_tail(given))
        penalty = tf.constant(0.0)
        for segment in (self.head, self.tail):
            for entry in segment.state.entries:
                rule = entry.source.regularizer
                if entry.kind == "weight" and rule is not None:
                    penalty += tf.cast(rule(entry.variable), tf.float32)
        return {"loss": loss + penalty, **correct}

    def get_state(self) -> Tensors:
        """All that a training changes."""
        return {
            # LiteRT needs an operation between a variable and an output.
            e.name: tf.convert_to_tensor(e.variable)
            * tf.cast(1, e.variable.dtype)
            for e in self._entries()
        }

    def set_state(self, **given: tf.Tensor) -> Tensors:
        """The inverse of `get_state`."""
        entries = self._entries()
        for entry in entries:
            entry.variable.assign(given[entry.name])
        return {"done": tf.constant(len(entries))}

    def _entries(self) -> list[Any]:
        return self.head.state.entries + self.tail.state.entries

    def _infer_tail(self, given: Tensors) -> list[tf.Tensor]:
        return self.tail.infer(
            self.tail.state.read(), self._boundary.arriving(given)
        )

    def _inputs(self, given: Tensors) -> list[tf.Tensor]:
        return [given[f"x_{n}"] for n in self._boundary.head_inputs]

    def _score(
        self,
        given: Tensors,
        outputs: list[tf.Tensor],
        drawn: Tensors | None = None,
    ) -> tuple[tf.Tensor, Tensors]:
        """The loss of a batch, and its right answers by output.

        Args:
            given: Labels and weights.
            outputs: Of the model.
            drawn: Labels for the loss where they are not those.
        """
        for_loss = given | (drawn or {})
        count = given["count"]
        real = tf.reshape(
            Batch(self._size, count, count).real(1), (self._size,)
        )
        total = tf.constant(0.0)
        correct = {}
        for i, (rule, output) in enumerate(
            zip(self._losses, outputs, strict=True)
        ):
            labels = given[f"y_{i}"]
            weights = given[f"sample_weight_{i}"] * real
            total += rule.value(for_loss[f"y_{i}"], output, weights, count)
            if rule.accuracy:
                correct[f"correct_{i}"] = rule.correct(labels, output, real)
        return total, correct

    def _drawn(self, given: Tensors) -> Tensors:
        """The labels to train with, where they are not the true ones.

        Raises:
            DefenseError: If there is not one class for an example.
        """
        chain = self._client.defenses
        if not chain.applies("labels"):
            return {}
        outputs = self._client.tail.outputs
        if len(outputs) != 1:
            raise DefenseError(
                "Expected a model with one output, for a defense of labels. "
                f"Received: {len(outputs)}. Leave the defense out."
            )
        boundary = self._boundary
        names = [*boundary.head_inputs, *boundary.tail_inputs]
        drawn = chain.answers(
            given["y_0"],
            self._losses[0].loss,
            tuple(outputs[0].shape[1:]),
            [given[f"x_{n}"] for n in names],
        )
        return {"y_0": drawn}

    def _labels(self) -> Specs:
        specs = {}
        for i, (rule, output) in enumerate(
            zip(self._losses, self._client.tail.outputs, strict=True)
        ):
            shape = (self._size, *rule.label_shape(output.shape[1:]))
            specs[f"y_{i}"] = tf.TensorSpec(shape, rule.label_dtype)
            specs[f"sample_weight_{i}"] = tf.TensorSpec(
                (self._size,), tf.float32
            )
        return specs


def _moment(given: Tensors) -> Moment:
    """When a training signature sends something."""
    return Moment(given["step"], count=given["count"])


def _check_tied(gradients: list[Any]) -> None:
    """Refuses an Embedding that is looked up in head and tail."""
    if any(isinstance(g, tf.IndexedSlices) for g in gradients):
        raise ExportError(
            "Expected embeddings that the tail multiplies with, if they are "
            "the head's as well. Received: some that both look up. Give each "
            "half an Embedding of its own, or cut so that one has both."
        )


def _numbered(name: str, tensors: list[tf.Tensor]) -> Tensors:
    return {f"{name}_{i}": tensor for i, tensor in enumerate(tensors)}
