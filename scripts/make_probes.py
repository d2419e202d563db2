#!/usr/bin/env python3
"""Exports the probes of keras_split/planner: what a phone is measured with.

    python scripts/make_probes.py [--count N] [--output probes.tar.xz]

By default those that are shipped; N others, drawn by chance, for a profile
that is to come with keras_split.

Run it after a change of the phone's files, or of `planner/probes.py`.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_split
from keras_split.litert.convert import convert
from keras_split.litert.export import layers
from keras_split.litert.losses import OutputLoss
from keras_split.litert.optimizers import Update
from keras_split.litert.training import TrainingSignatures
from keras_split.partition.graph import Graph
from keras_split.planner import crossing
from keras_split.planner import probes
from keras_split.planner import work_of
from keras_split.planner.probe_files import ProbeFile
from keras_split.planner.probe_files import pack
from keras_split.planner.runs import SIGNATURES
from keras_split.utils import keras_private

TARGET = Path(keras_split.__file__).parent / "planner" / "probes.tar.xz"


def export(client: Any, batch: int, path: Path) -> ProbeFile:
    """Writes the passes of a client's step, and nothing else.

    Args:
        client: Cut twice.
        batch: Examples.
        path: Of the .tflite.
    """
    for variable in (*client.head.variables, *client.tail.variables):
        if "kernel" in variable.path:  # all the same: the file packs well
            variable.assign(np.full(variable.shape, 0.01, np.float32))
    update = Update(keras.optimizers.SGD(1e-3, momentum=0.9))
    loss = OutputLoss("y", "sparse_categorical_crossentropy", 1.0)
    signatures = TrainingSignatures(client, batch, [loss], update)
    functions = signatures.functions()
    content = convert(
        signatures.module,
        {name: functions[name] for name in SIGNATURES},
        layers(client),
    )
    path.write_bytes(nameless(content))
    return described(client, batch, path)


def nameless(content: bytes) -> bytes:
    """The same .tflite, without names of tensors, which nobody reads."""
    import flatbuffers

    schema = keras_private.tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def described(client: Any, batch: int, path: Path) -> ProbeFile:
    """What head and tail of a client do."""
    halves = (
        (client.head, client.contract.smashed),
        (client.tail, client.contract.features),
    )
    head, tail = (
        work_of(Graph(model).calls) + crossing(spec.shape for spec in specs)
        for model, specs in halves
    )
    return ProbeFile(path, batch, head, tail)


def client_of(probe: probes.Probe) -> Any:
    """The phone's half of a probe."""
    keras.backend.clear_session()
    model, cut = probes.build(probe)
    client, _ = keras_split.compile(model, cut, quantization="int8")
    return client


def main() -> None:
    """Writes the archive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int)
    parser.add_argument("--output", type=Path, default=TARGET)
    args = parser.parse_args()
    files = []
    chosen = probes.probes(args.count) if args.count else probes.shipped()
    with tempfile.TemporaryDirectory() as folder:
        for number, probe in enumerate(chosen):
            path = Path(folder, f"{number:02d}.tflite")
            files.append(export(client_of(probe), probe.batch, path))
            print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)
        pack(args.output, files)
    print(f"{args.output}: {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
