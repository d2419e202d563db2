"""Which phone has which examples, for phones that are simulated."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import DataError

_Array = np.ndarray[Any, Any]
Cut = Callable[[int], list[_Array]]


@dataclass(frozen=True)
class Shards:
    """Examples, and which of them each phone has.

    The examples lie in memory once, however many phones there are.

    Attributes:
        x: Inputs: an array, or arrays in lists and dicts as `fit` takes them;
            the first axis counts examples.
        y: Labels, likewise.
        phones: Positions of the examples of each phone, one array a phone.

    Raises:
        DataError: If a phone has no examples, or two have the same one.
    """

    x: Any
    y: Any
    phones: Sequence[_Array]

    def __post_init__(self) -> None:
        counts = [len(shard) for shard in self.phones]
        if not counts or min(counts) < 1:
            raise DataError(
                "Expected one phone or more, and an example or more for each. "
                f"Received: {len(counts)} phones, of which {counts.count(0)} "
                "have none."
            )
        taken = np.concatenate([np.asarray(s) for s in self.phones])
        total = _count(self.x)
        _check_alike(_leaves((self.x, self.y)))
        if taken.min() < 0 or taken.max() >= total:
            raise DataError(
                f"Expected positions of {total} examples, from 0. Received: "
                f"{taken.min()} to {taken.max()}."
            )
        if len(np.unique(taken)) != len(taken):
            raise DataError(
                "Expected each example on one phone. Received: "
                f"{len(taken) - len(np.unique(taken))} on several. Cut them "
                "with keras_split.federation.shards."
            )

    def __len__(self) -> int:
        return len(self.phones)

    @property
    def examples(self) -> list[int]:
        """How many each phone has."""
        return [len(shard) for shard in self.phones]

    def rows(self, positions: _Array) -> tuple[Any, Any]:
        """Inputs and labels of some examples."""
        return _take(self.x, positions), _take(self.y, positions)

    @classmethod
    def get(cls, identifier: Any) -> "Shards":
        """Shards from themselves, or from `(x, y)` of each phone.

        Raises:
            DataError: If it is neither.
        """
        if isinstance(identifier, cls):
            return identifier
        try:
            pairs = [(x, y) for x, y in identifier]
            sizes = [_count(x) for x, _ in pairs]
            x = _together([x for x, _ in pairs])
            y = _together([y for _, y in pairs])
        except (TypeError, ValueError, IndexError) as error:
            raise DataError(
                "Expected keras_split.federation.Shards, or a list of (x, y), "
                f"one for each phone. Received: {type(identifier).__name__} "
                f"({error})."
            ) from error
        for number, pair in enumerate(pairs):
            _check_alike(_leaves(pair, tuple), f" of phone {number}")
        ends = np.cumsum(sizes)
        return cls(x, y, np.split(np.arange(ends[-1]), ends[:-1]))


def iid(count: int, phones: int, *, seed: int = 0) -> list[_Array]:
    """Examples dealt out by chance, the same number to each phone.

    Args:
        count: How many examples there are.
        phones: How many phones; the first ones get one more where it does not
            come out even.
        seed: Of the draw.

    Returns:
        Positions of each phone's examples; each example is on one phone.

    Raises:
        DataError: If there are fewer examples than phones.
    """
    _check(count, phones, 1)
    order = np.random.default_rng(seed).permutation(count)
    return np.array_split(order, phones)


def dirichlet(
    labels: Any,
    phones: int,
    alpha: float,
    *,
    seed: int = 0,
    least: int = 1,
) -> list[_Array]:
    """Examples of each class dealt out unevenly: phones differ in their mix.

    The shares of the phones in each class are drawn from a Dirichlet
    distribution, as in Hsu et al., Measuring the Effects of Non-Identical
    Data Distribution for Federated Visual Classification, 2019. With alpha
    0.1 most phones have one or two classes, and some 100 times the examples
    of others; with 100 all are about alike.

    Args:
        labels: Class of each example, shape `(count,)`.
        phones: How many phones.
        alpha: Concentration, above 0.
        seed: Of the draw.
        least: Examples that each phone has at least. Phones with fewer get
            some, drawn by chance, from the phone that has most, one at a
            time: with many phones no draw gives something to all.

    Returns:
        Positions of each phone's examples; each example is on one phone.

    Raises:
        DataError: If that cannot be.
    """
    labels = _classes(labels)
    _check(len(labels), phones, least)
    if not (np.isfinite(alpha) and alpha > 0):
        raise DataError(
            f"Expected alpha to be a number above 0. Received: {alpha}. For "
            "phones that are alike use iid."
        )
    rng = np.random.default_rng(seed)
    dealt: list[list[_Array]] = [[] for _ in range(phones)]
    for name in np.unique(labels):
        found = rng.permutation(np.flatnonzero(labels == name))
        shares = _shares(rng, alpha, phones)
        ends = np.rint(np.cumsum(shares)[:-1] * len(found)).astype(int)
        for phone, part in zip(dealt, np.split(found, ends), strict=True):
            phone.append(part)
    shards = [rng.permutation(np.concatenate(parts)) for parts in dealt]
    return _with_least(shards, least)


def by_class(
    labels: Any, phones: int, *, classes: int = 2, seed: int = 0
) -> list[_Array]:
    """Examples sorted by class and cut into pieces: a few for each phone.

    As in McMahan et al., Communication-Efficient Learning of Deep Networks
    from Decentralized Data, AISTATS 2017, where each of 100 phones has two
    of 200 pieces of MNIST, and so two classes at most in most cases.

    Args:
        labels: Class of each example, shape `(count,)`.
        phones: How many phones.
        classes: Pieces of each phone, 1 or more.
        seed: Of the draw.

    Returns:
        Positions of each phone's examples; each example is on one phone.

    Raises:
        DataError: If there are fewer examples than pieces.
    """
    labels = _classes(labels)
    if classes < 1:
        raise DataError(
            f"Expected 1 class a phone or more. Received: classes={classes}."
        )
    _check(len(labels), phones, classes)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    pieces = np.array_split(order, phones * classes)
    drawn = rng.permutation(len(pieces)).reshape(phones, classes)
    return [
        rng.permutation(np.concatenate([pieces[i] for i in mine]))
        for mine in drawn
    ]


def _shares(rng: np.random.Generator, alpha: float, phones: int) -> _Array:
    """Drawn shares; for tiny alpha numpy's may underflow to none at all."""
    shares = rng.dirichlet(np.full(phones, alpha))
    if not np.isfinite(shares).all() or not shares.sum() > 0:
        shares = np.zeros(phones)
        shares[rng.integers(phones)] = 1.0
    return shares


