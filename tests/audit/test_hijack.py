import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_split
from keras_split import audit
from keras_split.audit.hijack import Hijack
from keras_split.audit.malicious import take_over
from keras_split.errors import HijackError
from keras_split.errors import OptionError
from tests import nets

LOSS = "sparse_categorical_crossentropy"


def scene(client, server, seed=0):
    x, y = nets.vectors(200)
    return audit.scene_of(client, server, audit.Examples(x, y), 3, seed)


def halves(mix=1.0, disguise="none", quantization="float32", seed=0):
    """A client whose server hijacks it."""
    client, server = keras_split.compile(
        nets.built(nets.dense, seed), ["a", "b"], quantization=quantization
    )
    client.compile("sgd", LOSS)
    attack = Hijack(mix)
    attack.begin(scene(client, server))
    take_over(server, attack, disguise)
    return client, server, attack


def fit(client, detector=None, count=240):
    x, y = nets.vectors(count)
    client.fit(
        *(x, y),
        batch_size=8,
        shuffle=False,
        verbose=0,
        callbacks=[] if detector is None else [detector],
    )


def test_answers_are_as_large_as_honest_ones_and_mixed():
    honest = [tf.constant([[3.0, 0.0]]), tf.constant([[4.0]])]
    lure = [tf.constant([[0.0, 0.2]]), tf.constant([[0.0]])]

    one, other = Hijack(0.25).answers(honest, lure)

    np.testing.assert_allclose(one, [[2.25, 1.25]])
    np.testing.assert_allclose(other, [[3.0]])


@pytest.mark.parametrize("mix", [0, 1.5, -1])
def test_a_mix_that_is_none_is_refused(mix):
    with pytest.raises(OptionError, match="mix"):
        Hijack(mix)


def test_the_lure_leads_to_where_the_critic_takes_it_for_the_pilots():
    client, server, attack = halves()
    z = [tf.zeros((8, 5))]
    for _ in range(30):
        lure = attack.lure(z)

    closer = [a - 0.1 * b / tf.norm(b) for a, b in zip(z, lure, strict=True)]
    judged, before = (
        float(tf.reduce_mean(attack._critic(x))) for x in (closer, z)
    )
    assert judged < before


def test_the_same_seed_lures_the_same_and_counts_its_steps():
    client, server, attack = halves()
    z = [tf.ones((8, 5))]
    lures = []
    for chance in (1, 2):
        keras.utils.set_random_seed(chance)
        attack.begin(scene(client, server))
        lures.append([attack.lure(z)[0] for _ in range(3)][-1])

    np.testing.assert_array_equal(*lures)
    assert attack.spent().steps == 3 and attack.spent().seconds > 0


@pytest.mark.parametrize("mix", [1.0, 0.5])
def test_a_phone_tells_it(mix):
    client, _, _ = halves(mix)

    with pytest.raises(HijackError):
        fit(client, keras_split.HijackDetector(8, seed=0))


def test_a_phone_tells_it_over_grpc(serve):
    client, server, _ = halves()
    client.compile("sgd", LOSS, strategy=serve(server))

    with pytest.raises(HijackError):
        fit(client, keras_split.HijackDetector(8, seed=0))


@pytest.mark.slow
def test_one_that_is_honest_while_it_is_watched_is_told_after_a_step():
    client, _, _ = halves(disguise="watchful")
    detector = keras_split.HijackDetector(8, seed=0)

    with pytest.raises(HijackError):
        fit(client, detector)

    before = [c.agreement for c in detector.checks if c.kind == "before"]
    assert min(before) > 0.95


def test_one_whose_features_agree_afterwards_is_told_before_a_step():
    client, _, _ = halves(disguise="falsifying")
    detector = keras_split.HijackDetector(8, seed=0)

    with pytest.raises(HijackError):
        fit(client, detector)

    after = [c.agreement for c in detector.checks if c.kind == "after"]
    assert not after or min(after) > 0.95


@pytest.mark.slow
def test_one_that_does_both_has_no_step_left_where_each_is_checked():
    client, server, _ = halves(disguise="both")
    honest, _ = keras_split.compile(
        nets.built(nets.dense), ["a", "b"], quantization="float32"
    )
    honest.compile("sgd", LOSS)
    fit(honest)

    fit(client, keras_split.HijackDetector(1))

    for one, other in zip(
        client.get_weights(), honest.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_phones_loss_falls_as_ever_and_its_inputs_are_guessed():
    client, server, attack = halves()
    data = audit.Examples(*nets.vectors(240))

    fit(client)
    seen = []
    recorder = audit.Recorder(client.contract, seen.append)
    client.strategy.session.taps.append(recorder)
    client.train_on_batch(data.x[:8], data.y[:8])

    guess = attack.guess(seen).inputs
    assert guess.shape == (8, 4) and np.isfinite(guess).all()
