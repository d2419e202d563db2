"""Steps as a server sees them, made up: the answer is known."""

import numpy as np

from keras_split import audit


def steps_of(rows, of="features_grad", batch=50):
    """Rows, one for each example, as what crossed in some steps."""
    nothing = np.zeros((len(rows), 1), "float32")
    crossed = dict.fromkeys(
        ("smashed", "features", "features_grad", "smashed_grad"), nothing
    ) | {of: rows.astype("float32")}
    return [
        audit.Seen(
            step,
            learning_rate=0.1,
            **{
                name: [values[begin : begin + batch]]
                for name, values in crossed.items()
            },
        )
        for step, begin in enumerate(range(0, len(rows), batch))
    ]


def scene_of(classes):
    """A scene of so many classes, and of nothing else."""
    return audit.Scene(None, None, None, None, None, classes)


def told_of(labels, per_class, seed=0):
    """A few labels of each class, by place."""
    rng = np.random.default_rng(seed)
    return {
        int(place): int(name)
        for name in np.unique(labels)
        for place in rng.permutation(np.flatnonzero(labels == name))[:per_class]
    }


def guess_of(attack, seen, classes, told=None):
    """What an attack makes of steps."""
    attack.begin(scene_of(classes))
    attack.end(audit.Leaked(labels=told or {}), 1.0)
    return attack.guess(seen)


def gradients_of(labels, classes, width=24, seed=0):
    """Features gradients behind a dense tail: `W^T (p - y)`, any `p`."""
    rng = np.random.default_rng(seed)
    tail = rng.normal(size=(classes, width))
    p = rng.dirichlet(np.full(classes, 2.0), len(labels))
    return (p - np.eye(classes)[labels]) @ tail
