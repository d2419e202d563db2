"""`keras-split plan`: where to cut a network."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import cast

import click

from keras_split import datasets
from keras_split import zoo
from keras_split.errors import DataError
from keras_split.planner import codings
from keras_split.planner.candidates import Candidates
from keras_split.planner.leakage import MOST
from keras_split.planner.machines import PROBE
from keras_split.planner.machines import phone_now
from keras_split.planner.machines import server_now
from keras_split.planner.plan import DEFAULT_LINK
from keras_split.planner.plan import GOALS
from keras_split.planner.plan import Plan
from keras_split.planner.plan import plan as planned
from keras_split.planner.profile import Profile
from keras_split.utils import malloc
from keras_split_cli import output_file
from keras_split_cli.amount import Amount
from keras_split_cli.console import load_keras
from keras_split_cli.console import note
from keras_split_cli.console import quietly
from keras_split_cli.console import tell
from keras_split_cli.console import working
from keras_split_cli.data import read_data
from keras_split_cli.image_data import AS_THEY_ARE
from keras_split_cli.image_presets import image_preset
from keras_split_cli.imports import import_option
from keras_split_cli.progress_bar import ProgressBar
from keras_split_cli.quantization_option import quantization_option


@click.command()
@click.argument("model", metavar="PRESET|MODEL.KERAS")
@click.option(
    "--phone",
    metavar="PROFILE",
    help="The phone's profile: a .json of keras-split device probe, the name "
    "of one that comes with keras_split, or probe, to measure this machine "
    "now. Without it nobody knows times and memory.",
)
@click.option(
    "--server",
    metavar="PROFILE",
    help="The server's profile, likewise; probe takes TensorFlow.",
)
@click.option(
    "--link",
    default=DEFAULT_LINK,
    show_default=True,
    metavar="RATE/RTT",
    help="The network: 20M/30ms, or 20M,5M/30ms for 20 Mbit/s down and 5 up.",
)
@click.option(
    "--max-memory",
    metavar="BYTES",
    help="The most that the phone's process may take, such as 300M.",
)
@click.option(
    "--min-depth",
    type=Amount(0, 1),
    default=0.0,
    metavar="SHARE",
    help="The least share of the network's multiply-adds in front of the cut.",
)
@click.option(
    "--data",
    metavar="FOLDER|FILE.npz|NAME",
    help="Images, as for keras-split train, to compare cuts by what smashed "
    "data has in common with them; the network is built.",
)
@click.option(
    "--max-leakage",
    type=Amount(0, 1, min_open=True),
    metavar="SHARE",
    help="The most that it may have in common, 0 to 1; takes --data.",
)
@click.option(
    "--optimize",
    type=click.Choice(GOALS),
    help="What is to be least; by default time, or bytes where no time is "
    "known.",
)
@quantization_option(
    "How cut-layer tensors are rounded, where auto goes by --max-loss",
    codings.AUTO,
)
@click.option(
    "--max-loss",
    type=Amount(min=0),
    default=codings.DEFAULT_LOSS,
    show_default=True,
    metavar="POINTS",
    help="With --quantization auto: the most that a coding may have cost of "
    "accuracy where it was measured, in percent.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Images of a step.",
)
@click.option(
    "--microbatches",
    type=click.IntRange(1, 64),
    help="In how many parts a batch travels; by default what is fastest.",
)
@click.option(
    "--labels-on-server",
    is_flag=True,
    help="Offer cuts, too, where the server sees the labels.",
)
@click.option(
    "--input-size",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Of a preset, another size than its own: the network is built.",
)
@click.option("--classes", type=click.IntRange(min=1), help="And classes.")
@click.option("--plot", metavar="FILE", help="Draw the cuts: .png or .html.")
@click.option("--json", "json_file", metavar="FILE", help="Write all cuts.")
@import_option
def plan(model: str, **given: Any) -> None:
    """Say where to cut a network, by time, bytes and the phone's memory.

    \b
    keras-split plan mobilenet_v2
    keras-split plan resnet50 --phone phone.json --server server.json \\
        --link 5M/40ms --max-memory 300M --plot plan.png
    keras-split plan mobilenet_v2 --phone probe --server probe
    """  # noqa: D301 (\b is click's, for lines as they are)
    output_file.check(given["plot"], (".png", ".html"), "--plot")
    output_file.check(given["json_file"], (".json",), "--json")
    if given["plot"]:
        from keras_split.evaluation.plot import require_plots

        require_plots()
    # First the phone: its memory is to have no Keras in it.
    phone = _profile(given["phone"], "phone", phone_now)
    found = _candidates(model, given["input_size"], given["classes"])
    data, network = None, None
    if given["data"]:
        network, data = _shown(model, found, given["data"])
    made = planned(
        found,
        phone=phone,
        server=_profile(given["server"], "server", server_now),
        link=given["link"],
        max_memory=given["max_memory"],
        min_depth=given["min_depth"],
        max_leakage=given["max_leakage"],
        data=data,
        network=network,
        optimize=given["optimize"],
        quantization=given["quantization"],
        max_loss=given["max_loss"],
        batch_size=given["batch_size"],
        microbatches=given["microbatches"],
        labels_on_phone=not given["labels_on_server"],
    )
    tell(str(made))
    if model in zoo.names() and (words := _network(model, made, given)):
        tell(
            f"Or: keras-split serve {words}\n"
            f"and keras-split train {words} on the phone."
        )
    if given["json_file"]:
        with output_file.draft(given["json_file"]) as path:
            text = json.dumps(made.get_config(), indent=1)
            path.write_text(text + "\n", "utf-8")
    if given["plot"]:
        from keras_split.planner.plot import plot

        with output_file.draft(given["plot"]) as path:
            plot(made, path)
        note(f"Drew {given['plot']}.")


def _profile(
    given: str | None, who: str, now: Callable[..., Profile]
) -> str | Profile | None:
    """What was named, or measured now."""
    if given != PROBE:
        return given
    if who == "server":
        malloc.keep()  # as `serve` does
        load_keras()
    with ProgressBar(f"Measuring this machine as {who}", 100) as bar:
        return now(lambda part: bar.advance(round(100 * part) - 1))


def _network(preset: str, made: Plan, given: dict[str, Any]) -> str:
    """What serve and train take for it; nothing where they cannot say it."""
    best = made.best.candidate
    cut = best.name.split(", ")[0]
    if not cut:
        layers = [layer for end in best.cut for layer in end]
        if best.labels_on_server or re.search("[,+]", "".join(layers)):
            return ""
        cut = ",".join("+".join(end) for end in best.cut)
    words = [preset, "--cut", cut]
    for option in ("input_size", "classes"):
        if given[option]:
            words += [f"--{option.replace('_', '-')}", str(given[option])]
    if made.quantization != "int8":
        words += ["--quantization", made.quantization]
    return shlex.join(words)


def _candidates(
    model: str, input_size: int | None, classes: int | None
) -> Candidates:
    """Of a preset, stored if that will do; or of a model in a file."""
    if not model.endswith(".keras"):
        if not input_size and not classes:
            return zoo.get(model).candidates()
        preset = image_preset(model, "plan with --input-size and --classes")
        shape = (input_size, input_size, 3) if input_size else None
        with working(f"Building {model}"):
            load_keras()
            return preset.candidates(shape, classes)
    if input_size or classes:
        raise DataError(
            "Expected --input-size and --classes for a preset alone. "
            f"Received: them, and {model!r}, which has its own. Leave them out."
        )
    if not Path(model).is_file():
        raise DataError(
            f"Expected a preset or a .keras file. Received: {model!r}, which "
            "is no file. Write one with model.save('model.keras')."
        )
    with working(f"Looking at {model}"), quietly():
        load_keras()
        from keras_split.planner.search import candidates_of

        return candidates_of(_loaded(model))


def _shown(model: str, found: Candidates, source: str) -> tuple[Any, Any]:
    """The network, and images as it takes them."""
    shape = found.input_shape
    images = read_data(source, shape, 0.0, 0, ()).train[0][:MOST]
    with working(f"Building {model}"), quietly():
        load_keras()
        if model.endswith(".keras"):
            note(AS_THEY_ARE)
            return _loaded(model), datasets.to_model_input(images, shape)
        preset = image_preset(model, "plan with --data")
        prepare = zoo.resolve(preset.preprocess)
        return (
            preset.build(
                input_shape=cast("tuple[int, int, int]", shape),
                classes=found.classes,
                seed=0,
            ),
            datasets.to_model_input(images, shape, prepare),
        )


def _loaded(path: str) -> Any:
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever Keras raises for a damaged file
        raise DataError(
            f"Expected a Keras model in {path!r}. Received: "
            f"{type(error).__name__}: {str(error)[:300]}. Write one with "
            "model.save, and name the package of its own layers with --import."
        ) from error
