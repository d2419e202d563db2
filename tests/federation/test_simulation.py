"""Phones in one process, beside the same phones over a network."""

import json
import math

import keras
import numpy as np
import pytest

import keras_split
from keras_split.aggregation.means import weighted_mean
from keras_split.errors import OptionError
from keras_split.federation import phone_states
from keras_split.federation import shards
from keras_split.federation import simulation
from keras_split.federation.pair import Pair
from keras_split.federation.phone_states import PhoneStates
from keras_split.federation.phone_turn import batches
from keras_split.federation.result import RoundResult
from keras_split.federation.result import SimulationResult
from keras_split.federation.simulation import simulate
from keras_split.federation.variable_bytes import VariableBytes
from keras_split.training.body_copy import body_copy
from tests import nets

CUT = ["a", "b"]


def compiled(optimizer="adam"):
    model = nets.built(nets.dense)
    model.compile(
        keras.optimizers.get(optimizer),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def uneven(count=60, phones=3):
    x, y = nets.vectors(count)
    return shards.Shards(x, y, shards.dirichlet(y, phones, 0.5, seed=1))


def test_merged_steps_are_those_of_unsplit_training_on_the_pooled_batches(
    monkeypatch,
):
    model, seen, step = compiled(), [], Pair.step
    whole = body_copy(model)
    whole.compile("adam", "sparse_categorical_crossentropy")

    def spy(self, x, y):
        seen.append((x, y))
        return step(self, x, y)

    monkeypatch.setattr(Pair, "step", spy)
    before = nets.values_of(model)
    made = simulate(
        *(model, CUT, uneven(80, 8)),
        rounds=4,
        batch=16,
        quantization="float32",
    )
    for x, y in seen:
        whole.train_on_batch(x, y)

    assert len(seen) == made.rounds[-1].steps == 20
    assert (
        nets.largest_difference(made.model.get_weights(), whole.get_weights())
        <= 1e-5
    )
    assert nets.largest_difference(nets.values_of(model), before) == 0.0


def test_one_private_phone_is_training_of_today():
    model, data = compiled(), uneven(30, 1)
    client, server = keras_split.compile(
        body_copy(model), CUT, quantization="float32"
    )
    client.compile("adam", "sparse_categorical_crossentropy")

    made = simulate(
        *(model, CUT, data),
        mode="private",
        rounds=2,
        batch=8,
        quantization="float32",
    )
    for number in range(2):
        for rows in batches(data.phones[0], 8, 1, [0, number, 0]):
            client.train_on_batch(*data.rows(rows))
    client.close()

    assert (
        nets.largest_difference(
            made.model.get_weights(),
            keras_split.join(client, server, anyway=True).get_weights(),
        )
        <= 1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["shared", "private"])
def test_simulated_phones_learn_what_phones_over_sockets_do(mode):
    model, data = compiled(), uneven()
    pairs = [
        keras_split.compile(body_copy(model), CUT, quantization="float32")
        for _ in data.phones
    ]
    if mode == "shared":
        servers = [pairs[0][1]] * len(pairs)
    else:
        servers = [server for _, server in pairs]
    listening = [s.serve(port=0) for s in dict.fromkeys(servers)]
    clients = [client for client, _ in pairs]
    for i, client in enumerate(clients):
        target = listening[i % len(listening)].target
        client.compile(
            "adam",
            "sparse_categorical_crossentropy",
            strategy=keras_split.SplitStrategy(f"grpc://{target}"),
        )
    try:
        for number in range(2):
            _round_over_sockets(mode, data, clients, servers, number)
    finally:
        for client in clients:
            client.close()
        for one in listening:
            one.stop()

    made = simulate(
        *(model, CUT, data),
        mode=mode,
        rounds=2,
        batch=8,
        quantization="float32",
    )

    whole = keras_split.join(clients[0], servers[0], anyway=True)
    assert (
        nets.largest_difference(made.model.get_weights(), whole.get_weights())
        <= 1e-6
    )


def _round_over_sockets(mode, data, clients, servers, number):
    """Steps in turn, and averages by hand."""
    weights = data.examples
    halves = [_parts(c.head, c.tail) for c in clients]
    bodies = [_parts(s.body) for s in servers]
    before, body = _vector(halves[0]), _vector(bodies[0])
    waiting = {
        k: batches(shard, 8, 1, [0, number, k])
        for k, shard in enumerate(data.phones)
    }
    while waiting:
        for k in list(waiting):
            rows = next(waiting[k], None)
            if rows is None:
                del waiting[k]
            else:
                clients[k].train_on_batch(*data.rows(rows))
    change = weighted_mean([_vector(h) - before for h in halves], weights)
    for half in halves:
        _put(half, before + change)
    if mode == "private":
        change = weighted_mean([_vector(b) - body for b in bodies], weights)
        for one in bodies:
            _put(one, body + change)


def _parts(*models):
    return [v for model in models for v in model.variables]


def _vector(variables):
    return np.concatenate([np.array(v).ravel() for v in variables])


def _put(variables, vector):
    for v in variables:
        part, vector = np.split(vector, [int(np.prod(v.shape))])
        v.assign(part.reshape(v.shape))


def test_a_step_counts_the_bytes_of_its_messages():
    model, data = compiled(), uneven(64, 2)
    client, _ = keras_split.compile(body_copy(model), CUT)
    client.compile("adam", "sparse_categorical_crossentropy")
    x, y = data.rows(np.arange(8))
    client.train_on_batch(x, y)
    before = client.strategy.uplink_bytes, client.strategy.downlink_bytes
    client.train_on_batch(x, y)
    after = client.strategy.uplink_bytes, client.strategy.downlink_bytes
    client.close()

    made = simulate(
        *(model, CUT, shards.Shards(data.x, data.y, [np.arange(8)])),
        mode="personal",
        rounds=1,
        batch=8,
    )

    # Numbers of later steps take a byte more; nothing else differs.
    assert abs(made.rounds[0].uplink_bytes - (after[0] - before[0])) < 16
    assert abs(made.rounds[0].downlink_bytes - (after[1] - before[1])) < 48


@pytest.mark.slow
def test_phones_that_lie_are_left_out_of_a_trimmed_mean():
    data = uneven(100, 10)
    found = {}
    for mean in ("mean", "trimmed-mean"):
        made = simulate(
            *(compiled("sgd"), CUT, data),
            mode="shared",
            rounds=3,
            batch=8,
            mean=mean,
            poison={0: -1000.0},
        )
        found[mean] = made.rounds[-1].metrics["loss"]

    assert found["trimmed-mean"] < found["mean"]


def test_states_of_phones_take_the_room_of_those_that_trained(monkeypatch):
    monkeypatch.setattr(phone_states, "_MAPPED", 1)  # pages go at every turn
    value = keras.Variable(np.zeros(1 << 18, "float32"))
    steps = keras.Variable(0, dtype="int64")
    states = PhoneStates([value, steps], 1000)

    value.assign(np.full(1 << 18, 7.0, "float32"))
    steps.assign(5)
    states.save(3)
    states.load(4)
    others = float(value[0]), int(steps)
    states.load(3)
    blocks = next(states.folder.iterdir()).stat().st_blocks

    assert others == (0.0, 0)
    assert (float(value[0]), int(steps)) == (7.0, 5)
    assert blocks * 512 < 4 * states.row_bytes
    folder = states.folder
    states.close()
    assert not folder.exists()


def test_a_result_survives_json():
    made = simulate(compiled(), CUT, uneven(), mode="relay", rounds=1)

    again = SimulationResult.from_config(made.get_config())

    assert again == made
    assert made.bytes_to_reach(2.0) is None
    assert made.bytes_to_reach(0.0) == (
        made.rounds[0].uplink_bytes,
        made.rounds[0].downlink_bytes,
    )


def test_numbers_that_are_not_finite_are_null_in_json():
    nan = float("nan")
    rounds = [RoundResult(1, {"loss": nan, "accuracy": 0.1}, nan, 5, 6, 1, 0.5)]
    made = SimulationResult("relay", {"seed": 0}, rounds)

    text = made.to_json()
    again = SimulationResult.from_config(json.loads(text))

    assert "NaN" not in text
    assert again.to_json() == text
    assert math.isnan(again.rounds[0].loss)
    assert math.isnan(again.rounds[0].metrics["loss"])
    assert again.rounds[0].accuracy == 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "swarm"}, "one of the modes"),
        ({"participation": 9}, "1 to 3 phones"),
        ({"mode": "relay", "optimizer": "adam"}, "optimizer"),
        ({"poison": {0: -1.0}}, "poison"),
        ({"mode": "shared", "phones_per_step": 2}, "phones_per_step"),
        ({"batchnorm": "local"}, "batchnorm"),
        ({"rounds": 0}, "rounds"),
        ({"validation_freq": 0}, "validation_freq"),
        ({"batch": 8.5}, "batch to be a whole number"),
        ({"phones_per_step": 0}, "phones_per_step to be a whole number"),
        ({"seed": -1}, "seed"),
        ({"participation": float("nan")}, "1 to 3 phones"),
        ({"participation": "all"}, "1 to 3 phones"),
        ({"mode": "shared", "poison": {3: -1.0}}, "0 to 2. Received: 3,"),
        ({"mode": "shared", "poison": {"0": -1.0}}, "0 to 2. Received: '0'"),
    ],
)
def test_what_does_nothing_in_a_mode_is_refused(options, said):
    with pytest.raises(OptionError, match=said):
        simulate(compiled(), CUT, uneven(), **options)


