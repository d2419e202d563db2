import itertools
import random

import keras
import pytest
from keras import layers

import keras_split
from keras_split.errors import CutError
from keras_split.partition import Partition
from keras_split.partition import costs
from keras_split.partition.graph import Graph
from keras_split.planner.closed_sets import bits
from keras_split.planner.closed_sets import closed_sets
from keras_split.planner.pairs import DEPTHS
from keras_split.planner.pairs import WORTH
from keras_split.planner.search import candidates_of
from keras_split.planner.work import work_of
from tests import nets
from tests import random_models


class Facts:
    """What a partition says of a cut, to hold against a candidate."""

    def __init__(self, partition):
        calls = partition.graph.calls
        where = [partition.segment_of[call] for call in calls]
        self.head, self.body, self.tail = (
            {n for n, name in enumerate(where) if name == part}
            for part in ("head", "body", "tail")
        )
        madds = [costs.call_multiply_adds(call) for call in calls]
        trains = [
            bool(getattr(c.operation, "trainable_variables", ())) for c in calls
        ]
        whole = max(sum(madds), 1)
        self.depth = sum(madds[n] for n in self.head) / whole
        self.share = sum(madds[n] for n in self.body) / whole
        self.nothing_known = not sum(madds)
        self.tail_trains = any(trains[n] for n in self.tail)
        self.trains = any(trains[n] for n in self.head | self.body)
        self.up = [costs.elements(t.shape) for t in partition.smashed]
        self.down = [costs.elements(t.shape) for t in partition.features]
        self.single = len(partition.cut) == 1

    def beats(self, other):
        """Whether the other one is no better in anything."""
        return (
            self.single == other.single
            and self.head <= other.head
            and self.tail <= other.tail
            and self.depth >= other.depth - 2 / DEPTHS - 1e-9
            and self.tail_trains >= other.tail_trains
            and self.trains <= other.trains
            and sum(self.up) <= sum(other.up)
            and sum(self.down) <= sum(other.down)
            and len(self.up) <= len(other.up)
            and len(self.down) <= len(other.down)
        )

    @property
    def is_worth_it(self):
        return self.nothing_known or self.share >= WORTH


def random_net(seed):
    """Ten layers or so, with branches that join and a shared layer."""
    rng = random.Random(seed)
    image = keras.Input((6, 6, 2), name="image")
    shared = layers.Conv2D(3, 1, name="shared")
    made = [layers.Conv2D(3, 3, padding="same", name="first")(image)]
    for number in range(rng.choice((5, 6))):
        x = rng.choice(made[-3:])
        kind = rng.choice(("conv", "relu", "join", "join", "pool"))
        if kind == "conv":
            filters = rng.choice((2, 3, 5))
            make = layers.Conv2D(filters, 3, padding="same", name=f"c{number}")
        elif kind == "relu":
            make = layers.ReLU(name=f"r{number}")
        elif kind == "pool":
            make = layers.MaxPooling2D(
                3, strides=1, padding="same", name=f"p{number}"
            )
        if kind == "join":
            other = rng.choice(made)
            join = layers.Concatenate(name=f"j{number}")
            made.append(join([x, other]))
        else:
            made.append(make(x))
    x = layers.Concatenate(name="all")(made[-3:])
    x = layers.Conv2D(3, 1, name="mix")(x)
    if rng.random() < 0.4:
        x = shared(shared(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(2, name="out")(x)
    return keras.Model(image, x)


def legal_facts(model):
    """Facts of every pair of closed sets that a partition accepts."""
    graph = Graph(model)
    order = {call: n for n, call in enumerate(graph.calls)}
    parents = [
        sum({1 << order[t.call] for t in c.inputs if t.call})
        for c in graph.calls
    ]
    sets = closed_sets(parents, limit=10_000)
    found = []
    for cut in (["first", "mean"], ["first"]):
        partition = Partition(model, cut)
        calls = partition.graph.calls
        for pair in itertools.product(sets, repeat=len(cut)):
            ends = [
                [t for n in bits(s) for t in calls[n].outputs] for s in pair
            ]
            if partition._works(ends):
                found.append(Facts(partition))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_every_legal_pair_is_a_candidate_or_beaten_by_one(seed):
    model = random_net(seed)
    kept = [
        Facts(Partition(model, candidate.layers))
        for candidate in candidates_of(model).cuts
    ]

    worth = [facts for facts in legal_facts(model) if facts.is_worth_it]

    assert len(worth) > len(kept) > 0
    for facts in worth:
        assert any(one.beats(facts) for one in kept)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_and_parameters_are_those_of_the_halves(seed):
    model = random_net(seed)
    found = candidates_of(model)

    for candidate in found.cuts[::3]:
        client, server = keras_split.compile(model, candidate.layers)
        contract = client.contract
        whole = Partition(model, candidate.layers)
        graph, segment = whole.graph, whole.segment_of

        assert [s.shape for s in contract.smashed] == [*candidate.smashed]
        assert [s.shape for s in contract.features] == [*candidate.features]
        assert server.count_params() == candidate.body.parameters
        phone = {id(v): costs.elements(v.shape) for v in [*client.weights]}
        both = candidate.head.parameters + candidate.tail.parameters
        assert sum(phone.values()) == both
        for name in ("head", "body", "tail"):
            calls = [c for c in graph.calls if segment[c] == name]
            part = getattr(candidate, name)
            assert part.calls == len(calls)
            assert part.work == work_of(calls)


@pytest.mark.filterwarnings("ignore")  # Keras', on odd models
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_of_odd_models_no_candidate_is_refused(seed):
    model = random_models.build(seed)
    try:
        found = candidates_of(model)
    except CutError:
        for cut in random_models.cuts(model, seed, 5):
            with pytest.raises(CutError):
                Partition(model, cut)
        return
    kept = [Facts(Partition(model, c.layers)) for c in found.cuts]

    for cut in random_models.cuts(model, seed, 5):
        try:
            facts = Facts(Partition(model, cut))
        except CutError:
            continue
        if facts.is_worth_it:
            assert any(one.beats(facts) for one in kept)


def test_the_outer_skip_of_a_unet_stays_on_the_phone():
    model = nets.unet()

    found = {c.label: c for c in candidates_of(model).cuts}

    cut = found["pool1 / mix2"]
    assert cut.smashed == ((4, 4, 3),)  # and not what down1 made
    assert cut.features == ((4, 4, 4),)
    assert found["down1 / mix2"].smashed == ((8, 8, 3),)
    assert found["down2"].labels_on_server


def test_a_nested_model_is_cut_inside():
    inner = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, name="narrow"),
            layers.Dense(8, name="wide"),
            layers.Dense(8, name="again"),
        ],
        name="inner",
    )
    x = keras.Input((6,), name="x")
    model = keras.Model(x, layers.Dense(2, name="out")(inner(x)))

    cuts = [candidate.layers for candidate in candidates_of(model).cuts]

    assert ["inner/narrow", "inner/again"] in cuts


def test_a_named_cut_is_there_though_it_is_beaten():
    model = nets.plain()

    found = candidates_of(model, {"mine": ["a", "b"]})

    mine = [c for c in found.cuts if c.name]
    assert [(c.name, c.layers, c.pruned) for c in mine] == [
        ("mine", ["a", "b"], True)
    ]


def test_a_model_that_cannot_be_cut_says_why():
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Dense(2)(x))

    with pytest.raises(CutError, match="can be cut somewhere"):
        candidates_of(model)


def test_a_subclassed_model_is_refused():
    with pytest.raises(CutError, match="functional or Sequential"):
        candidates_of(keras.Sequential([layers.Dense(2)]))
