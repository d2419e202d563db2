"""What holds for each attack that reconstructs, whatever the model."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_split
from keras_split import audit
from tests import nets
from tests.audit import answers

CUTS = {
    "dense": (nets.dense, ["a", "b"], nets.vectors),
    "two tensors": (nets.residual, ["inner", "sum"], nets.images),
    "skip": (nets.unet, ["down2", "deep"], lambda: nets.images(channels=1)),
    "normalized": (nets.plain, ["a_relu", "b_drop"], nets.images),
}


def attacks():
    return [
        audit.KnownHead(steps=3),
        audit.InitialHead(steps=3),
        audit.SDAR(
            steps_per_step=1, steps_at_end=2, lambda_x=0.1, batch_size=5
        ),
        audit.UnSplit(rounds=1, input_steps=2, head_steps=2, examples=3),
    ]


def trained(name, attacks, **kwargs):
    build, cut, data = CUTS[name]
    client, server = keras_split.compile(nets.built(build), cut=cut, **kwargs)
    x, y = data()
    examples = audit.Examples(x, y)
    scene = audit.scene_of(client, server, examples, classes=3)
    if name == "skip":
        examples = audit.Examples(x, np.clip(x, 0, 1))
    loss = "mse" if name == "skip" else "sparse_categorical_crossentropy"
    client.compile("sgd", loss)
    keras.utils.set_random_seed(1)
    watched = audit.watch(
        *(client, server, examples, attacks, scene), epochs=1, batch_size=8
    )
    return client, watched


@pytest.mark.parametrize(
    "name",
    ["dense"] + [pytest.param(n, marks=pytest.mark.slow) for n in [*CUTS][1:]],
)
def test_it_guesses_inputs_of_any_cut_and_changes_no_training(name):
    alone, _ = trained(name, [], quantization="int8")

    tried = attacks()
    client, watched = trained(name, tried, quantization="int8")

    for attack in tried:
        before = nets.values_of(client)
        attack.end(audit.leak(attack, client, watched), seconds=60)
        guess = attack.guess(watched.last.seen)
        few = 3 if attack.name == "UnSplit" else len(watched.last.truth)
        assert guess.inputs.shape == watched.last.truth.x[:few].shape
        assert np.isfinite(guess.inputs).all()
        assert attack.spent().steps > 0
        assert nets.largest_difference(before, nets.values_of(client)) == 0
        tells = attack.name == "SDAR" and name != "skip"
        assert (guess.labels is not None) == tells
    assert (
        nets.largest_difference(
            nets.values_of(alone.head) + nets.values_of(alone.tail),
            nets.values_of(client.head) + nets.values_of(client.tail),
        )
        == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("attack", attacks(), ids=lambda a: a.name)
def test_it_finds_the_same_again_and_no_time_is_one_step(attack):
    private = answers.blobs(64, 1)
    client, scene = answers.scene(layers.Conv2D(2, 3), answers.blobs(64, 0))
    seen = answers.sees(client, private)

    made = [
        answers.tried(attack, client, scene, seen, seconds).guess(seen).inputs
        for seconds in (60, 60, 0)
    ]

    np.testing.assert_array_equal(made[0], made[1])
    assert attack.spent().steps <= 4
    assert made[2].shape == made[0].shape


@pytest.mark.slow
def test_many_attacks_are_no_reason_to_warn_of_traces(caplog):
    client, scene = answers.scene(layers.Rescaling(2.0), answers.blobs(64, 0))
    seen = answers.sees(client, answers.blobs(64, 1))

    for _ in range(6):
        answers.tried(audit.KnownHead(steps=1), client, scene, seen)

    assert "retracing" not in caplog.text