def _with_least(shards: list[_Array], least: int) -> list[_Array]:
    sizes = np.array([len(shard) for shard in shards])
    kept = [list(shard) for shard in shards]
    while sizes.min() < least:
        poor, rich = int(sizes.argmin()), int(sizes.argmax())
        kept[poor].append(kept[rich].pop())
        sizes[poor] += 1
        sizes[rich] -= 1
    return [np.array(shard, np.int64) for shard in kept]


def _classes(labels: Any) -> _Array:
    found: _Array = np.asarray(labels)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise DataError(
            "Expected the class of each example, shape (count,). Received: "
            f"shape {found.shape}. Of one-hot labels take argmax(axis=1)."
        )
    return found


def _check(count: int, phones: int, least: int) -> None:
    if phones < 1 or least < 0 or count < phones * max(least, 1):
        raise DataError(
            f"Expected 1 phone or more, and {max(least, 1)} examples or more "
            f"for each. Received: {count} examples for {phones} phones."
        )


def _leaves(structure: Any, kinds: Any = (list, tuple)) -> Iterator[Any]:
    if isinstance(structure, dict):
        structure = tuple(structure.values())
    if isinstance(structure, kinds):
        for part in structure:
            yield from _leaves(part, kinds)
    else:
        yield structure


def _count(structure: Any) -> int:
    return len(next(_leaves(structure)))


def _check_alike(leaves: Iterator[Any], whose: str = "") -> None:
    """Refuses inputs and labels of which there are not as many."""
    sizes = [len(leaf) if hasattr(leaf, "__len__") else 0 for leaf in leaves]
    if len(set(sizes)) > 1:
        raise DataError(
            f"Expected as many labels as inputs{whose}. Received: "
            f"{' and '.join(map(str, sizes[:9]))} of them. Cut both alike."
        )


def _take(structure: Any, positions: _Array) -> Any:
    if isinstance(structure, dict):
        return {k: _take(v, positions) for k, v in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(_take(v, positions) for v in structure)
    return structure[positions]


def _together(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {k: _together([part[k] for part in parts]) for k in first}
    if isinstance(first, tuple):
        return tuple(_together(list(of)) for of in zip(*parts, strict=True))
    return np.concatenate([np.asarray(part) for part in parts])
