"""Where simulated phones train: in this process, or in many."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import Protocol

from keras_split.errors import OptionError
from keras_split.federation.phone_turn import Begun
from keras_split.federation.phone_turn import PhoneTrainer
from keras_split.federation.phone_turn import PhoneTurn
from keras_split.federation.phone_turn import TurnResult


class Crew(Protocol):
    """Takes turns of phones that do not wait for each other."""

    def each(
        self, shared: Begun, tasks: Sequence[PhoneTurn]
    ) -> Iterator[TurnResult]:
        """Results of some turns as they are there, in any order.

        Args:
            shared: What all of them begin with.
            tasks: Whose turns they are.
        """

    def close(self) -> None:
        """Lets go of what it holds: processes, memory."""


class Engine(Protocol):
    """Opens crews; `keras_split.ray.RayEngine` is one."""

    def open(
        self,
        make: Callable[[], PhoneTrainer],
        *,
        tasks: int,
        shared_bytes: int,
    ) -> Crew:
        """A crew whose processes each make a trainer.

        Args:
            make: Makes one, in whichever process; goes there by pickle.
            tasks: Turns that there are at most at a time.
            shared_bytes: That data and turns may take in shared memory.
        """


class OneProcess:
    """A crew of this process alone.

    Args:
        trainer: Takes the turns, one behind the other.
    """

    def __init__(self, trainer: PhoneTrainer) -> None:
        self._trainer = trainer

    def each(
        self, shared: Begun, tasks: Sequence[PhoneTurn]
    ) -> Iterator[TurnResult]:
        """See `Crew`."""
        return (self._trainer(shared, turn) for turn in tasks)

    def close(self) -> None:
        """Nothing to let go of."""


def get(identifier: Any) -> Engine | None:
    """An engine from its name, or itself.

    Args:
        identifier: `"process"`, `"ray"`, or an object that opens crews.

    Returns:
        None for this process alone.

    Raises:
        OptionError: If there is no such engine.
        BackendError: If Ray is not installed.
    """
    if identifier == "process":
        return None
    if identifier == "ray":
        from keras_split.ray import RayEngine

        identifier = RayEngine()
    if not hasattr(identifier, "open"):
        raise OptionError(
            'Expected engine="process", "ray" or a keras_split.ray.RayEngine. '
            f"Received: {identifier!r}."
        )
    engine: Engine = identifier
    return engine
