"""What a cut costs on given machines, over a given network."""

import math
from dataclasses import dataclass
from typing import Any

from keras_split.compression.presets import CompressionPreset
from keras_split.compression.rules import Rule
from keras_split.planner.candidates import Candidate
from keras_split.planner.candidates import Shape
from keras_split.planner.link import Link
from keras_split.planner.link import Passes
from keras_split.planner.link import Traffic
from keras_split.planner.link import best_microbatches
from keras_split.planner.link import step_seconds
from keras_split.planner.profile import Profile
from keras_split.planner.work import commit
from keras_split.planner.work import crossing


@dataclass(frozen=True)
class Setting:
    """What cuts are scored for.

    Attributes:
        phone: The phone's profile; None if it was not measured.
        server: The server's; likewise.
        link: The network.
        coding: How tensors are made smaller.
        batch: Examples of a step.
        slots: Of the optimizer, see `Profile.peak_bytes`.
        microbatches: In how many parts a batch travels; None for the best.
        ratio: What the lossless codec leaves of the bytes.
        name: Of the coding.
    """

    phone: Profile | None
    server: Profile | None
    link: Link
    coding: CompressionPreset
    batch: int = 16
    slots: int = 1
    microbatches: int | None = None
    ratio: float = 1.0
    name: str = "int8"


@dataclass(frozen=True)
class Scored:
    """A cut and its costs.

    Attributes:
        candidate: The cut.
        depth: The head's share of the network's multiply-adds.
        seconds: Of a step; None without profiles of phone and server.
        phone_seconds: Of it, those that the phone computes; None without its
            profile.
        server_seconds: Those that the server computes; None without its.
        link_seconds: Those that its bytes and round trips take.
        microbatches: In how many parts the batch travels.
        uplink_bytes: A sample; behind the codec, where it was measured what
            that leaves.
        downlink_bytes: Likewise.
        phone_parameters: Of head and tail.
        memory_bytes: The most that the phone's process has; None without a
            profile of it.
        weight_bytes: Of the phone's file, which has some more.
        leakage: What smashed data has in common with the input, a distance
            correlation; None if it is unknown, as it is without data.
        coding: How tensors are made smaller.
    """

    candidate: Candidate
    depth: float
    seconds: float | None
    phone_seconds: float | None
    server_seconds: float | None
    link_seconds: float
    microbatches: int
    uplink_bytes: float
    downlink_bytes: float
    phone_parameters: int
    memory_bytes: int | None
    weight_bytes: int
    leakage: float | None = None
    coding: str = "int8"

    @property
    def bytes_per_sample(self) -> float:
        """Both ways."""
        return self.uplink_bytes + self.downlink_bytes

    def get_config(self) -> dict[str, Any]:
        """Plain values, for programs."""
        values = {k: v for k, v in vars(self).items() if k != "candidate"}
        return {
            "cut": self.candidate.layers,
            "name": self.candidate.name,
            "labels_on_server": self.candidate.labels_on_server,
            "smashed": self.candidate.smashed,
            "features": self.candidate.features,
            "phone_multiply_adds": self.candidate.head.multiply_adds
            + self.candidate.tail.multiply_adds,
            **values,
        }


def score(candidate: Candidate, depth: float, setting: Setting) -> Scored:
    """Scores a cut.

    Args:
        candidate: The cut.
        depth: The head's share of the network's multiply-adds.
        setting: Machines, network and step.

    Raises:
        OptionError: If a profile is of a machine that plays the other part.
        DataError: If a profile does not know a kind of work.
    """
    batch, link = setting.batch, setting.link
    moved = _coded(candidate, setting, batch)
    wanted = setting.microbatches or 1
    if candidate.labels_on_server or wanted > batch:
        wanted = 1  # a batch of fewer examples travels whole
    passes = _passes(candidate, setting, batch)
    seconds = None
    if passes is not None and setting.server is not None:

        def taken(count: int) -> float:
            part = math.ceil(batch / count)
            own = _passes(candidate, setting, part)
            assert own is not None
            return step_seconds(
                link,
                own,
                _coded(candidate, setting, part),
                microbatches=count,
                labels_on_server=candidate.labels_on_server,
            )

        if setting.microbatches is None and not candidate.labels_on_server:
            wanted, seconds = best_microbatches(batch, taken)
        else:
            seconds = taken(wanted)
    nothing = Passes(0.0, 0.0, 0.0, 0.0, 0.0)
    parameters = candidate.head.parameters + candidate.tail.parameters
    return Scored(
        candidate=candidate,
        depth=depth,
        seconds=seconds,
        phone_seconds=passes.phone if passes else None,
        server_seconds=passes.server if passes and setting.server else None,
        link_seconds=step_seconds(
            link,
            nothing,
            moved,
            labels_on_server=candidate.labels_on_server,
        ),
        microbatches=wanted,
        uplink_bytes=moved.up / batch,
        downlink_bytes=moved.down / batch,
        phone_parameters=parameters,
        memory_bytes=_memory(candidate, setting),
        weight_bytes=4 * parameters,
        coding=setting.name,
    )


def _coded(candidate: Candidate, setting: Setting, batch: int) -> Traffic:
    """Payload bytes of a step, behind the codec."""
    moved = traffic(candidate, setting.coding, batch)
    return Traffic(*(setting.ratio * n for n in vars(moved).values()))


def traffic(
    candidate: Candidate, coding: CompressionPreset, batch: int
) -> Traffic:
    """Payload bytes of a step, before the codec.

    As `Contract.bytes_per_sample` has them, by tensor.
    """
    forward = coding.quantization.activations
    backward = coding.quantization.gradients

    def total(shapes: tuple[Shape, ...], rule: Rule) -> int:
        return sum(rule.nbytes(batch, shape) for shape in shapes)

    smashed = tuple(map(coding.shape, candidate.smashed))
    features = candidate.features
    if not candidate.labels_on_server:  # predictions have no bottleneck
        features = tuple(map(coding.shape, features))

    # Nobody sends gradients that no weight needs.
    back = candidate.head.trains
    down = back or candidate.body.trains
    down = down and not candidate.labels_on_server
    return Traffic(
        total(smashed, forward),
        total(features, forward),
        total(features, backward) if down else 0,
        total(smashed, backward) if back else 0,
    )


def _passes(
    candidate: Candidate, setting: Setting, batch: int
) -> Passes | None:
    phone, server = setting.phone, setting.server
    if phone is None:
        return None
    up, down = crossing(candidate.smashed), crossing(candidate.features)
    head, tail = candidate.head.work + up, candidate.tail.work + down
    body = candidate.body.work + up + down
    if candidate.labels_on_server:
        tail_step = 0.0
    else:
        tail_step = phone.seconds(tail, batch, "tail_step")
    back = 0.0
    if candidate.head.trains:
        back = phone.seconds(head + commit(tail), batch, "head_backward")
    forward = backward = 0.0
    if server is not None:
        forward = server.seconds(body, batch, "body_forward")
        backward = server.seconds(body, batch, "body_backward")
    return Passes(
        phone.seconds(head, batch, "head_forward"),
        *(forward, tail_step, backward, back),
    )


def _memory(candidate: Candidate, setting: Setting) -> int | None:
    if setting.phone is None:
        return None
    head = candidate.head.work + crossing(candidate.smashed)
    tail = candidate.tail.work
    if not candidate.labels_on_server:
        tail = tail + crossing(candidate.features)
    return setting.phone.peak_bytes(
        head, tail, setting.batch, slots=setting.slots
    )
