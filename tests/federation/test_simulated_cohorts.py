"""Simulated phones, beside those of a cohort server over gRPC."""

import threading

import pytest

import keras_split
from keras_split.federation import shards
from keras_split.federation.phone_turn import batches
from keras_split.federation.simulation import simulate
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.draws import Draws
from keras_split.training.body_copy import body_copy
from tests import nets
from tests.federation.test_simulation import CUT
from tests.federation.test_simulation import compiled

SEED = 5
BATCH = 8
WAIT_S = 30.0


class Turns:
    """Lets phones take their steps in the order in which they are simulated.

    On a network it is the order in which they come.
    """

    def __init__(self, phones):
        self.phones = phones
        self.taken = 0
        self.changed = threading.Condition()

    def wait(self, phone):
        with self.changed:
            assert self.changed.wait_for(
                lambda: self.phones[self.taken] == phone, WAIT_S
            )

    def over(self):
        with self.changed:
            self.taken += 1
            self.changed.notify_all()


class InTurn(keras_split.SplitStrategy):
    def __init__(self, address, turns, phone):
        super().__init__(address, retry=None)
        self.turns, self.phone = turns, phone

    def forward(self, smashed):
        self.turns.wait(self.phone)
        return super().forward(smashed)

    def committed(self):
        super().committed()
        self.turns.over()


def in_rounds(data, drawn):
    """Batches of each phone in each of its rounds, and all turns."""
    found = [[] for _ in data.phones]
    turns = []
    for number, phones in enumerate(drawn):
        waiting = {}
        for phone in phones:
            seed = [SEED, number, phone]
            made = [*batches(data.phones[phone], BATCH, 1, seed)]
            found[phone].append(made)
            waiting[phone] = len(made)
        for turn in range(max(waiting.values())):
            turns += [p for p, count in waiting.items() if turn < count]
    return found, turns


def train(server, data, found, turns=None, **options):
    """All phones of a cohort; they enroll in their order."""
    clients, threads = [], []
    for phone, epochs in enumerate(found):
        client, _ = keras_split.compile(
            body_copy(compiled()), CUT, quantization="float32"
        )
        address = f"grpc://{server.target}"
        strategy = keras_split.SplitStrategy(address, retry=None)
        if turns is not None:
            strategy = InTurn(address, turns, phone)
        client.compile(
            "adam",
            "sparse_categorical_crossentropy",
            run_eagerly=True,  # there are more phones than threads
            strategy=strategy,
        )
        averaging = keras_split.FederatedAveraging(
            examples=len(data.phones[phone]), **options
        )
        rows = (data.rows(r) for epoch in epochs for r in epoch)

        def fit(client=client, averaging=averaging, rows=rows, epochs=epochs):
            client.fit(
                rows,
                steps_per_epoch=len(epochs[0]),
                epochs=len(epochs),
                shuffle=False,
                verbose=0,
                callbacks=[averaging],
            )
            client.close()

        threads.append(threading.Thread(target=fit))
        threads[-1].start()
        while averaging.cohort is None or averaging.cohort.member < 0:
            threads[-1].join(0.01)
            assert threads[-1].is_alive()
        assert averaging.cohort.member == phone
        clients.append(client)
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    return clients


def largest_difference(made, client, body):
    whole = keras_split.join(client, body, anyway=True)
    return nets.largest_difference(
        made.model.get_weights(), whole.get_weights()
    )


def uneven():
    x, y = nets.vectors(60)
    return shards.Shards(x, y, shards.dirichlet(y, 3, 0.5, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "phones"), [("shared", None), ("shared", 2), ("private", None)]
)
def test_rounds_are_those_of_a_cohort_with_the_same_draws(mode, phones):
    data, rounds = uneven(), 2 if phones is None else 3
    draws = Draws(SEED)
    drawn = [draws.draw(n, range(3), phones) for n in range(rounds)]
    found, turns = in_rounds(data, drawn)
    _, body = keras_split.compile(
        body_copy(compiled()), CUT, quantization="float32"
    )
    server = body.serve(
        port=0,
        cohort=CohortConfig(
            *(mode, 3),
            round_phones=phones,
            plain_aggregation=True,
            seed=SEED,
        ),
    )
    taking = Turns(turns) if mode == "shared" else None
    try:
        clients = train(server, data, found, taking)
    finally:
        server.stop(0)

    made = simulate(
        *(compiled(), CUT, data),
        mode=mode,
        rounds=rounds,
        participation=phones,
        batch=BATCH,
        quantization="float32",
        plain_aggregation=True,
        seed=SEED,
    )

    last = clients[drawn[-1][0]]
    assert largest_difference(made, last, body) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 2])
def test_merged_steps_are_those_of_a_cohort_with_the_same_draws(most):
    data, epochs = uneven(), 2
    _, body = keras_split.compile(
        body_copy(compiled()), CUT, quantization="float32"
    )
    server = body.serve(
        port=0,
        cohort=CohortConfig(
            *("merged", 3, 20),
            phones_per_step=most,
            plain_aggregation=True,
            seed=SEED,
        ),
    )
    found = [
        [
            [*batches(shard, BATCH, 1, [SEED, epoch, phone])]
            for epoch in range(epochs)
        ]
        for phone, shard in enumerate(data.phones)
    ]
    try:
        clients = train(server, data, found, every=1)
    finally:
        server.stop(0)

    steps = int(clients[0].optimizer.iterations)
    made = simulate(
        *(compiled(), CUT, data),
        rounds=steps,
        participation=1,  # so a round has the examples of a step
        batch=20,
        phones_per_step=most,
        quantization="float32",
        plain_aggregation=True,
        seed=SEED,
    )

    assert steps >= 6
    for client in clients:
        assert largest_difference(made, client, body) <= 1e-6
