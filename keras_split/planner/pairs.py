"""All pairs of closed sets of a graph, and which of them others beat.

All pairs are looked at together, as matrices with a row for each first and a
column for each second set, and what is forbidden is forbidden by rules of
`partition`. No partition is built, so that a network of 700 layers takes
seconds.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.partition.costs import elements
from keras_split.planner.closed_sets import bits
from keras_split.planner.closed_sets import closed_sets
from keras_split.planner.net import Net
from keras_split.planner.net import Pair

# A head counts as no deeper than another one if it has no more of the
# network's multiply-adds than that and one part in so many.
DEPTHS = 20
# The least share of the network's multiply-adds that a server must take: to
# have it run one layer in the middle is legal, and no use.
WORTH = 0.1
# Smaller heads that are tried in place of one that sends several tensors.
_TRIES = 32
_Array = np.ndarray[Any, Any]


class Pairs:
    """All pairs of closed sets, and what crosses between them.

    Arrays have a row for each first set and a column for each second.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self.sets = closed_sets(net.parents)
        count = len(self.sets)
        # Which calls each set has.
        self._has = np.zeros((count, len(net.calls)), bool)
        for row, closed in enumerate(self.sets):
            self._has[row, list(bits(closed))] = True
        as_float = self._has.astype(np.float32)
        self.size = self._has.sum(1)
        common = as_float @ as_float.T
        self.inside = common == self.size[:, None].astype(np.float32)
        self._cross()
        self._look_at_parts()
        self.legal = self._legal()

    def _cross(self) -> None:
        """Elements, tensors and forbidden tensors of each pair."""
        net, shape = self._net, self.inside.shape
        # First what goes up, then what comes down.
        self.crossing = np.zeros((2, *shape), np.int64)
        self.tensors = np.zeros((2, *shape), np.int32)
        self._bad = np.zeros(shape, bool)
        for tensor in net.tensors:
            maker = self._has[:, net.maker(tensor)]
            readers = list(bits(net.readers.get(tensor, 0)))
            read = self._has[:, readers]
            size, bad = elements(tensor.shape), bool(net.stuck[tensor])
            # It leaves the head where a reader is outside, for bodies that
            # have that reader.
            for row in np.flatnonzero(maker & ~read.all(1)):
                columns = read[:, ~read[row]].any(1)
                self._add(0, row, columns, size, bad)
            end = tensor in net.outputs
            for column in np.flatnonzero(maker & (end | ~read.all(1))):
                self._add(1, slice(None), (~maker, column), size, bad)

    def _add(
        self, way: int, row: Any, column: Any, size: int, bad: bool
    ) -> None:
        where = column if isinstance(column, tuple) else (row, column)
        self.crossing[way][where] += size
        self.tensors[way][where] += 1
        if bad:
            self._bad[where] = True

    def _look_at_parts(self) -> None:
        net, parts = self._net, self._net.parts
        madds = self._has @ np.array([p.multiply_adds for p in parts], float)
        whole = max(sum(p.multiply_adds for p in parts), 1)
        self.depth = madds / whole
        trains = np.array([p.trains for p in parts])
        self.ends = np.array([net.ends(s) for s in self.sets])
        self.trains_within = (self._has & trains).any(1)
        self.trains_behind = (~self._has & trains).any(1)

    def _legal(self) -> _Array:
        """Pairs that may be, but for what forbids a tensor to cross."""
        net = self._net
        legal: _Array = self.inside & (self.size[:, None] < self.size[None])
        legal &= self.tensors[0] > 0
        for call in net.calls:
            layer = call.operation
            if isinstance(layer, keras.layers.SpectralNormalization):
                if layer.trainable:
                    legal[:] = False
        staying = self._count(net.on_phone)
        legal &= staying[:, None] == staying[None]
        # Of networks without convolutions or dense layers nothing is known.
        worth = self.depth[None] - self.depth[:, None] >= WORTH - 1e-9
        legal &= worth | ~self.depth.any()
        for group in net.together:
            own = self._count(group)
            between = own[None] - own[:, None]
            legal &= (between <= 0) | (between == group.bit_count())
        return legal

    def _count(self, calls: int) -> _Array:
        count: _Array = self._has[:, list(bits(calls))].sum(1)
        return count

    def unbeaten(self) -> list[Pair]:
        """The pairs that no other one beats, U shapes first."""
        double = self.legal & ~self._bad & (self.tensors[1] > 0)
        kept = []
        for row in map(int, np.flatnonzero(double.any(1))):
            legal = double[row] & ~self._plainer(row, double[row])
            kept += [(row, c) for c in self._columns(row, legal)]
        pairs = self._thin(kept)
        found = [Pair(self.sets[r], self.sets[c]) for r, c in pairs]
        return found + self._single()

    def _columns(self, row: int, legal: _Array) -> list[int]:
        """The second sets for a first one, the largest first."""
        found: list[int] = []
        left = legal.copy()
        # A larger one is beaten by no smaller one.
        while left.any():
            best = int(np.flatnonzero(left)[-1])
            pair = Pair(self.sets[row], self.sets[best])
            left[best] = False
            if self._net.builds(pair):
                found.append(best)
                beaten = self.beats(row, best, row, slice(None))
                left &= ~beaten
        return found

    def _thin(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Leaves out pairs that one with a smaller head beats."""
        if not pairs:
            return []
        rows, columns = (np.array(part) for part in zip(*pairs, strict=True))
        alive = np.ones(len(pairs), bool)
        # Small heads and large bodies first: none behind beats those.
        for this in np.lexsort((-self.size[columns], self.size[rows])):
            if alive[this]:
                best = rows[this], columns[this]
                alive &= ~self.beats(*best, rows, columns)
                alive[this] = True
        return [pair for pair, a in zip(pairs, alive, strict=True) if a]

    def _plainer(self, row: int, legal: _Array) -> _Array:
        """Pairs whose head ends in several layers, where one would do.

        There are thousands of ways to cut the branches of a block, and hardly
        one is better than to cut in front of the block.
        """
        plain = np.zeros_like(legal)
        if self.ends[row] > 1 and not self._net.names_repeat:
            near = self.inside[:, row] & (self.ends == 1)
            near &= self.depth >= self.depth[row] - 1 / DEPTHS
            columns = np.flatnonzero(legal)
            for other in np.flatnonzero(near)[::-1][:_TRIES]:
                ok = self.legal[other] & ~self._bad[other]
                ok = ok[columns] & self.beats(other, columns, row, columns)
                plain[columns[ok]] = True
                columns = columns[~ok]
        return plain

    def beats(self, row: Any, column: Any, rows: Any, columns: Any) -> _Array:
        """Which pairs are no better in anything than one.

        They have the phone run all that it runs there and maybe more, with
        heads that are hardly deeper, and no less crosses, in no fewer
        tensors. If their tails have weights, its tail has. Whatever a phone,
        a link and a server cost, they cost no less, if only the server runs
        no layer slower than the phone.

        Args:
            row: The first set of the one.
            column: Its second; or several, one for each of the others.
            rows: The first sets of the others.
            columns: Their second sets.
        """
        found: _Array = (
            self.inside[row, rows]
            & self.inside[columns, column]
            & (self.depth[row] >= self.depth[rows] - 1 / DEPTHS)
            & (self.trains_behind[column] >= self.trains_behind[columns])
            # Nobody sends gradients where nothing is trained with them.
            & (self.trains_within[column] <= self.trains_within[columns])
        )
        for crossing in (*self.crossing, *self.tensors):
            found = found & (crossing[row, column] <= crossing[rows, columns])
        return found

    def _single(self) -> list[Pair]:
        """Heads of a model that is cut once; the body has all the rest."""
        net, whole = self._net, len(self.sets) - 1
        made = [t for t in net.graph.outputs]
        if any(t.call is None or net.stuck[t] for t in made):
            return []
        makers = [net.maker(tensor) for tensor in made]
        legal = self.legal[:, whole] & ~self._has[:, makers].any(1)
        for row in np.flatnonzero(legal):
            pair = Pair(self.sets[row], net.whole, single=True)
            up = net.smashed(pair)
            legal[row] = not any(net.stuck[t] for t in up) and net.builds(pair)
        kept = []
        for row in np.flatnonzero(legal):  # the smallest heads first
            if legal[row]:
                beaten = legal & self.beats(row, whole, slice(None), whole)
                beaten[row] = False
                legal &= ~beaten
                kept.append(Pair(self.sets[row], net.whole, single=True))
        return kept
