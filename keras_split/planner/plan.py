"""Where to cut a model: candidates, scored, and one of them recommended."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from numbers import Integral
from numbers import Real
from typing import Any

from keras_split.compression import presets
from keras_split.errors import CutError
from keras_split.errors import OptionError
from keras_split.planner import codings
from keras_split.planner import machines
from keras_split.planner.candidates import Candidates
from keras_split.planner.leakage import leakages
from keras_split.planner.link import Link
from keras_split.planner.profile import Profile
from keras_split.planner.scored import Scored
from keras_split.planner.scored import Setting
from keras_split.planner.scored import score
from keras_split.protocol.messages import MAX_MICROBATCHES

GOALS = ("time", "bytes", "phone", "leakage")
DEFAULT_LINK = "20M/30ms"
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Plan:
    """Cuts of a model, scored, the best first.

    Attributes:
        model: The model's name.
        setting: What they are scored for.
        goal: `"time"`, `"bytes"`, `"phone"` or `"leakage"`.
        cuts: All that fit the limits, the best by the goal first.
        beyond: Those that do not, and named ones that are not offered.
        quantization: As it was given, or as it was chosen for the best.
    """

    model: str
    setting: Setting
    goal: str
    cuts: tuple[Scored, ...]
    beyond: tuple[Scored, ...] = ()
    quantization: str = "int8"

    @property
    def best(self) -> Scored:
        """The recommendation."""
        return self.cuts[0]

    @property
    def cut(self) -> list[Any]:
        """The cut of the recommendation, for `keras_split.compile`."""
        return self.best.candidate.layers

    @property
    def front(self) -> tuple[Scored, ...]:
        """Cuts that no other one equals or beats in everything.

        By time (if it is known), bytes, what the phone holds, depth, and
        leakage (if it is known).
        """
        kept: list[Scored] = []
        for cut in self.cuts:
            own = _costs(cut)
            if not any(
                all(a <= b for a, b in zip(_costs(other), own, strict=True))
                and (_costs(other) != own or other in kept)
                for other in self.cuts
                if other is not cut
            ):
                kept.append(cut)
        return tuple(kept)

    @property
    def reason(self) -> str:
        """Why that one, in words."""
        best, count = self.best, len(self.cuts)
        what = {
            "time": "a step takes the least time",
            "bytes": "the fewest bytes cross",
            "phone": "the phone needs the least"
            + (" memory" if best.memory_bytes is not None else " weights"),
            "leakage": "smashed data has the least in common with the input",
        }[self.goal]
        text = f"Of {count} cuts that fit, {what} with this one"
        if best.seconds is not None:
            text += f": {_seconds(best.seconds)} a batch"
        text += (
            f". The phone has {100 * best.depth:.1f} % of the network's "
            "multiply-adds in front of the cut; what smashed data tells there "
            "is unknown until keras-split audit has measured it"
        )
        if best.leakage is not None:
            text += (
                f", its distance correlation of {best.leakage:.2f} with the "
                "input is a hint to compare cuts by"
            )
        text += "."
        return text

    def __str__(self) -> str:
        from keras_split.planner import table

        return table.text(self)

    def __repr__(self) -> str:
        return f"Plan({self.model!r}, cut={self.cut!r}, goal={self.goal!r})"

    def _repr_html_(self) -> str:
        from keras_split.planner import table

        return table.markup(self)

    def get_config(self) -> dict[str, Any]:
        """Plain values, for programs."""
        phone, server = self.setting.phone, self.setting.server
        front = set(map(id, self.front))
        return {
            "model": self.model,
            "link": str(self.setting.link),
            "phone": phone.name if phone else None,
            "server": server.name if server else None,
            "batch": self.setting.batch,
            "quantization": self.quantization,
            "optimize": self.goal,
            "reason": self.reason,
            "cut": self.cut,
            "cuts": [
                {**c.get_config(), "front": id(c) in front} for c in self.cuts
            ],
            "beyond": [c.get_config() for c in self.beyond],
        }


def plan(
    model: Any,
    *,
    phone: str | os.PathLike[str] | Profile | None = None,
    server: str | os.PathLike[str] | Profile | None = None,
    link: str | Link = DEFAULT_LINK,
    max_memory: int | str | None = None,
    min_depth: float = 0.0,
    max_leakage: float | None = None,
    data: Any = None,
    network: Any = None,
    optimize: str | None = None,
    quantization: Any = "int8",
    max_loss: float = codings.DEFAULT_LOSS,
    batch_size: int = 16,
    microbatches: int | None = None,
    labels_on_phone: bool = True,
) -> Plan:
    """Says where to cut a model.

    Args:
        model: A functional or Sequential model, built; or `Candidates`, such
            as `keras_split.zoo.get("mobilenet_v2").candidates()`, which takes
            no TensorFlow.
        phone: The phone's profile: a file that `keras-split device probe`
            wrote, the name of one that comes with keras_split, a `Profile`,
            or `"probe"`, which measures this machine now. None if there is
            none: then times and memory are unknown, and nobody guesses them.
        server: The server's, likewise; `"probe"` loads TensorFlow.
        link: `"20M/30ms"`, see `Link.parse`.
        max_memory: The most bytes of the phone's process: `300e6`, `"300M"`.
        min_depth: The least share of the network's multiply-adds in front of
            the cut, from 0 to 1. A deeper cut tells less of the input, by how
            much is for an audit to say.
        max_leakage: The most that smashed data may have in common with the
            input, from 0 to 1, see `leakage.leakages`; takes `data`.
        data: Examples of the model's input, 128 are enough, to compare cuts
            by the distance correlation of input and smashed data. It is no
            audit. None if there are none: then leakage is unknown.
        network: The Keras model, if there is data and `model` is candidates.
        optimize: `"time"` of a step; `"bytes"` that cross; `"phone"`, the
            memory of the phone, or its weights if that is unknown; or
            `"leakage"`, which takes `data`. By default time if it is known,
            and bytes otherwise.
        quantization: As in `keras_split.compile`; or `"auto"`, for that of
            `codings.CODINGS` which makes the least of what is to be least,
            where a rougher one has to save a twentieth.
        max_loss: With `"auto"`, the most points of accuracy that it may have
            cost where it was measured.
        batch_size: Examples of a step.
        microbatches: In how many parts a batch travels; None for what is
            fastest.
        labels_on_phone: Whether the server may not see labels, nor gradients
            that are the labels: no single cuts, and a tail with weights.

    Returns:
        The plan; `print(plan)` shows it, `plan.cut` is what to cut at.

    Raises:
        CutError: If the model cannot be cut, or no cut fits the limits.
        OptionError: If an option is none, or needs a profile that is missing.
        DataError: If a profile cannot be read.
    """
    found = _candidates(model)
    names = _codings(quantization, max_loss)
    setting = Setting(
        machines.profile(phone, machines.phone_now),
        machines.profile(server, machines.server_now),
        Link.parse(link),
        presets.get(names[0]),
        _positive("batch_size", batch_size),
        1,
        None
        if microbatches is None
        else _positive("microbatches", microbatches, MAX_MICROBATCHES),
    )
    known = setting.phone is not None and setting.server is not None
    goal = optimize or ("time" if known else "bytes")
    if goal not in GOALS:
        raise OptionError(
            f"Expected optimize to be one of {', '.join(GOALS)}. Received: "
            f"{optimize!r}. Choose one of those."
        )
    if goal == "time" and not known:
        raise OptionError(
            "Expected profiles of phone and server, to optimize time. "
            f"Received: phone={phone!r}, server={server!r}. Measure them with "
            "keras-split device probe, the server with --server, or optimize "
            "bytes."
        )
    limit = None if max_memory is None else memory(max_memory)
    if limit is not None and setting.phone is None:
        raise OptionError(
            "Expected a profile of the phone, to know its memory. Received: "
            f"max_memory={max_memory!r} without one. Measure it with "
            "keras-split device probe, or leave max_memory out."
        )
    if data is None and (max_leakage is not None or goal == "leakage"):
        raise OptionError(
            "Expected data, to know what smashed data has in common with the "
            f"input. Received: max_leakage={max_leakage!r}, optimize={goal!r} "
            "without it. Pass some examples as data."
        )
    if max_leakage is not None and not 0 < max_leakage <= 1:
        raise OptionError(
            "Expected max_leakage above 0 and up to 1, a correlation. "
            f"Received: {max_leakage!r}. Try 0.9."
        )
    if network is None and not isinstance(model, Candidates):
        network = model
    if data is not None and network is None:
        raise OptionError(
            "Expected the model itself beside data. Received: its candidates "
            "alone. Pass a Keras model as network, such as preset.build(...)."
        )
    if not 0 <= min_depth <= 1:
        raise OptionError(
            "Expected min_depth from 0 to 1, a share of the network. "
            f"Received: {min_depth!r}. Try 0.1."
        )
    settings = [
        replace(
            setting,
            coding=presets.get(name),
            ratio=codings.ratio(str(name)),
            name=str(name),
        )
        for name in names
    ]
    scored = [
        codings.gentlest(
            [score(c, found.depth(c), own) for own in settings],
            lambda cut: _key(goal, cut)[0],
        )
        for c in found.cuts
    ]
    allowed = [
        cut
        for cut in scored
        # A head without weights sends what its input is.
        if cut.candidate.head.trains
        and not (labels_on_phone and cut.candidate.labels_show)
    ]
    if data is not None:
        told = leakages(network, [cut.candidate for cut in allowed], data)
        known_to = dict(zip(map(id, allowed), told, strict=True))
        scored = [replace(cut, leakage=known_to.get(id(cut))) for cut in scored]
        allowed = [cut for cut in scored if cut.leakage is not None]
    fits = [
        cut
        for cut in allowed
        if (limit is None or (cut.memory_bytes or 0) <= limit)
        and cut.depth >= min_depth
        and (max_leakage is None or (cut.leakage or 0.0) <= max_leakage)
    ]
    if not fits:
        raise CutError(_nothing(found, allowed, limit, min_depth, max_leakage))
    fits.sort(key=lambda cut: _key(goal, cut))
    rest = [cut for cut in scored if cut not in fits]
    name = fits[0].coding
    return Plan(found.model, setting, goal, tuple(fits), tuple(rest), name)


def memory(value: int | float | str) -> int:
    """A number of bytes, such as 300000000 or `"300M"`.

    Raises:
        OptionError: If it is none.

    Example:
    >>> memory("1.5G")
    1500000000
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)B?", str(value).strip())
    if isinstance(value, Real) and not isinstance(value, bool):
        if 1 <= value < math.inf:
            return int(value)
        found = None
    if found is None or not float(found[1]):
        raise OptionError(
            "Expected a number of bytes, such as 300M or 1.5G. Received: "
            f"{value!r}. Write k, M or G behind the number."
        )
    return int(float(found[1]) * _UNITS[found[2]])


