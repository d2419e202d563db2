"""A server of a merged cohort in a process of its own, which can be killed.

    python -m tests.merged_server FOLDER OPTIONS

Loads what it needs and prints "ready"; with the next line it serves, from the
checkpoints in FOLDER, and prints its port; it logs to `server.log` there. With
one more it writes the body's weights beside them and ends. OPTIONS are those of
the `CohortConfig`, and `checkpoint_every`, as JSON.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np

from keras_split.server import CohortConfig
from keras_split.server.observe import Audit
from tests.server.cohorts.merged_phones import compiled


def main():
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    every = options.pop("checkpoint_every")
    logging.basicConfig(
        filename=folder / "server.log",
        format="%(asctime)s %(process)d %(message)s",
        level=logging.INFO,
    )
    *_, body = compiled()
    print("ready", flush=True)
    sys.stdin.readline()
    with body.serve(
        port=0,
        checkpoints=folder / "kept",
        checkpoint_every=every,
        cohort=CohortConfig("merged", **options),
        listeners=[Audit(folder / "audit.jsonl")],
    ) as server:
        print(server.port, flush=True)
        sys.stdin.readline()
        np.savez(folder / "body.npz", *body.half.weights())


if __name__ == "__main__":
    main()
