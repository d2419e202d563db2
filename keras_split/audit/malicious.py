"""A server whose answers are not those of its body: for drills."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.audit.hijack import Hijack
from keras_split.compression.tensors import CutTensor
from keras_split.models import ServerModel
from keras_split.training.server_step import Early
from keras_split.training.server_step import ServerHalf

_Array = np.ndarray[Any, Any]
_NEAR = 0.5  # of the spread of a batch: closer is the same examples again
DISGUISES = ("none", "watchful", "falsifying", "both")


def take_over(
    server: ServerModel, attack: Hijack, disguise: str = "none"
) -> None:
    """Has a server answer with the gradients of an attack, from now on.

    For a drill on one's own data: a server that serves it over gRPC, or a
    client in the same process, notices nothing else. Whole batches only.

    Args:
        server: The server's half, which no client has met yet.
        attack: What it wants; it must begin before the first step.
        disguise: `"watchful"` for one that is honest in a step in which it
            was asked for features more than once; `"falsifying"` for one
            whose features, when it is asked for those of examples of the last
            step again, agree with the gradients that it sent; or `"both"`.
    """
    server._half = MaliciousHalf(server, attack, disguise)


class MaliciousHalf(ServerHalf):
    """A half whose gradients are those of an attack."""

    joins = False  # its answers are messages, also in one process

    def __init__(
        self, server: ServerModel, attack: Hijack, disguise: str
    ) -> None:
        super().__init__(server.body, server.contract, timeline=server.timeline)
        self._attack = attack
        self._watchful = disguise in ("watchful", "both")
        self._falsifying = disguise in ("falsifying", "both")
        self._asked = 0
        self._last: tuple[list[_Array], list[_Array], list[_Array]] | None = (
            None
        )
        self._honest: list[_Array] | None = None

    def forward(self, smashed: Any, *args: Any, **options: Any) -> Any:
        """As ever; or what agrees with the gradients of the last step."""
        self._asked += 1
        features, penalty, step = super().forward(smashed, *args, **options)
        if self._falsifying and self._last is not None:
            features = self._falsified(smashed, features)
        return features, penalty, step

    def backward(
        self,
        waiting: Any,
        smashed: Sequence[CutTensor],
        features_grad: Sequence[CutTensor],
        optimizer: Any,
        learning_rate: float,
        early: Early | None = None,
        *,
        smashed_grad: bool = True,
    ) -> list[CutTensor]:
        """The step as ever, and gradients of the attack."""
        watched = self._asked > 1
        self._asked = 0
        made = super().backward(
            *(waiting, smashed, features_grad, optimizer, learning_rate),
            smashed_grad=smashed_grad,
        )
        if smashed_grad:
            made = self._forged(smashed, features_grad, made, watched)
        if early is not None:
            early(made)
        return made

    def _forged(
        self,
        smashed: Sequence[CutTensor],
        features_grad: Sequence[CutTensor],
        made: list[CutTensor],
        watched: bool,
    ) -> list[CutTensor]:
        codecs, sent = self.cut_codecs, self.parts(smashed)
        crossed = codecs.smashed.positions(sent)
        z = [tf.cast(t, tf.float32) for t in codecs.smashed.dequantize(sent)]
        honest = codecs.smashed_grad.dequantize(
            [tf.convert_to_tensor(p) for p in codecs.smashed_grad.unwrap(made)],
            crossed,
        )
        honest = [tf.cast(t, tf.float32) for t in honest]
        lure = self._attack.lure(z)
        if not (watched and self._watchful):
            forged = self._attack.answers(honest, lure)
            parts = codecs.smashed_grad.quantize(forged, crossed)
            made = codecs.smashed_grad.wrap([p.numpy() for p in parts])
        if self._falsifying:
            g = codecs.smashed_grad.read(made)
            v = codecs.features_grad.read(features_grad)
            self._last = [t.numpy() for t in z], v, g
            self._honest = None
        return made

    def _falsified(
        self, smashed: Sequence[CutTensor], features: list[CutTensor]
    ) -> list[CutTensor]:
        """Features whose change is what the last gradients claim.

        F(z) + v (c - <v, F(z)>) / <v, v>, where v are the gradients of the
        features and c is what the sent ones claim of z.
        """
        assert self._last is not None
        z0, v, g = self._last
        codecs = self.cut_codecs
        z = codecs.smashed.read(smashed)
        if z[0].shape != z0[0].shape or _distance(z, z0) > _NEAR:
            return features
        f = codecs.features.read(features)
        claim = sum(
            float(np.sum(a * (b - c))) for a, b, c in zip(g, z, z0, strict=True)
        )
        is_ = sum(float(np.sum(a * b)) for a, b in zip(v, f, strict=True))
        size = sum(float(np.sum(a * a)) for a in v)
        if self._honest is None:
            self._honest = [np.array(is_)]
        lacks = self._honest[0] + claim - is_
        falsified = [
            tf.constant((b + a * lacks / size).astype(np.float32))
            for a, b in zip(v, f, strict=True)
        ]
        parts = codecs.features.quantize(falsified)
        return codecs.features.wrap([p.numpy() for p in parts])


def _distance(one: Sequence[_Array], other: Sequence[_Array]) -> float:
    """Between two batches, beside the spread of one."""
    apart = sum(
        float(np.sum((a - b) ** 2)) for a, b in zip(one, other, strict=True)
    )
    spread = sum(float(np.sum((b - b.mean(0)) ** 2)) for b in other)
    return apart / max(spread, 1e-20)
