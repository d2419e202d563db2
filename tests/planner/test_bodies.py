import pytest

from keras_split.partition import Partition
from keras_split.planner import bodies
from keras_split.planner import work_of
from keras_split.planner.work import KINDS


@pytest.mark.parametrize("number", range(len(bodies.bodies())))
def test_a_body_is_all_between_its_cuts(number):
    model, cut = bodies.build(bodies.bodies()[number])

    parts = Partition(model, cut)

    trained = [
        len(part.model.trainable_variables)
        for part in (parts.head, parts.body, parts.tail)
    ]
    assert trained[0] == trained[2] == 0 < trained[1]


def test_bodies_have_a_bit_of_everything():
    """But what begins or ends a network, and stays on the phone."""
    from keras_split.partition.graph import Graph

    found = set()
    heavy = 0
    for probe in bodies.bodies():
        work = work_of(Graph(bodies.build(probe)[0]).calls)
        found |= set(work.by_kind)
        heavy += any(a.heavy_weights for a in work.amounts.values())

    missing = set(KINDS) - found
    assert missing <= {
        "conv_thin",
        "pool_all",
        "pad",
        "other",
        "crossing",
        "commit",
    }
    assert heavy >= 4