def test_a_model_that_is_not_compiled_or_cut_once_is_refused():
    with pytest.raises(OptionError, match="compiled"):
        simulate(nets.built(nets.dense), CUT, uneven())
    with pytest.raises(OptionError, match="second cut"):
        simulate(compiled(), "a", uneven())


def test_a_state_of_any_dtype_is_put_back_to_the_bit():
    values = [
        np.arange(6, dtype="float32").reshape(2, 3) / 7,
        np.array(2**40 + 1, "int64"),
        np.array([1, 2**32 - 1], "uint32"),
        np.array([True, False, True]),
        np.array([-3, 4], "int8"),
        np.array([0.1], "float16"),
    ]
    variables = [
        keras.Variable(value, dtype=str(value.dtype)) for value in values
    ]
    kept = VariableBytes(variables)
    state = kept.get()
    for variable in variables:
        variable.assign(keras.ops.zeros_like(variable))

    kept.set(state)

    assert kept.size == sum(value.nbytes for value in values)
    assert all(map(np.array_equal, variables, values))


def test_a_model_is_scored_as_evaluate_does_and_as_often_as_was_said():
    data = uneven()
    found = {}

    class Seen(Pair):
        def evaluate(self, x, y):
            scores = super().evaluate(x, y)
            found[len(found)] = (
                scores,
                self.client.evaluate(x, y, verbose=0, return_dict=True),
            )
            return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "Pair", Seen)
        made = simulate(
            *(compiled(), CUT, data), rounds=3, batch=30, validation_freq=2
        )

    assert [bool(one.metrics) for one in made.rounds] == [False, True, True]
    assert len(made.scored) == len(found) == 2
    assert made.best == max(one.accuracy for one in made.scored)
    for scores, expected in found.values():
        assert scores == pytest.approx(expected, abs=1e-6)


def test_bytes_of_merged_steps_are_those_of_all_whoever_takes_part():
    settings, sent = [], []
    for participation in (None, 1):  # how many steps a round has: one
        made = simulate(
            *(compiled("sgd"), CUT, uneven()),
            rounds=1,
            batch=60,
            participation=participation,
        )
        settings.append(made.settings["secure"])
        sent.append(made.rounds[0].uplink_bytes)

    assert settings == [True, True]  # three phones average under masks
    assert sent[0] == sent[1]


@pytest.mark.parametrize("mode", ["merged", "centralized", "shared", "fedavg"])
def test_a_round_has_as_many_examples_in_every_mode(mode, monkeypatch):
    seen, step = [], Pair.step

    def spy(self, x, y):
        seen.append(len(y))
        return step(self, x, y)

    monkeypatch.setattr(Pair, "step", spy)
    simulate(compiled(), CUT, uneven(), mode=mode, rounds=1, batch=20, epochs=2)

    assert sum(seen) == 2 * 60
