"""What a phone trains with: its own batches, alone or in a cohort."""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager

from keras_split.client.cohort import CohortClient
from keras_split.client.rounds import Rounds
from keras_split.client.session import ClientSession
from keras_split.device import feed
from keras_split.device.averaging import FederatedAveraging
from keras_split.device.batch import Batch
from keras_split.device.description import Description
from keras_split.device.drawn_batches import DrawnBatches
from keras_split.device.feed import Batches
from keras_split.device.half_vector import HalfVector
from keras_split.device.model import Model
from keras_split.device.own_batches import InRounds
from keras_split.device.own_batches import OwnBatches
from keras_split.errors import OptionError

Training = OwnBatches | InRounds | DrawnBatches


@contextmanager
def training_of(
    federate: FederatedAveraging | None,
    session: ClientSession,
    model: Model,
    description: Description,
    batches: Batches,
) -> Iterator[Training]:
    """What a `fit` does in each epoch; a cohort is left behind it.

    Args:
        federate: How it averages with others; None if it is for itself.
        session: Speaks with the server; open.
        model: The .tflite.
        description: Its client.json.
        batches: Of the `fit`.

    Raises:
        OptionError: If `federate` does not fit the server's cohort, or nobody
            knows how many examples there are.
        RefusedError: With reason `"cohort"`, if the server has none, or the
            others train otherwise.
    """
    if federate is None:
        yield OwnBatches()
        return
    half = HalfVector(model, description, federate.batchnorm)
    examples = _examples(federate, batches, description)
    cohort = CohortClient(
        session,
        federate.terms,
        half,
        examples or 0,
        description.batch_size,
        require_secure=federate.require_secure,
    )
    rounds = Rounds(cohort, half)
    every = federate.terms.every
    training: Training = InRounds(rounds, every)
    if cohort.info.mode == "merged":
        if examples is None:
            raise OptionError(
                "Expected to know how many examples an epoch has, of which "
                "the server draws the phone's share. Received: data of unknown "
                "length. Say it: FederatedAveraging(examples=...)."
            )
        size = description.batch_size
        training = DrawnBatches(cohort, rounds, every, size, examples)
    try:
        cohort.enroll()
        yield training
        cohort.leave()
    finally:
        session.connection.merged = None
        # Others do not wait for it as long as for a silent one.
        session.connection.hang_up()


def _examples(
    federate: FederatedAveraging, batches: Batches, description: Description
) -> int | None:
    """How many an epoch has; None if nobody knows."""
    if federate.examples is not None:
        return federate.examples
    known = getattr(batches, "examples", None)
    if isinstance(known, int):
        return known
    if not isinstance(batches, Sequence):
        return None
    return sum(
        Batch.of(description, *feed.labeled(item)).count for item in batches
    )
