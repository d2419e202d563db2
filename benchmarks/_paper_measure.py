"""Memory, time and bytes of a case of `paper.py`."""

import gzip
import json
import re
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _paper_cases import KERAS
from _paper_cases import SPLIT_LIMIT_MB
from _paper_cases import Case
from _paper_networks import CLASSES
from _paper_networks import WHOLE
from _server_process import serving

HERE = Path(__file__).parent
CODINGS = ("float32", "int8", "int4", "small")
QUANTIZATION = "int8"
STACK_BYTES = 1 << 20


def file(case: Case, folder: Path) -> Path:
    """The .tflite of a case, written if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.stem}.tflite"
    if not path.with_suffix(".facts.json").exists():
        known = (case.network, case.way, str(case.size), str(case.batch))
        done = python("_paper_networks.py", *known, str(path))
        if done.returncode:
            raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
    return path


def facts(path: Path) -> dict[str, Any]:
    """What `_paper_networks.py` wrote beside a file."""
    found: dict[str, Any] = json.loads(
        path.with_suffix(".facts.json").read_text()
    )
    return found


def python(script: str, *arguments: str, **options: Any) -> Any:
    """Runs a script of this folder in a process of its own."""
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        **options,
    )


def phone(*arguments: str) -> dict[str, Any]:
    """Lets a phone take steps; what it said, or how it ended.

    Its threads have stacks of 1 MB, as Android's do: those count as private
    memory even where nobody has written to them.
    """
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    limits = STACK_BYTES, most
    return outcome(
        python(
            "_paper_phone.py",
            *arguments,
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_STACK, limits
            ),
        )
    )


def outcome(done: Any) -> dict[str, Any]:
    """What a phone said, or how it ended."""
    if done.returncode == 0:
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return {"trained": True, **said}
    if done.returncode < 0:
        return {"trained": False, "how": signal.Signals(-done.returncode).name}
    errors = re.findall(r"^(?:\w+\.)*(\w*Error)\b", done.stderr, re.M)
    how = errors[-1] if errors else f"exit {done.returncode}"
    return {"trained": False, "how": how}


def limits(case: Case, most: tuple[int, ...]) -> tuple[int, ...]:
    """The limits under which a case is tried; 0 is none."""
    if case.way == KERAS:
        return (0,)
    return (0, *most) if case.way == WHOLE else (0, SPLIT_LIMIT_MB)


def memory(case: Case, folder: Path, most: tuple[int, ...]) -> dict[Case, Any]:
    """Whether a phone trains under each limit, and what it takes.

    Args:
        case: Of which way, at which size and batch.
        folder: For files.
        most: The limits for a whole network.
    """
    if case.way == KERAS:
        known = (case.network, str(case.size), str(case.batch))
        return {case: outcome(python("_paper_keras.py", *known))}
    path = file(case, folder)
    about = facts(path)

    def tried(*arguments: str) -> dict[Case, Any]:
        found = {}
        for limit in limits(case, most):
            said = phone(str(path), "--limit-mb", str(limit), *arguments)
            one = replace(case, limit=limit)
            found[one] = {**said, "facts": about}
        return found

    if case.way == WHOLE:
        return tried()
    options = ("--input-size", str(case.size), "--classes", str(CLASSES))
    cut = ("--cut", case.way, "--quantization", QUANTIZATION)
    with serving(case.network, *options, *cut) as target:
        return tried("--server", f"grpc://{target}")


def time(case: Case, folder: Path, seconds: float) -> dict[str, Any]:
    """Seconds of a step on the phone: head and tail, or all of it.

    Args:
        case: Which network, cut or not.
        folder: For files.
        seconds: For how long it runs, at least three steps.
    """
    path = file(case, folder)
    if case.way == WHOLE:
        known = ("--steps", "4", "--seconds", str(seconds))
        said = phone(str(path), *known)
        if not said["trained"]:
            raise RuntimeError(f"{case}: {said['how']}")
        passes = {"step": float(np.median(said["seconds"]))}
    else:
        done = python(
            "_planner_process.py", str(path), str(seconds), "2", "wall"
        )
        passes = json.loads(done.stdout)["seconds"]
    return {"passes": passes, "facts": facts(path)}


def payload(case: Case) -> dict[str, Any]:
    """Bytes of an image in a step, for codings, and as SplitEasy sends it.

    Returns:
        `"U"` and `"single"`: `[up, down]` by coding. `"spliteasy"`: the same
        for its JSON, of the tensors of a real step from random weights.
    """
    import keras
    import tensorflow as tf
    from _paper_networks import halves
    from _spliteasy import GZIP_LEVEL
    from _spliteasy import stringify

    from keras_split import datasets
    from keras_split import zoo

    keras.backend.clear_session()
    client, server = halves(case.network, case.size, case.way, "float32")
    shapes = [
        tuple(tuple(spec.shape) for spec in specs)
        for specs in (client.contract.smashed, client.contract.features)
    ]
    u = zoo.Facts(0, 0, 0, 0, *shapes)
    single = zoo.Facts(0, 0, 0, 0, shapes[0], ())
    images, labels = datasets.load("fashion_mnist")[0]
    shape = (case.size, case.size, 3)
    x = datasets.to_model_input(images[: case.batch], shape, "tf")

    def listed(model: Any, given: Any) -> Any:
        return keras.tree.flatten(model(given, training=True))

    with tf.GradientTape() as tape:
        smashed = listed(client.head, [tf.constant(x)])
        tape.watch(smashed)
        features = listed(server.body, smashed)
        (predicted,) = listed(client.tail, features)
        loss = keras.losses.sparse_categorical_crossentropy(
            labels[: case.batch], predicted
        )
        total = tf.reduce_mean(loss)
    back = tape.gradient(total, [*smashed, *features])

    def text(tensors: Any, key: str) -> bytes:
        return b"".join(stringify({key: t.numpy().tolist()}) for t in tensors)

    up = len(text(smashed, "inputs"))
    up += len(text(back[len(smashed) :], "gradients"))
    down = len(gzip.compress(text(features, "inputs"), GZIP_LEVEL))
    grads = text(back[: len(smashed)], "gradients")
    down += len(gzip.compress(grads, GZIP_LEVEL))
    return {
        "U": {c: u.bytes_per_sample(c, case.batch) for c in CODINGS},
        "single": {c: single.bytes_per_sample(c, case.batch) for c in CODINGS},
        "spliteasy": [up / case.batch, down / case.batch],
    }
