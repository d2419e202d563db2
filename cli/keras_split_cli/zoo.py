"""`keras-split zoo`: the networks that come with splits."""

import dataclasses
import json
from typing import Any

import click
from rich.table import Table

from keras_split import zoo as presets
from keras_split.compression.presets import names
from keras_split.zoo import Preset
from keras_split_cli.console import count
from keras_split_cli.console import load_keras
from keras_split_cli.console import out
from keras_split_cli.console import size
from keras_split_cli.console import working
from keras_split_cli.options import built_with
from keras_split_cli.quantization_option import quantization_option


@click.group()
def zoo() -> None:
    """The networks that come with splits."""


@zoo.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@quantization_option("What the bytes are computed for")
def list_presets(as_json: bool, quantization: str) -> None:
    """List the presets and what their splits cost.

    Parameters, multiply-adds and bytes are for 224x224 images and 10
    classes, or for texts of 128 tokens. Bytes are those of one training step
    for one example, up from the phone and down to it.
    """
    found = [presets.get(name) for name in presets.names()]
    if as_json:
        click.echo(json.dumps([describe(p, quantization) for p in found]))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("preset", no_wrap=True, style="bold")
    table.add_column("cut", no_wrap=True)
    for title in ("phone", "server", "phone", "server", "up", "down"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row(
        *("", "", "params", "params", "mul-add", "mul-add", "/each", "/each"),
        style="dim",
    )
    for preset in found:
        for name, cut in preset.cuts.items():
            facts = cut.facts
            up, down = facts.bytes_per_sample(quantization)
            first = name == presets.DEFAULT_CUT
            table.add_row(
                preset.name if first else "",
                name,
                count(facts.phone_parameters),
                count(facts.server_parameters),
                count(facts.phone_multiply_adds),
                count(facts.server_multiply_adds),
                size(up),
                size(down),
            )
    out.print(table)
    examples = [preset.example for preset in found]
    most = max(examples, key=examples.count)
    others = "".join(
        f"\n{preset.name}: {preset.example}."
        for preset in found
        if preset.example != most
    )
    out.print(
        f"\n{most}; {quantization} on the link; spliteasy is the default cut."
        f"{others}\nMore: keras-split zoo show NAME",
        style="dim",
    )


@zoo.command()
@click.argument("name")
@click.option(
    "--input-size",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Compute the costs for images of this size.",
)
@click.option(
    "--sequence-length",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Of texts: compute them for such of this length.",
)
@click.option(
    "--vocabulary-size",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Of texts: and for so many different tokens.",
)
@click.option("--classes", type=click.IntRange(min=1), help="And classes.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(name: str, as_json: bool, **sizes: Any) -> None:
    """Show one preset: its cuts, and bytes by quantization.

    \b
    keras-split zoo show mobilenet_v2 --input-size 96
    keras-split zoo show bert_tiny --sequence-length 64
    """  # noqa: D301 (\b is click's, for lines as they are)
    preset = presets.get(name)
    if any(size is not None for size in sizes.values()):
        options = built_with(preset, **sizes)
        with working(f"Building {name}"):
            load_keras()
            preset = preset.measured(**options)
    if as_json:
        click.echo(json.dumps(describe(preset)))
        return
    out.print(f"[bold]{preset.name}[/]  {preset.summary}")
    out.print(f"{preset.paper}\n{preset.model}", style="dim")
    out.print(f"\nFor {preset.example}")
    if preset.limit:
        out.print(preset.limit)
    for title, cut in preset.cuts.items():
        facts = cut.facts
        out.print(
            f"\n[bold]{title}[/]: cut after {cut.layers[0]} and {cut.layers[1]}"
        )
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("", "parameters", "multiply-adds"):
            table.add_column(column, justify="right" if column else "left")
        for where in ("phone", "server"):
            table.add_row(
                where,
                f"{getattr(facts, f'{where}_parameters'):,}",
                f"{getattr(facts, f'{where}_multiply_adds'):,}",
            )
        out.print(table)
        smashed = " ".join(str(s) for s in facts.smashed)
        features = " ".join(str(s) for s in facts.features)
        out.print(f"smashed data {smashed}, features {features}")
        if facts.shared_bytes:
            out.print(
                f"the server gets {', '.join(preset.shares)} as it is: "
                f"{size(facts.shared_bytes)} an example, in up/each"
            )
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("quantization", "up/each", "down/each", "head frozen"):
            table.add_column(
                column, justify="left" if column == "quantization" else "right"
            )
        for quantization in names():
            up, down = facts.bytes_per_sample(quantization)
            _, frozen = facts.bytes_per_sample(quantization, frozen_head=True)
            table.add_row(quantization, *map(size, (up, down, frozen)))
        out.print(table)
    out.print(
        "\nhead frozen: down/each where the head has no weights to train",
        style="dim",
    )


def describe(preset: Preset, *quantizations: str) -> dict[str, Any]:
    """A preset as plain values."""
    cuts = {}
    for name, cut in preset.cuts.items():
        sizes = {}
        for quantization in quantizations or names():
            up, down = cut.facts.bytes_per_sample(quantization)
            _, frozen = cut.facts.bytes_per_sample(
                quantization, frozen_head=True
            )
            sizes[quantization] = {
                "uplink": up,
                "downlink": down,
                "downlink_frozen_head": frozen,
            }
        cuts[name] = {
            "layers": cut.layers,
            **dataclasses.asdict(cut.facts),
            "bytes_per_sample": sizes,
        }
    return {
        "name": preset.name,
        "summary": preset.summary,
        "paper": preset.paper,
        "model": preset.model,
        "kind": preset.KIND,
        **preset.takes,
        "shares": preset.shares,
        "cuts": cuts,
    }
