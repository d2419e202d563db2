"""Finds the cuts of a model that are worth a thought.

A head is a closed set of calls (`closed_sets`), and so is a head with its
body; a cut is a pair of such sets, one in the other. Most pairs are left out,
for another one is at least as good whatever the machines and the link are, see
`Pairs.beats`.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.errors import CutError
from keras_split.partition.assignment import ancestors
from keras_split.partition.graph import Tensor
from keras_split.partition.own_code import check_own_code
from keras_split.partition.partition import Partition
from keras_split.planner.candidates import Candidates
from keras_split.planner.candidates import Entry
from keras_split.planner.candidates import Part
from keras_split.planner.net import Net
from keras_split.planner.net import Pair
from keras_split.planner.pairs import Pairs
from keras_split.planner.work import work_of


def candidates_of(
    model: keras.Model, named: Mapping[str, Any] | None = None
) -> Candidates:
    """The cuts of a model that are worth a thought.

    Args:
        model: A functional or Sequential model, built.
        named: Cuts that are among them in any case, by name.

    Returns:
        Cuts that `keras_split.compile` accepts. Each other that it accepts,
        and that `closed_sets` tells, is beaten by one of them.

    Raises:
        CutError: If the model cannot be cut at all, or not where a named cut
            is.
    """
    check_own_code(model)
    net = Net(model)
    pairs = Pairs(net)
    kept = pairs.unbeaten()
    if not kept:
        _explain(model, net)
    found = {pair: ("", False) for pair in kept}
    for name, cut in (named or {}).items():
        pair = net.pair(Partition(model, cut))
        other, pruned = found.get(pair, ("", True))
        found[pair] = (f"{other}, {name}" if other else name, pruned)
    return _packed(model, net, found)


def facts_of(model: keras.Model, named: Mapping[str, Any]) -> Candidates:
    """Given cuts of a model, whatever others there are.

    Args:
        model: A functional or Sequential model, built.
        named: The cuts, by name.

    Raises:
        CutError: If the model cannot be cut at one of them.
    """
    net = Net(model)
    found = {
        net.pair(Partition(model, cut)): (name, False)
        for name, cut in named.items()
    }
    return _packed(model, net, found)


def _packed(
    model: keras.Model, net: Net, found: Mapping[Pair, tuple[str, bool]]
) -> Candidates:
    """Candidates with the facts of each part, made of common atoms."""
    kinds: dict[tuple[int, ...], list[int]] = {}
    ends = sorted({s for pair in found for s in (pair.head, pair.ahead)})
    for number in range(len(net.calls)):
        key = tuple(closed >> number & 1 for closed in ends)
        kinds.setdefault(key, []).append(number)
    groups = list(kinds.values())
    atoms = []
    for group in groups:
        part = sum((net.parts[n] for n in group), Part())
        work = work_of([net.calls[n] for n in group])
        whole = (part.calls, part.parameters, part.multiply_adds, part.trains)
        atoms.append(Part(*whole, work))
    entries = []
    for pair, (name, pruned) in found.items():
        head = [i for i, g in enumerate(groups) if pair.head >> g[0] & 1]
        tail = [i for i, g in enumerate(groups) if not pair.ahead >> g[0] & 1]
        up, down = _shapes(net.smashed(pair)), _shapes(net.features(pair))
        ends_of = tuple(head), tuple(tail)
        entries.append(Entry(net.cut(pair), *ends_of, up, down, name, pruned))
    inputs, outputs = net.graph.inputs, net.graph.outputs
    shape = inputs[0].shape if len(inputs) == 1 else ()
    last = outputs[0].shape[-1:] if len(outputs) == 1 else ()
    return Candidates(
        model.name,
        tuple(atoms),
        tuple(entries),
        tuple(int(n or 0) for n in shape),
        int(last[0] or 0) if last else 0,
    )


def _shapes(tensors: Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n or 0) for n in t.shape) for t in tensors)


def _explain(model: keras.Model, net: Net) -> None:
    """Raises why a model can be cut nowhere."""
    reason = "It has no two layers with one between them for the server"
    for first in net.calls:
        later = [c for c in net.calls if first in ancestors(c.outputs)]
        for second in reversed(later[1:]):
            try:
                Partition(model, [first.path, second.path])
            except CutError as error:
                raise CutError(
                    "Expected a model that can be cut somewhere. Received: "
                    f"{model.name!r}, which cannot, for example: {error}"
                ) from None
    raise CutError(
        "Expected a model that can be cut somewhere. Received: "
        f"{model.name!r}. {reason}; add layers."
    )