def _candidates(model: Any) -> Candidates:
    if isinstance(model, Candidates):
        return model
    if isinstance(model, (str, bytes)) or not hasattr(model, "layers"):
        raise OptionError(
            "Expected a Keras model, or the candidates of a preset. Received: "
            f"{model!r}. For a preset, pass "
            "keras_split.zoo.get(name).candidates()."
        )
    from keras_split.planner.search import candidates_of

    return candidates_of(model)


def _codings(quantization: Any, max_loss: float) -> list[Any]:
    """What to try, from the gentlest on."""
    chosen = codings.within(max_loss)
    if isinstance(quantization, str) and quantization == codings.AUTO:
        return [coding.name for coding in chosen]
    return [quantization]


def _positive(name: str, value: Any, most: int | None = None) -> int:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < 1 or (most is not None and value > most):
        wanted = "1 or more" if most is None else f"1 to {most}"
        raise OptionError(
            f"Expected {name} to be {wanted}. Received: {value!r}. Try 1."
        )
    return int(value)


def _key(goal: str, cut: Scored) -> tuple[float, ...]:
    """What is least for the best; ties go to the deeper one."""
    rest = (cut.bytes_per_sample, cut.phone_parameters, -cut.depth)
    if goal == "time":
        return (cut.seconds or 0.0, *rest)
    if goal == "bytes":
        return rest
    if goal == "leakage":
        return (cut.leakage or 0.0, *rest)
    return (_held(cut), *rest)


