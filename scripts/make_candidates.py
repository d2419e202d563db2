"""Writes what `keras_split.plan` knows of the presets of the zoo.

    python scripts/make_candidates.py            # all of them: a minute
    python scripts/make_candidates.py resnet50

Each network is built once, and its candidates go to
`zoo/keras_split_zoo/candidates/NAME.json`, which `Preset.candidates` reads
without Keras. A slow test holds the files against the networks.
"""

import json
import sys
from pathlib import Path

from keras_split import zoo

FOLDER = Path(__file__).parents[1] / "zoo" / "keras_split_zoo" / "candidates"


def text(name: str) -> str:
    """The file of a preset, with a line for each atom and cut."""
    preset = zoo.get(name)
    config = preset.search(preset.build()).get_config()

    def line(value: object) -> str:
        return json.dumps(value, separators=(",", ":"))

    lists = []
    for key in ("atoms", "cuts"):
        rows = ",\n".join(line(row) for row in config.pop(key))
        lists.append(f'"{key}":[\n{rows}\n]')
    return line(config)[:-1] + ",\n" + ",\n".join(lists) + "}\n"


def main() -> None:
    """Writes the files of the presets that are named, or of all."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or zoo.names("images"):
        path = FOLDER / f"{name}.json"
        path.write_text(text(name), "utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
