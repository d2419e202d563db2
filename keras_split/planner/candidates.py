"""The cuts of a model that are worth a thought, as facts without a machine.

What is here needs neither Keras nor TensorFlow: `search` finds candidates in
a model, a preset of the zoo has them in a file, and `plan` scores them.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from functools import cached_property
from typing import Any

from keras_split.errors import DataError
from keras_split.planner.work import Work

Shape = tuple[int, ...]
VERSION = 1


@dataclass(frozen=True)
class Part:
    """Head, body or tail.

    Attributes:
        calls: Layers that it calls, and how often.
        parameters: Of its layers; of a layer that head and tail share, in the
            head alone.
        multiply_adds: Of its forward pass for one example.
        trains: Whether it has weights to train.
        work: What it does for one example.
    """

    calls: int = 0
    parameters: int = 0
    multiply_adds: int = 0
    trains: bool = False
    work: Work = field(default_factory=Work)

    def __add__(self, other: "Part") -> "Part":
        return Part(
            self.calls + other.calls,
            self.parameters + other.parameters,
            self.multiply_adds + other.multiply_adds,
            self.trains or other.trains,
            self.work + other.work,
        )


@dataclass(frozen=True)
class Candidate:
    """A legal cut.

    Attributes:
        cut: Layers at the first cut, and at the second if there is one: what
            `keras_split.compile` takes.
        head: What the phone runs first.
        body: What the server runs.
        tail: What the phone runs last; empty for one cut.
        smashed: Shapes of the tensors from phone to server.
        features: Shapes of the tensors from server to phone.
        name: `"spliteasy"` and the like, for cuts that have one.
        pruned: Whether another candidate is better at everything, so that it
            is here for its name alone.
    """

    cut: tuple[tuple[str, ...], ...]
    head: Part
    body: Part
    tail: Part
    smashed: tuple[Shape, ...]
    features: tuple[Shape, ...]
    name: str = ""
    pruned: bool = False

    @property
    def layers(self) -> list[Any]:
        """The cut as `keras_split.compile` takes it."""
        return [c[0] if len(c) == 1 else list(c) for c in self.cut]

    @property
    def label(self) -> str:
        """The cut layers as text."""
        return " / ".join("+".join(names) for names in self.cut)

    @property
    def labels_on_server(self) -> bool:
        """Whether labels travel to the server: with one cut."""
        return len(self.cut) == 1

    @property
    def labels_show(self) -> bool:
        """Whether the server sees labels, or gradients that are labels.

        What a tail without weights sends is the gradient of the loss with
        respect to the predictions: those minus the label, for cross-entropy.
        """
        return self.labels_on_server or not self.tail.trains


@dataclass(frozen=True)
class Entry:
    """A candidate by the numbers of the atoms that its parts are made of.

    Attributes:
        head: Numbers of atoms, rising.
        tail: Likewise; the body has the rest.
    """

    cut: tuple[tuple[str, ...], ...]
    head: tuple[int, ...]
    tail: tuple[int, ...]
    smashed: tuple[Shape, ...]
    features: tuple[Shape, ...]
    name: str = ""
    pruned: bool = False


@dataclass(frozen=True)
class Candidates:
    """The cuts of one model.

    Attributes:
        model: Its name.
        atoms: Calls that no candidate separates, so that each part of each is
            a sum of some.
        entries: The candidates, by atoms.
        input_shape: Of one example, if the model has one input.
        classes: The last axis of its output.
    """

    model: str
    atoms: tuple[Part, ...]
    entries: tuple[Entry, ...]
    input_shape: Shape = ()
    classes: int = 0

    @cached_property
    def whole(self) -> Part:
        """The model."""
        return sum(self.atoms, Part())

    @cached_property
    def cuts(self) -> tuple[Candidate, ...]:
        """The candidates."""
        return tuple(self._candidate(entry) for entry in self.entries)

    def depth(self, candidate: Candidate) -> float:
        """The head's share of the network's multiply-adds, from 0 to 1."""
        return candidate.head.multiply_adds / max(self.whole.multiply_adds, 1)

    def _candidate(self, entry: Entry) -> Candidate:
        ends = {*entry.head, *entry.tail}
        body = [n for n in range(len(self.atoms)) if n not in ends]
        head, middle, tail = (
            sum((self.atoms[n] for n in numbers), Part())
            for numbers in (entry.head, body, entry.tail)
        )
        shapes = entry.smashed, entry.features
        names = entry.name, entry.pruned
        return Candidate(entry.cut, head, middle, tail, *shapes, *names)

    def get_config(self) -> dict[str, Any]:
        """Plain values; what parts have in common stands there once."""
        return {
            "version": VERSION,
            "model": self.model,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "atoms": [
                {**vars(atom), "work": _short(atom.work.get_config())}
                for atom in self.atoms
            ],
            "cuts": [
                {**vars(e), "head": _runs(e.head), "tail": _runs(e.tail)}
                for e in self.entries
            ],
        }

    @classmethod
    def from_config(cls, config: Any) -> "Candidates":
        """The inverse of `get_config`.

        Raises:
            DataError: If it is none, or of another version.
        """
        try:
            if config["version"] != VERSION:
                raise ValueError(f"version {config['version']!r}")
            atoms = tuple(
                Part(**{**atom, "work": Work.from_config(atom["work"])})
                for atom in config["atoms"]
            )
            entries = tuple(_entry(e, len(atoms)) for e in config["cuts"])
            shape = tuple(map(int, config["input_shape"]))
            names = str(config["model"]), int(config["classes"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                "Expected the candidates of a model, as get_config has them. "
                f"Received: {type(error).__name__}: {error}. Make them again "
                "with keras_split.planner.candidates_of(model)."
            ) from error
        return cls(names[0], atoms, entries, shape, names[1])


def _short(config: Any) -> Any:
    """A config without what is 0."""
    if not isinstance(config, dict):
        return config
    return {key: _short(value) for key, value in config.items() if value != 0}


def _entry(config: Mapping[str, Any], atoms: int) -> Entry:
    """An entry from plain values.

    Raises:
        ValueError: If it counts atoms that are not there.
    """
    head, tail = (_numbers(config[name]) for name in ("head", "tail"))
    if not all(0 <= number < atoms for number in (*head, *tail)):
        raise ValueError(f"atoms {head}, {tail} of {atoms}")

    def shapes(name: str) -> tuple[Shape, ...]:
        return tuple(tuple(map(int, shape)) for shape in config[name])

    return Entry(
        tuple(tuple(map(str, names)) for names in config["cut"]),
        *(head, tail, shapes("smashed"), shapes("features")),
        *(str(config["name"]), bool(config["pruned"])),
    )


def _runs(numbers: Sequence[int]) -> str:
    """Rising numbers in few letters.

    Example:
    >>> _runs([0, 1, 2, 5])
    '0-2 5'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return " ".join(
        str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs
    )


def _numbers(runs: str) -> tuple[int, ...]:
    """The inverse of `_runs`."""
    found: list[int] = []
    for run in runs.split():
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