def _held(cut: Scored) -> float:
    """Bytes of the phone, or its parameters."""
    known = cut.memory_bytes is not None
    return float(cut.memory_bytes or 0 if known else cut.phone_parameters)


def _costs(cut: Scored) -> tuple[float, ...]:
    return (
        cut.seconds or 0.0,
        cut.bytes_per_sample,
        _held(cut),
        -round(cut.depth, 3),
        cut.leakage or 0.0,
    )


def _nothing(
    found: Candidates,
    allowed: Sequence[Scored],
    limit: int | None,
    min_depth: float,
    max_leakage: float | None,
) -> str:
    """Why nothing fits, and what would."""
    if not allowed:
        return (
            f"Expected a cut of {found.model!r} with weights in front of it, "
            f"and in a tail that keeps the labels. Received: none of "
            f"{len(found.cuts)}. Allow labels on the server "
            "(labels_on_phone=False), or add a layer at the end."
        )
    limits = [] if limit is None else [f"{limit / 1e6:.0f} MB of memory"]
    limits += [f"a depth of {min_depth:g}"] if min_depth else []
    if max_leakage is not None:
        limits.append(f"a leakage of {max_leakage:g}")
        least = min(allowed, key=lambda cut: cut.leakage or 0.0)
        if (least.leakage or 0.0) > max_leakage:
            return (
                f"Expected a cut of {found.model!r} within "
                f"{' and '.join(limits)}. Received: {len(allowed)} cuts, and "
                f"none fits. The least has {least.candidate.label}, "
                f"{least.leakage:.2f}. Allow that, or look for a defense."
            )
    deep = [cut for cut in allowed if cut.depth >= min_depth]
    near = min(deep or allowed, key=_held if deep else lambda c: -c.depth)
    needs = (
        f"has a depth of {near.depth:.3f}"
        if not deep
        else f"needs {(near.memory_bytes or 0) / 1e6:.0f} MB"
    )
    return (
        f"Expected a cut of {found.model!r} within {' and '.join(limits)}. "
        f"Received: {len(allowed)} cuts, and none fits. The nearest is "
        f"{near.candidate.label}, which {needs}. Allow that, or take a "
        "smaller batch."
    )


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.0f} ms"
