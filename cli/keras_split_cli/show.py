"""`keras-split show`: what a file is."""

import json
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from keras_split.files import Facts
from keras_split.files import look
from keras_split.utils.plain import plain
from keras_split_cli.console import out
from keras_split_cli.console import size

# In this order; what is not here comes behind, under its own name.
_WORDS = {
    "run": "run",
    "step": "step",
    "device_steps": "steps of the device",
    "cut": "cut at",
    "fingerprint": "fingerprint",
    "classes": "classes",
    "preprocessing": "preprocessing",
    "quantization": "quantization",
    "codec": "codec",
    "defenses": "defenses",
    "labels": "labels",
    "shared_inputs": "inputs that the server gets",
    "training_bytes_per_sample": "training sends",
    "inputs": "inputs",
    "outputs": "outputs",
    "parameters": "parameters",
    "numbers": "numbers",
    "state_tensors": "tensors of state",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "optimizer_numbers": "optimizer's numbers",
    "loss": "loss",
    "metrics": "metrics",
    "server": "server",
    "server_snapshot": "server's snapshot",
    "sessions": "sessions",
    "batch_size": "batch size",
    "precision": "precision",
    "described_by": "described by",
    "folders": "folders",
    "files": "files",
    "sha256": "sha256",
    "keras_split": "keras_split",
    "keras": "Keras",
    "saved": "saved",
}
_TABLES = ("crossing", "signatures", "operations", "arrays")


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(path: str, as_json: bool) -> None:
    """Say what a file is.

    Takes a .keras (a client, a server, or an ordinary model), a .tflite, its
    .json, a device's state.npz, a checkpoint or the folder of checkpoints,
    and a .weights.h5. Says of which training and step it is, where the model
    is cut, its classes and preprocessing, and what crosses the link.

    Nothing in the file is run, and TensorFlow is not needed.

    \b
    keras-split show client.keras
    keras-split show state/
    """  # noqa: D301 (\b is click's, for lines as they are)
    facts = look(path)
    if as_json:
        click.echo(json.dumps(facts))
        return
    out.print(
        f"{plain(facts['file'])}: {plain(facts['kind'])}"
        + (f", {size(facts['bytes'])}" if "bytes" in facts else ""),
        style="bold",
        markup=False,
    )
    if "run" not in facts and ("cut" in facts or "device_steps" in facts):
        facts["run"] = "not trained, or by a version that did not say"
    table = _table("", "")
    names = [*_WORDS, *(n for n in facts if n not in _WORDS)]
    for name in names:
        value = facts.get(name)
        if name in ("file", "kind", "bytes", *_TABLES) or value in (
            None,
            [],
            {},
        ):
            continue
        table.add_row(
            Text(plain(_WORDS.get(name, name))), Text(_text(name, value))
        )
    out.print(table)
    _tables(facts)


def _tables(facts: Facts) -> None:
    crossing = facts.get("crossing") or []
    if crossing:
        table = _table("tensor", "way", "shape", "bytes an example")
        for row in crossing:
            way = {"up": "phone to server", "down": "server to phone"}
            table.add_row(
                Text(plain(row["tensor"])),
                way[row["direction"]],
                _shape(row["shape"]),
                f"{row['bytes_per_sample']:,.0f}",
            )
        out.print()
        out.print(table)
    signatures = facts.get("signatures")
    if isinstance(signatures, dict):
        table = _table("signature", "in", "out")
        for name, ends in signatures.items():
            table.add_row(
                Text(plain(name)),
                *(Text(_ends(ends[way])) for way in ("inputs", "outputs")),
            )
        out.print()
        out.print(table)
    elif signatures:
        out.print(f"\nSignatures: {signatures}", markup=False)
    if facts.get("operations"):
        found = facts["operations"]
        text = ", ".join(f"{name} {n}" for name, n in found.items())
        out.print(f"\nOperations: {plain(text)}", markup=False)
    for name, form in (facts.get("arrays") or {}).items():
        out.print(f"{plain(name)}  {form[0]} {_shape(form[1:])}", markup=False)


def _table(*columns: str) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=any(columns)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _scaling(matrix: list[list[float]], offset: list[float]) -> str:
    """What becomes of pixels; a range where all channels have the same."""
    each = {row[i] for i, row in enumerate(matrix)}
    alone = all(
        not value
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
        if i != j
    )
    if alone and len(each) == len({*offset}) == 1:
        (scale,), low = each, offset[0]
        return f"images of 0 to 255 become {low:g} to {255 * scale + low:g}"
    return f"images of 0 to 255 become x @ {matrix} + {offset}"


def _text(name: str, value: Any) -> str:
    """A fact as people read it."""
    if name == "training_bytes_per_sample":
        text = f"{value['up']:,.0f} bytes up and {value['down']:,.0f} down"
        return f"{text} for each example"
    if name in ("inputs", "outputs"):
        return _ends(value)
    if name == "parameters" and isinstance(value, dict):
        parts = [f"{k} {v:,}" for k, v in value.items() if k != "all"]
        rest = f" ({', '.join(parts)})" if parts else ""
        return plain(f"{value['all']:,}{rest}")
    if name == "preprocessing":
        return plain(_scaling(value["matrix"], value["offset"]))
    if name == "defenses":
        return plain("; ".join(_defense(one) for one in value))
    if name == "sessions":
        told = [
            f"{s['client'] or 'a client'}: {s['next_step']:,}" for s in value
        ]
        return plain(f"{len(value)}, with steps taken: {', '.join(told)}")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return plain(", ".join(value))
    if isinstance(value, (list, dict)):
        return plain(json.dumps(value))
    return plain(str(value))


def _defense(one: dict[str, Any]) -> str:
    """A defense and its arguments, nearly as `--defense` takes them."""
    told = [
        f"{name}={'+'.join(value) if isinstance(value, list) else value}"
        for name, value in one.get("config", {}).items()
    ]
    return f"{one['name']}:{','.join(told)}" if told else str(one["name"])


def _ends(tensors: list[Any]) -> str:
    told = [
        t
        if isinstance(t, str)
        else f"{t['name']} {_shape(t['shape'])}"
        if "shape" in t
        else t["name"]
        for t in tensors
    ]
    return plain(", ".join(told))


def _shape(shape: list[Any]) -> str:
    return "x".join("?" if n is None else str(n) for n in shape) or "scalar"
