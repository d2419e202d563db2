import keras
import numpy as np
import pytest

import keras_split
from keras_split import audit
from tests import nets

# Every second value crosses, and the gradients of those.
HALF = keras_split.Quantization(keras_split.Rule("int8", block=2), "int8")


class Listens(audit.Attack):
    name = "listens"
    knows = frozenset({"labels"})
    labels_per_class = 2

    def __init__(self):
        self.steps = []

    def begin(self, scene):
        self.scene = scene

    def saw(self, seen):
        self.steps.append(seen)

    def guess(self, seen):
        return audit.Guess()


def watched(quantization):
    keras.utils.set_random_seed(3)
    client, server = keras_split.compile(
        nets.dense(), cut=["a", "b"], quantization=quantization
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(26, 4)).astype("float32")
    data = audit.Examples(x, rng.integers(0, 3, 26))
    attack = Listens()
    scene = audit.scene_of(client, server, data, classes=3)
    initial = client.head.get_weights()
    kept = audit.watch(
        *(client, server, data, [attack], scene),
        epochs=3,
        batch_size=8,
        keep=10,
    )
    return client, attack, kept, initial


@pytest.mark.parametrize(
    ("quantization", "far"),
    [
        ("float32", 1e-6),
        ("int8", 0.02),
        (HALF, 0.02),
    ],
)
def test_an_attack_sees_what_was_sent_and_the_truth_is_of_those_examples(
    quantization, far
):
    client, attack, kept, initial = watched(quantization)
    assert [seen.step for seen in attack.steps] == [*range(9)]
    assert len(kept.first.truth) == len(kept.last.truth) == 16
    assert kept.last.seen == attack.steps[-2:]
    for a, b in zip(kept.initial_head.get_weights(), initial, strict=True):
        np.testing.assert_array_equal(a, b)
    first = kept.first.seen[0]
    sent = kept.initial_head.predict(kept.first.truth.x[:8], verbose=0)
    crossed = first.smashed[0] != 0
    np.testing.assert_allclose(
        first.smashed[0], np.where(crossed, sent, 0), atol=far
    )
    if quantization is HALF:
        assert 0 < crossed.sum() <= 8 * 3
        assert not first.smashed_grad[0][~crossed].any()
    else:
        np.testing.assert_allclose(first.smashed[0], sent, atol=far)
    assert first.features_grad[0].shape == first.features[0].shape == (8, 6)


def test_nothing_of_the_phone_is_in_the_scene():
    client, attack, kept, initial = watched("float32")
    scene = attack.scene
    known = [
        *scene.head.weights,
        *scene.tail.weights,
        *scene.new_head().weights,
    ]
    for ours in (*client.head.weights, *client.tail.weights):
        for theirs in known:
            assert ours is not theirs
            if "kernel" in ours.path and ours.shape == theirs.shape:
                assert not np.array_equal(ours, theirs)


def test_a_few_labels_are_known_to_who_says_so():
    client, attack, kept, _ = watched("float32")
    for of in (None, kept.first):
        told = audit.leak(attack, client, kept, kept=of)
        assert told.head is None and told.initial_head is None
        assert len(told.labels) == 6
        for place, label in told.labels.items():
            assert (of or kept.last).truth.y[place] == label


def test_a_training_ends_in_time_with_an_epoch_or_after_so_many_steps():
    keras.utils.set_random_seed(3)
    client, server = keras_split.compile(nets.dense(), cut=["a", "b"])
    client.compile("sgd", "sparse_categorical_crossentropy")
    x, y = nets.vectors(26)
    data = audit.Examples(x, y)
    scene = audit.scene_of(client, server, data, classes=3)
    heard = []

    def taken(**limits):
        watched = audit.watch(
            *(client, server, data, [], scene),
            epochs=4,
            batch_size=8,
            keep=100,
            told=lambda steps, loss: heard.append((steps, loss)),
            **limits,
        )
        assert len(watched.last.truth) == sum(map(len, watched.last.seen))
        return watched.steps, len(watched.last.seen)

    assert taken() == (12, 3)
    assert [steps for steps, _ in heard] == [*range(1, 13)]
    assert all(np.isfinite(loss) for _, loss in heard)
    assert taken(steps=7) == (7, 1)
    assert taken(seconds=0.0) == (1, 1)
