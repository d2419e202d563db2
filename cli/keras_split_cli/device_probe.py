"""`keras-split device probe`: how fast this machine is, for the planner."""

from pathlib import Path

import click

from keras_split.errors import OptionError
from keras_split.utils import malloc
from keras_split_cli import output_file
from keras_split_cli.amount import Amount
from keras_split_cli.console import load_keras
from keras_split_cli.console import tell
from keras_split_cli.progress_bar import ProgressBar


@click.command(short_help="Measure this machine, for where to cut.")
@click.option(
    "-o",
    "--output",
    default="profile.json",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="Where to write the profile.",
)
@click.option(
    "--seconds",
    type=Amount(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="For how long to measure, about.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of one operation; LiteRT's choice by default.",
)
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="What a second is: one on the wall, or one in which a core worked "
    "for this, which is fairer beside other programs; with one thread.",
)
@click.option(
    "--server",
    is_flag=True,
    help="Measure it as the server of a body, which needs Keras and "
    "TensorFlow.",
)
def probe(
    output: str, seconds: float, threads: int | None, clock: str, server: bool
) -> None:
    """Run small networks for half a minute, and write a profile.

    The profile says how long this machine takes for each kind of layer, from
    which keras-split plan tells what a cut would cost on it. It is measured
    as the phone is used: with LiteRT alone, with files of the kind that
    keras-split export writes, forward, backward and update.

    \b
    keras-split device probe -o phone.json
    keras-split device probe --server -o server.json
    """  # noqa: D301 (\b is click's, for lines as they are)
    output_file.check(output, (".json",), "--output")
    name = Path(output).stem
    if server and (threads is not None or clock != "wall"):
        raise OptionError(
            "Expected --server without --threads and --clock. Received: both "
            "at once. A server computes with TensorFlow's threads."
        )
    if server:
        malloc.keep()  # as `serve` does
        load_keras()
    with ProgressBar("Measuring this machine", 100) as bar:

        def progress(part: float) -> None:
            bar.advance(round(100 * part) - 1)

        if server:
            from keras_split.planner.server_probe import probe_server

            made = probe_server(name=name, seconds=seconds, progress=progress)
        else:
            from keras_split.planner.probe import probe as probe_phone

            made = probe_phone(
                name=name,
                seconds=seconds,
                threads=threads,
                clock=clock,
                progress=progress,
            )
    with output_file.draft(output) as path:
        made.save(path)
    tell(f"Saved the profile of this machine to {output}")
