"""What a training has told of one example, in differential privacy."""

import math
from typing import Any
from typing import Protocol

from keras_split.defenses.arguments import number
from keras_split.defenses.chain import Chain
from keras_split.defenses.release import Release
from keras_split.defenses.release import dp
from keras_split.errors import DefenseError

SECRETS = {
    "inputs": ("smashed",),
    "labels": ("features_grad",),
    "examples": ("smashed", "features_grad"),
}
_WORDS = {
    "smashed": "smashed data",
    "features_grad": "features' gradients",
    "labels": "labels",
}


class _Half(Protocol):
    """The part of `keras_split.ClientModel` that an accountant reads."""

    defenses: Chain
    head: Any
    tail: Any
    contract: Any
    wiring: Any
    uncounted: Any


class Accountant:
    """Says an epsilon for what a phone sends of an example, or that none is.

    Neighbours are two sets of examples that differ in one, which is replaced
    by another: the server sees how many there are. It also sees which of them
    a batch has, so nothing is gained by sampling. In each training step of an
    example the server gets a row of smashed data and one of gradients, each
    through a mechanism of its own; the Rényi divergences of all of them are
    added up by dp-accounting (Mironov, "Rényi Differential Privacy", 2017).

    What that number means, and what not:

    * It is of the example's **own rows**: of a server that knows every other
      example and the weights of head and tail at each step, and should still
      not tell which of two examples this one is. What those weights, or batch
      statistics, learned from the example and carry into the rows of others,
      is not in it. For that as well, count all rows: `everything`.
    * It is of a **training**. Evaluation and prediction give all examples the
      same draws, which average out; they have no epsilon.
    * It holds as long as nobody but the phone has the seed: not the server,
      and no other phone with the same file.
    * It is of rows with noise of their own. What draws the noise of a step
      again is refused where it is known: a step that was not taken, which a
      server may bring about; the checks of a `HijackDetector`, for inputs;
      a client that is compiled anew after it has trained, also one from a
      file; and one `Chain` in two clients. So is a training with other
      phones: halves that are averaged carry more.

    A `RandomizedResponse` is counted once for an example, not in each step,
    and all that is made of its label is counted with it: gradients, and what
    weights carry into other rows, evaluation and prediction.

    Args:
        client: A client model.
        secret: What the server should not learn. `"inputs"`, with labels that
            it may know; `"labels"`, with inputs that it may know; or
            `"examples"`, both.
        augmented: Whether the inputs of an example are others in each epoch,
            so that its label is drawn anew.

    Raises:
        DefenseError: If something is sent of the secret that has no epsilon.
    """

    def __init__(
        self, client: _Half, secret: str = "examples", augmented: bool = False
    ) -> None:
        if secret not in SECRETS:
            raise DefenseError(
                f"Expected a secret: {', '.join(SECRETS)}. Received: "
                f"secret={secret!r}. Take 'examples' for both."
            )
        kinds = SECRETS[secret]
        chain = client.defenses
        drawn = "features_grad" in kinds and chain.applies("labels")
        if client.tail is None and "features_grad" in kinds and not drawn:
            raise DefenseError(
                f"Expected a model that is cut twice, for secret={secret!r}: "
                "one that is cut once sends its labels as they are. Received: "
                "one that is cut once. Cut it twice, put a RandomizedResponse "
                "on them, or ask for 'inputs'."
            )
        shared = ", ".join(repr(s.name) for s in client.contract.shared)
        if shared and secret != "labels":
            raise DefenseError(
                "Expected inputs that stay on the phone, for "
                f"secret={secret!r}. Received: a model that shares {shared} "
                "with the server as given, which has no epsilon. Cut where no "
                "layer of the server reads it, or ask for 'labels'."
            )
        if client.contract.buckets and secret != "labels":
            raise DefenseError(
                "Expected sequences of one length, for "
                f"secret={secret!r}: which of several lengths a batch has is "
                "sent as it is, and has no epsilon. Received: lengths="
                f"{list(client.contract.lengths)}. Give the model one, "
                "keras_split.fix_length(model, length), or ask for 'labels'."
            )
        wiring = client.wiring
        ways_round = bool(wiring.skips or wiring.tail_inputs)
        if drawn and secret == "labels":
            # They go in at one place, and what is drawn there is all of them.
            ways_round = False
        elif drawn and client.tail is not None:
            tail = {id(variable) for variable in client.tail.variables}
            ways_round |= any(id(v) in tail for v in client.head.variables)
        elif len(kinds) > 1:
            ways_round = False  # both sides have a mechanism
        if ways_round:
            raise DefenseError(
                f"Expected nothing that goes round the server from head to "
                f"tail, for secret={secret!r}: it would be in the other "
                "tensors, too. Received: a model with such a path. Put a "
                "mechanism on both tensors, and ask for 'examples'."
            )
        sent = {
            "smashed": client.contract.smashed,
            "features_grad": client.contract.features,
        }
        self._augmented = augmented
        self._uncounted = client.uncounted
        self._once = 0.0
        if drawn:
            kinds = tuple(kind for kind in kinds if kind != "features_grad")
            self._once = _release(chain, "labels", _classes(client)).epsilon
        self._kinds = kinds
        self._releases = [
            _release(chain, kind, math.prod(spec.shape))
            for kind in kinds
            for spec in sent[kind]
        ]

    def epsilon(
        self, epochs: int, delta: float = 1e-5, inferences: int = 0
    ) -> float:
        """The epsilon of an example's own rows.

        Args:
            epochs: In how many training steps each example was, at most. A
                step that was repeated after a lost connection, or trained
                again from a saved state with the same batches, sent the same
                again and counts once.
            delta: The probability of more.
            inferences: How often it was evaluated or predicted.

        Returns:
            The epsilon; infinity if there is none at that delta.

        Raises:
            DefenseError: If `inferences` is not 0, or another is none; or if
                the client sent something that is not counted.
        """
        return self._epsilon(epochs, epochs, delta, inferences)

    def check(self) -> None:
        """Refuses a client that sent something which is not counted.

        Raises:
            DefenseError: If it did.
        """
        for kind in self._kinds:
            if kind in self._uncounted:
                raise DefenseError(
                    f"Expected {_WORDS[kind]} with noise of their own in each "
                    f"step, to count them. Received: {self._uncounted[kind]}, "
                    "and that has no epsilon. Train without it, from halves "
                    "that were cut anew."
                )

    def _epsilon(
        self, epochs: int, rows: int, delta: float, inferences: int = 0
    ) -> float:
        """The epsilon of some rows, of which `epochs` are the example's own."""
        if inferences and self._releases:
            raise DefenseError(
                "Expected examples that were trained with alone: in "
                "evaluation and prediction all get the same noise, which has "
                f"no epsilon. Received: inferences={inferences!r}. Keep what "
                "should be private out of evaluate and predict."
            )
        draws = int(number("epochs", epochs, 0, 1e12, "epochs", 3))
        count = int(number("rows", rows, 0, 1e18, "rows", 3))
        delta = number("delta", delta, 1e-30, 0.5, "in probability", 1e-5)
        if not count:
            return 0.0
        once = self._once * (draws if self._augmented else 1)
        if not self._releases:
            return once
        self.check()
        dp_accounting = dp()
        accountant = dp_accounting.rdp.RdpAccountant(
            neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE
        )
        for release in self._releases:
            accountant.compose(release.event, count)
        distance = count * sum(release.distance for release in self._releases)
        # What is drawn is near to a mechanism: (epsilon, delta) of that is
        # (epsilon, delta + (1 + exp(epsilon)) * distance) of what is drawn.
        for part in (1e-9, 1e-6, 1e-3, 0.5):
            found = float(accountant.get_epsilon(delta * (1 - part)))
            if found < 700 and (1 + math.exp(found)) * distance < part * delta:
                return found + once
        return math.inf

    def everything(
        self, epochs: int, examples: int, delta: float = 1e-5
    ) -> float:
        """The epsilon of all that was sent, whatever the weights carry.

        From the first step with an example on, every row may depend on it, by
        the weights of head and tail or by statistics of a batch. Each row is
        bounded by the same mechanism, so this counts all rows.

        Args:
            epochs: As in `epsilon`.
            examples: How many there are.
            delta: The probability of more.

        Returns:
            The epsilon; infinity if there is none at that delta.
        """
        return self._epsilon(epochs, epochs * examples, delta)


def _classes(client: _Half) -> int:
    """Of the one output, as `keras_split.defenses.label_kind` counts them."""
    found = (
        [tuple(spec.shape) for spec in client.contract.features]
        if client.tail is None
        else [tuple(tensor.shape[1:]) for tensor in client.tail.outputs]
    )
    return max(int(found[0][-1]), 2)


def _release(chain: Chain, where: str, values: int) -> Release:
    """What a row costs: what comes behind a mechanism adds nothing."""
    for defense in chain.defenses:
        if where not in defense.where:
            continue
        release = defense.release(values)
        if release is not None:
            return release
        if defense.mixes:
            break
    names = ", ".join(d.name for d in chain.defenses if where in d.where)
    raise DefenseError(
        f"Expected a mechanism with an epsilon on the {_WORDS[where]}. "
        "Received: "
        f"{names or 'no defense of them'}. Put a GaussianMechanism or a "
        f"LaplaceMechanism with where={where!r} first, or ask for a secret "
        "that they do not tell."
    )
