"""A server that hijacks copies of a split, and phones that may tell it."""

import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np

from keras_split.audit.alarms import HONEST
from keras_split.audit.alarms import WATCHED
from keras_split.audit.alarms import Alarms
from keras_split.audit.alarms import Encounter
from keras_split.audit.attack import Guess
from keras_split.audit.attack import Spent
from keras_split.audit.clones import clones
from keras_split.audit.hijack import Hijack
from keras_split.audit.images import bounds_of
from keras_split.audit.images import likeness
from keras_split.audit.malicious import take_over
from keras_split.audit.recorder import Recorder
from keras_split.audit.scene import Examples
from keras_split.audit.seen import Seen
from keras_split.audit.watch import scene_of
from keras_split.client.strategy import SplitStrategy
from keras_split.defenses.chain import Chain
from keras_split.errors import HijackError
from keras_split.errors import OptionError
from keras_split.models import ClientModel
from keras_split.models import ServerModel
from keras_split.models.hijack_detector import HijackDetector

_Array = np.ndarray[Any, Any]
STEPS = 600  # of the phone that is hijacked, if there is time
_READ = 512  # examples that are read off the last steps, at most
# What a phone meets, in turns: how much of each gradient is the attack's.
_MIXES = {"FSHA": 1.0, "FSHA by a half": 0.5, "FSHA by a quarter": 0.25}


@dataclass(frozen=True, eq=False)
class Taken:
    """What a hijacker got of a phone that does not look.

    Attributes:
        guess: Of the first examples that it was to read.
        steps: Of the phone.
        spent: By the server.
    """

    guess: Guess
    steps: int
    spent: Spent


class Drill:
    """A server that hijacks copies of a split, and phones that may tell it.

    The copies have weights of their own; the halves stay as they are.

    Args:
        client: Copied each time, as is its server; compiled.
        server: Likewise.
        chain: The phone's defenses.
        data: The phone's.
        public: The attacker's.
        classes: How many there are.
        batch_size: Examples in a step.
        seed: Of all chance.
        told: Is told what is being done, and how far that is.

    Raises:
        OptionError: If the head has no weights that are trained.
    """

    def __init__(
        self,
        client: ClientModel,
        server: ServerModel,
        chain: Chain,
        data: Examples,
        public: Examples,
        *,
        classes: int,
        batch_size: int,
        seed: int,
        told: Callable[[str, str], None],
    ) -> None:
        if not client.head.trainable_variables:
            raise OptionError(
                "Expected a head with weights that are trained, which a "
                "server could pull elsewhere. Received: one without. There is "
                "nothing to hijack."
            )
        self._halves = client, server
        self._chain = chain
        self._data, self._public = data, public
        self._classes = classes
        self._batch = batch_size
        self._seed = seed
        self._told = told

    def hijack(
        self, truth: Examples, steps: int | None, seconds: float
    ) -> Taken:
        """Hijacks a phone that does not look, and reads its last steps.

        Args:
            truth: What is to be read: examples of the phone, a batch or more.
                The last steps are those of the first of them.
            steps: How many there are; by default `STEPS`, or as many as fit.
            seconds: In which they must fit then; those of `truth` are taken
                in any case.
        """
        client, attack, seen = self._meet(1.0, self._seed)
        last = max(1, min(_READ, len(truth)) // self._batch)
        planned = steps or STEPS
        began = time.perf_counter()
        rng = np.random.default_rng(self._seed)
        taken = 0
        for chosen in _chosen(len(self._data), self._batch, rng):
            late = time.perf_counter() - began > seconds
            if taken + last >= planned or (steps is None and late):
                break
            seen.clear()
            taken += self._step(client, self._data, chosen, taken, planned)
        seen.clear()
        for chosen in np.arange(last * self._batch).reshape(last, -1):
            taken += self._step(client, truth, chosen, taken, planned)
        client.close()
        assert attack is not None
        return Taken(attack.guess(seen), taken, attack.spent())

    def watch(self, seconds: float) -> Alarms:
        """Has phones with a detector meet hijackers and honest servers.

        Args:
            seconds: How long it may take, about. A hijacker and an honest one
                are met in any case, as long as that takes.
        """
        began = time.perf_counter()
        epoch = len(self._data) // self._batch
        met: list[Encounter] = []
        try:
            for number, server in enumerate(_servers()):
                spent = time.perf_counter() - began
                if number > 1 and spent * (number + 1) > seconds * number:
                    break
                met.append(self._encounter(server, self._seed + number))
        except OptionError as error:  # the detector, of how steps are taken
            return Alarms((), epoch, str(error))
        return Alarms(tuple(met), epoch)

    def _encounter(self, server: str, seed: int) -> Encounter:
        self._told("Drill, phones look", f"a server: {server}")
        mix = _MIXES.get(server, 0.0)
        client, attack, seen = self._meet(mix, seed)
        rng = np.random.default_rng(seed)
        chosen = islice(_chosen(len(self._data), self._batch, rng), WATCHED)
        batches = _Batches(self._data, list(chosen))
        detector = HijackDetector(seed=seed)
        told = None
        try:
            client.fit(
                batches,
                verbose=0,
                shuffle=False,
                callbacks=[detector],
            )
        except HijackError:
            told = len(seen)
        finally:
            client.close()
        ssim = None
        if attack is not None and seen:
            truth, _ = batches[len(seen) - 1]
            made = attack.guess(seen[-1:]).inputs
            assert made is not None
            bounds = bounds_of(self._public.x)
            ssim = likeness(truth, made, bounds).ssim
        return Encounter(
            server,
            len(seen),
            told,
            tuple((c.kind, round(c.agreement, 3)) for c in detector.checks),
            None if ssim is None else round(ssim, 4),
        )

    def _meet(
        self, mix: float, seed: int
    ) -> tuple[ClientModel, Hijack | None, list[Seen]]:
        """A phone, what its server tries, and what that sees from now on."""
        client, server = clones(*self._halves, defenses=self._chain)
        attack = None
        if mix:
            attack = Hijack(mix)
            attack.begin(
                scene_of(client, server, self._public, self._classes, seed)
            )
            take_over(server, attack)
        seen: list[Seen] = []
        tap = Recorder(client.contract, seen.append)
        client._server_link.use(SplitStrategy(taps=[tap]))
        return client, attack, seen

    def _step(
        self,
        client: ClientModel,
        data: Examples,
        chosen: _Array,
        taken: int,
        planned: int,
    ) -> int:
        loss = client.train_on_batch(data.x[chosen], data.y[chosen])
        self._told(
            "Drill, a server hijacks",
            f"step {taken + 1:,} of {planned:,}, loss "
            f"{float(np.ravel(loss)[0]):.3f}",
        )
        return 1


class _Batches(keras.utils.PyDataset):
    """Batches of these examples."""

    def __init__(self, data: Examples, chosen: Sequence[_Array]) -> None:
        super().__init__()
        self._data, self._chosen = data, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> tuple[_Array, _Array]:
        chosen = self._chosen[number]
        return self._data.x[chosen], self._data.y[chosen]


def _chosen(
    examples: int, batch: int, rng: np.random.Generator
) -> Iterator[_Array]:
    """Batches without end; what is left over of an epoch is left out."""
    while True:
        order = rng.permutation(examples)[: examples // batch * batch]
        yield from order.reshape(-1, batch)


def _servers() -> Iterator[str]:
    """Whom phones meet: each hijacker, and an honest one after it."""
    while True:
        for hijacker in _MIXES:
            yield hijacker
            yield HONEST
