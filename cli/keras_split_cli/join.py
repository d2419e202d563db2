"""`keras-split join`: one model again from two halves."""

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

import click
import numpy as np

from keras_split import datasets
from keras_split.errors import DataError
from keras_split.protocol.data_spec import DataSpec
from keras_split_cli import output_file
from keras_split_cli.console import load_keras
from keras_split_cli.console import quietly
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.console import warned
from keras_split_cli.console import working
from keras_split_cli.data import read_data
from keras_split_cli.imports import import_option
from keras_split_cli.options import CLIENT
from keras_split_cli.options import SERVER
from keras_split_cli.options import check_source
from keras_split_cli.options import load_half

CALIBRATION = 128
_PRECISIONS = ["float32", "float16", "dynamic", "int8"]


@click.command()
@click.argument("client", metavar="CLIENT")
@click.argument("server", metavar="SERVER")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    required=True,
    metavar="FILE",
    help="A .keras, which Keras loads without keras_split, or a .tflite, "
    "which LiteRT runs by itself. A .json beside it says classes, "
    "preprocessing and inputs.",
)
@click.option(
    "--client",
    "client_model",
    type=click.Path(dir_okay=False),
    metavar="CLIENT.KERAS",
    help="The client that a device's state belongs to; by default the "
    "client.keras beside the state.",
)
@click.option(
    "--server-model",
    type=click.Path(dir_okay=False),
    metavar="SERVER.KERAS",
    help="The body that checkpoints belong to, trained or not; by default the "
    "server.keras beside the client.",
)
@click.option(
    "--precision",
    type=click.Choice(_PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the weights of a .tflite.",
)
@click.option(
    "--calibration",
    metavar="FOLDER|FILE.npz|NAME",
    help="Images that int8 takes its ranges from, with --precision int8.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Join halves of different trainings or moments, too, and say what "
    "differs.",
)
@import_option
def join(
    client: str,
    server: str,
    output: str,
    client_model: str | None,
    server_model: str | None,
    precision: str,
    calibration: str | None,
    anyway: bool,
) -> None:
    """Join two halves: one ordinary model again, to deploy.

    CLIENT is a client.keras, or the state.npz of a LiteRT-only device. SERVER
    is a server.keras, what serve --save wrote, or the folder of serve
    --checkpoints.

    \b
    keras-split join client.keras trained.keras -o whole.keras
    keras-split join client.keras state/ --server-model halves/server.keras \\
        -o whole.tflite
    keras-split join state.npz trained.keras --client halves/client.keras \\
        -o whole.tflite --precision int8 --calibration photos/

    Quantization and defenses of the link are no part of the whole model. Both
    halves must be of one moment of one training: save them when it has ended.
    """  # noqa: D301 (\b is click's, for lines as they are)
    target = Path(output)
    _check_output(target, [client, server, client_model, server_model])
    _check_precision(target, precision, calibration)
    client_file = _client_file(client, client_model)
    server_file = _server_file(server, server_model, client_file)
    check_source(str(client_file), CLIENT, preset=False)
    check_source(str(server_file), SERVER, preset=False)
    with working(f"Loading {client} and {server}"):
        load_keras()
        one = load_half(str(client_file), {}, CLIENT)
        if str(client_file) != client:
            one.load_device_state(client)
        other = load_half(str(server_file), {}, SERVER)
        if str(server_file) != server:
            from keras_split.models.checkpoint import load_checkpoint

            tell(f"The body is that of {load_checkpoint(other, server)}")
    from keras_split import join as join_halves

    with warned():
        whole = join_halves(one, other, anyway=anyway)
    before = _described(target.with_suffix(".json"))
    if target.suffix == ".keras":
        _save(whole, target, one)
    else:
        from keras_split import litert

        images = None
        if calibration is not None:
            images = _images(calibration, whole, one.data_spec)
        with working("Converting to LiteRT"), quietly():
            litert.export_whole(
                whole,
                target,
                precision=precision,
                calibration=images,
                data_spec=one.data_spec,
                moment=one.moment,
            )
    _keep_sibling(target.with_suffix(".json"), before)
    of = f" of {one.moment}" if one.moment else ""
    tell(f"Joined two halves{of}: {whole.count_params():,} parameters")
    if one.data_spec.class_names:
        tell(f"Classes: {', '.join(one.data_spec.class_names)}")
    for path in (target, target.with_suffix(".json")):
        tell(f"{path}  {size(path.stat().st_size)}")


def _check_output(target: Path, sources: list[str | None]) -> None:
    """Refuses what could not be written, or would write over something."""
    if target.suffix not in (".keras", ".tflite"):
        raise click.BadParameter(
            "Expected a file name that ends in .keras or .tflite. Received: "
            f"{str(target)!r}.",
            param_hint="'-o'",
        )
    output_file.check_folder(str(target), "-o")
    about = target.with_suffix(".json")
    taken = {Path(s).resolve() for s in sources if s is not None}
    if target.resolve() in taken or (about.is_file() and not _described(about)):
        raise DataError(
            f"Expected -o to name a new file, with a .json beside it. "
            f"Received: {str(target)!r}, which would be written over "
            f"{target.name if target.resolve() in taken else about.name}. "
            "Choose another name, such as whole.keras."
        )


def _described(about: Path) -> dict[str, Any]:
    """What was written beside a whole model; empty if it is anything else."""
    try:
        config = json.loads(about.read_bytes())
        return config if config["mode"] == "whole" else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep_sibling(about: Path, before: dict[str, Any]) -> None:
    """One .json describes whole.keras and whole.tflite, if they are alike."""
    now = _described(about)
    alike = ("class_names", "preprocess", "moment", "inputs", "outputs")
    if any(now.get(key) != before.get(key) for key in alike):
        return
    draft = about.with_name(f".{about.name}.{secrets.token_hex(4)}")
    try:
        draft.write_text(json.dumps(before | now, indent=1) + "\n")
        draft.replace(about)
    finally:
        draft.unlink(missing_ok=True)


def _check_precision(
    target: Path, precision: str, calibration: str | None
) -> None:
    if target.suffix == ".keras" and precision != "float32":
        raise click.UsageError(
            "Expected --precision with a .tflite. Received: "
            f"-o {str(target)!r}. Leave it out, or name a .tflite."
        )
    if (precision == "int8") != (calibration is not None):
        raise click.UsageError(
            "Expected --calibration with --precision int8, which takes its "
            "ranges from real images, and with nothing else. Received: "
            f"--precision {precision}"
            + (", and no --calibration." if calibration is None else ".")
        )


def _client_file(client: str, given: str | None) -> Path:
    """The client.keras: the argument itself, or that of a device's state."""
    path = Path(client)
    if path.suffix == ".keras":
        if given is not None:
            raise click.UsageError(
                "Expected --client with the state of a device. Received: "
                f"{client!r}, which is a client itself. Leave --client out."
            )
        return path
    if path.suffix != ".npz":
        raise DataError(
            "Expected a client.keras, or the state.npz of a device. Received: "
            f"{client!r}. keras-split show {client} says what it is."
        )
    found = Path(given) if given else path.with_name("client.keras")
    if not found.is_file():
        raise DataError(
            "Expected the client.keras that the device's state belongs to, "
            "for a state has no layers. Received: "
            f"{str(found)!r}, which is no file. Name the one that was exported "
            "with the client.tflite: --client halves/client.keras."
        )
    return found


def _server_file(server: str, given: str | None, client: Path) -> Path:
    """The server.keras: the argument itself, or that of checkpoints."""
    if Path(server).suffix == ".keras":
        if given is not None:
            raise click.UsageError(
                "Expected --server-model with checkpoints. Received: "
                f"{server!r}, which is a server itself. Leave --server-model "
                "out."
            )
        return Path(server)
    if not Path(server).exists():
        raise DataError(
            "Expected a server.keras, or a folder of serve --checkpoints. "
            f"Received: {server!r}, which is not there. Look at the path."
        )
    found = Path(given) if given else client.with_name("server.keras")
    if not found.is_file():
        raise DataError(
            "Expected the server.keras that the checkpoints belong to, for "
            "they have no layers. Received: "
            f"{str(found)!r}, which is no file. Name it with --server-model; "
            "that of a preset is written by keras-split export PRESET, with "
            "the options that it was served with."
        )
    return found


def _images(data: str, whole: Any, spec: DataSpec) -> Any:
    """Images drawn at random, as the model wants them."""
    shape = tuple(whole.inputs[0].shape[1:])
    (x, _), *_ = read_data(data, shape, 0.0, 0)
    order = np.random.default_rng(0).permutation(len(x))[:CALIBRATION]
    return datasets.to_model_input(x[order], shape, spec.scale)


def _save(whole: Any, target: Path, client: Any) -> None:
    """Writes the .keras and its .json, or neither."""
    from keras_split.litert.whole import describe_whole

    token = secrets.token_hex(4)
    draft = target.with_name(f".{target.stem}.{token}.keras")
    about = draft.with_suffix(".json")
    try:
        whole.save(draft)
        described = {
            **describe_whole(whole, client.data_spec, client.moment),
            "keras_sha256": hashlib.sha256(draft.read_bytes()).hexdigest(),
        }
        about.write_text(json.dumps(described, indent=1) + "\n")
        draft.replace(target)
        about.replace(target.with_suffix(".json"))
    finally:
        draft.unlink(missing_ok=True)
        about.unlink(missing_ok=True)
