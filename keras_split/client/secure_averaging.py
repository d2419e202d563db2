"""A phone's way through an average that the server cannot read."""

from typing import Any

import numpy as np

from keras_split.client.session import ClientSession
from keras_split.errors import BackendError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort_messages import STAGES
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.vectors import to_tensors
from keras_split.utils.extras import install

_Vector = np.ndarray[Any, Any]
_TRIES = 10  # servers that are killed in the middle of one average


class SecureAveraging:
    """Averages vectors that only this phone knows.

    Args:
        session: Speaks with the server.

    Raises:
        BackendError: If the packages for it are missing.
    """

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._phone = _secure_phone()
        # Of the latest round: who is in the sum that this phone unmasked.
        self._unmasked: tuple[int, frozenset[int]] | None = None

    def check(self, info: CohortInfo) -> None:
        """Refuses a server that could read a phone's half.

        Raises:
            RefusedError: With reason `"cohort"`.
        """
        if not info.secure:
            raise RefusedError(
                "Expected a server that adds up halves under masks. Received: "
                f"one that could read those of its {info.phones} phones. "
                "Start it for three phones or more, without "
                "--plain-aggregation, or train without require_secure.",
                "cohort",
            )

    def average(
        self,
        info: CohortInfo,
        member: int,
        round: int,
        vector: _Vector,
        weight: float,
    ) -> Gathered:
        """What all phones' vectors are in the mean.

        A server that was started again in the middle has forgotten the
        stages before; then all begin with other keys.

        Args:
            info: What the server says of the cohort now.
            member: Number of this phone.
            round: Number of the average.
            vector: Shape `(size,)`, float32.
            weight: Its examples; 0 to listen only.

        Raises:
            QuantizationError: If a number does not fit.
            RefusedError: With reason `"late"`, if it is over; else if what
                the server says does not fit together.
        """
        for last in (*[False] * (_TRIES - 1), True):
            self.check(info)
            try:
                return self._stages(info, member, round, vector, weight)
            except RefusedError as error:
                if error.reason != "order" or last:
                    raise
            except ProtocolError as error:
                raise RefusedError(str(error), error.reason) from error
        raise AssertionError

    def _stages(
        self,
        info: CohortInfo,
        member: int,
        round: int,
        vector: _Vector,
        weight: float,
    ) -> Gathered:
        phone = self._phone(info.name, round, member, vector, weight, info.bits)

        def give(stage: str, **what: Any) -> Gathered:
            name = self._session.connection.session
            message = Contribution(name, round, stage, **what)
            reply = self._session.ask(Gathered, message)
            if (reply.round, reply.stage) != (round, stage):
                raise ProtocolError(
                    f"Expected a reply to {stage} of average {round}. "
                    f"Received: one to {reply.stage} of {reply.round}."
                )
            if reply.version >= 0 and stage != STAGES[-1]:
                raise _OverError(reply)
            return reply

        try:
            keys = give("keys", blobs={member: phone.keys()})
            shares = give("shares", blobs=phone.shares(keys.blobs))
            masked = phone.value(shares.members, shares.blobs)
            value = give("value", tensors=to_tensors(masked))
            self._check_same(round, value.members)
            return give("unmask", blobs=phone.unmask(value.members))
        except _OverError as over:
            return over.average

    def _check_same(self, round: int, members: Any) -> None:
        """Refuses a second sum of a round over other members.

        The difference of the two would be a sum of few.
        """
        summed = (round, frozenset(members))
        before = self._unmasked
        if before is not None and before[0] == round and before != summed:
            raise RefusedError(
                f"Expected one sum in round {round}, over members "
                f"{sorted(before[1])}. Received: another, over "
                f"{sorted(members)}; the two would tell more than each. Ask "
                "for the next round.",
                "late",
            )
        self._unmasked = summed


class _OverError(Exception):
    """A server that came back has the average of that round already.

    Attributes:
        average: The same.
    """

    def __init__(self, average: Gathered) -> None:
        super().__init__()
        self.average = average


def _secure_phone() -> Any:
    try:
        from keras_split.aggregation.secure_phone import SecurePhone
    except ImportError as error:
        raise BackendError(
            "Expected the packages cryptography and pycryptodome, to average "
            "halves that the server cannot read. Received: "
            f"{error}. Run: {install('federation')}"
        ) from error
    return SecurePhone
