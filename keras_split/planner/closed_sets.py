"""The sets of calls that one party can run before the other runs the rest.

A head is closed: with a call it has all that the call needs. So is head and
body together. Sets of calls are numbers here, bit `i` for the i-th call.
"""

from collections.abc import Iterator
from collections.abc import Sequence

# Closed sets between two waists of a graph. The blocks of ResNet and
# DenseNet have fewer; those of Inception more.
LIMIT = 128


def closed_sets(parents: Sequence[int], limit: int = LIMIT) -> list[int]:
    """The closed sets of a graph of calls but the empty one, small ones first.

    All of them, if no two waists of the graph have more than `limit` between
    them: a waist is a call that all calls lead to or come from. Where there
    are more, those that end in one call, and those that are the first calls
    in the order given: some of thousands of ways to cut several branches at
    once, each of which sends several tensors.

    Args:
        parents: Of each call, in an order in which they can run, the calls
            whose outputs it reads.
        limit: Closed sets between two waists.

    Example:
    >>> [f"{s:b}" for s in closed_sets([0, 0b1, 0b1, 0b110])]
    ['1', '11', '101', '111', '1111']
    """
    before = needs(parents)
    found: set[int] = set()
    done = 0
    for end in _region_ends(parents, before):
        region = _region(parents, done, end, limit)
        if region is None:
            calls = list(bits(end & ~done))
            region = {done | before[call] for call in calls}
            prefix = done
            for call in calls:
                prefix |= 1 << call
                region.add(prefix)
        found |= region
        done = end
    return sorted(found - {0}, key=lambda s: (s.bit_count(), s))


def needs(parents: Sequence[int]) -> list[int]:
    """What each call needs, itself included."""
    found: list[int] = []
    for number, read in enumerate(parents):
        own = 1 << number
        for parent in bits(read):
            own |= found[parent]
        found.append(own)
    return found


def bits(numbers: int) -> Iterator[int]:
    """The members of a set, smallest first."""
    while numbers:
        lowest = numbers & -numbers
        yield lowest.bit_length() - 1
        numbers ^= lowest


def _region_ends(parents: Sequence[int], before: Sequence[int]) -> list[int]:
    """What each waist needs, and at last everything."""
    whole = (1 << len(parents)) - 1
    behind = [1 << number for number in range(len(parents))]
    for number in reversed(range(len(parents))):
        for parent in bits(parents[number]):
            behind[parent] |= behind[number]
    ends = [b for b, a in zip(before, behind, strict=True) if a | b == whole]
    return ends if ends and ends[-1] == whole else [*ends, whole]


def _region(
    parents: Sequence[int], start: int, end: int, limit: int
) -> set[int] | None:
    """The closed sets from `start` to `end`; None if they are too many."""
    calls = [(1 << c, parents[c]) for c in bits(end & ~start)]
    found = {start}
    waiting = [start]
    while waiting:
        so_far = waiting.pop()
        for own, read in calls:
            more = so_far | own
            if more != so_far and not read & ~so_far and more not in found:
                if len(found) > limit:
                    return None
                found.add(more)
                waiting.append(more)
    return found
