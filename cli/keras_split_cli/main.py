"""`keras-split`: finds the command, turns our errors into exit codes."""

import difflib
import importlib
import io
import os
import sys
from typing import Any

import click

from keras_split import __version__
from keras_split.errors import SplitError
from keras_split.utils.plain import plain
from keras_split_cli import extensions

COMMANDS = {
    "audit": "Attack your own split: what could its server find out?",
    "certs": "Make certificates and tokens for a server and its clients.",
    "demo": "Train a split network on real images, in two processes.",
    "device": "Train with LiteRT alone, where TensorFlow cannot be installed.",
    "evaluate": "Say how good a model is: loss, metrics, each class.",
    "export": "Write the phone's half as a LiteRT file.",
    "join": "Join two halves: one ordinary model again, to deploy.",
    "plan": "Say where to cut a network: time, bytes, memory.",
    "predict": "Say what a model takes images for.",
    "serve": "Serve the body of a network to phones.",
    "show": "Say what a file is: a half, a model, a state, a checkpoint.",
    "simulate": "Train one network with many phones, in one process.",
    "status": "Watch what a server is doing.",
    "train": "Train as the phone: head and tail here, the body elsewhere.",
    "zoo": "List the networks that come with splits.",
}


# As a person comes to them; what is not here stands behind these.
_WAY = (
    *("demo", "zoo", "plan", "data", "serve", "train", "evaluate", "predict"),
    *("join", "show", "export", "device", "simulate", "audit", "status"),
    "certs",
)


class _Commands(click.Group):
    """Loads a command when it is called, and none to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's, with the commands that may be meant.

        It looks among those that are loaded, and they are none.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS)
            meant = " or ".join(map(repr, near))
            ctx.fail(
                f"No such command {name!r}."
                + (f" Did you mean {meant}?" if near else "")
            )
        return super().resolve_command(ctx, args)

    def get_command(
        self, ctx: click.Context, cmd_name: str
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        extensions.load()  # before a command lists what there is to choose
        module = importlib.import_module(f"keras_split_cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        way = [name for name in _WAY if name in COMMANDS]
        way += [name for name in COMMANDS if name not in way]
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in way])


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: keras-split demo",
)
@click.version_option(__version__, prog_name="keras-split")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Split learning for Keras models.

    The phone keeps the first and last layers, the data and the labels; a
    server trains the middle; only quantized cut-layer tensors travel.

    \b
    On the server   keras-split serve mobilenet_v2 --input-size 96 \\
                        --classes 2 --batchnorm-momentum 0.9 \\
                        --save server.keras
    On the phone    keras-split train mobilenet_v2 --input-size 96 \\
                        --batchnorm-momentum 0.9 --data photos/ \\
                        --server 127.0.0.1:50051 --save client.keras
    To deploy       keras-split join client.keras server.keras \\
                        -o whole.tflite

    photos/ has a folder of images for each of the 2 classes. Each command
    has a help: keras-split train --help.
    """  # noqa: D301 (\b is click's, for lines as they are)
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; 0 is success, 1 our error, 2 a wrong call."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A pipe may take less than names of files and classes have.
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments
    # --debug is welcome anywhere, where it is needed most: at the end.
    rest: list[Any] = [a for a in arguments if a != "--debug"]
    try:
        cli.main(
            ["--debug", *rest] if debug else rest,
            prog_name="keras-split",
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        sys.exit(2 if isinstance(error, click.UsageError) else 1)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(1)
    except (SplitError, OSError) as error:
        if debug:
            raise
        # What others said may be in it: names in a file, say.
        lines = (plain(x, 100_000) for x in str(error).splitlines())
        click.echo("Error: " + "\n".join(lines), err=True)
        sys.exit(1)
