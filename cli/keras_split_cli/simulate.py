"""`keras-split simulate`: many phones train one network, without a network."""

import json
from collections.abc import Sequence
from typing import Any

import click

from keras_split import datasets
from keras_split import zoo
from keras_split.datasets import fashion_mnist
from keras_split.errors import OptionError
from keras_split.federation.modes import APART
from keras_split.federation.modes import SIMULATED
from keras_split.utils.counted import counted
from keras_split_cli import output_file
from keras_split_cli.amount import Amount
from keras_split_cli.console import load_keras
from keras_split_cli.console import out
from keras_split_cli.console import tell
from keras_split_cli.console import working
from keras_split_cli.image_data import scaling
from keras_split_cli.image_presets import image_preset
from keras_split_cli.options import Network
from keras_split_cli.options import cut_option
from keras_split_cli.progress_bar import ProgressBar
from keras_split_cli.quantization_option import quantization_option


@click.command()
@click.argument("preset")
@click.option(
    "--phones",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many phones have the images.",
)
@click.option(
    "--alpha",
    type=Amount(min=0, min_open=True),
    help="Deal each class out unevenly, by a Dirichlet distribution: 0.1 for "
    "phones with one or two classes, 100 for phones that are alike. "
    "[default: 0.1]",
)
@click.option("--iid", is_flag=True, help="Deal images out by chance.")
@click.option(
    "--by-class",
    type=click.IntRange(min=1),
    metavar="N",
    help="Give each phone N pieces of the images sorted by class.",
)
@click.option(
    "--mode",
    "modes",
    type=click.Choice(SIMULATED),
    multiple=True,
    default=("merged",),
    show_default=True,
    help="How they train; several to compare them. centralized is one phone "
    "with all the images, fedavg the whole network on every phone.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many rounds.",
)
@click.option(
    "--participation",
    type=click.IntRange(min=1),
    metavar="PHONES",
    help="Phones of a round. [default: a tenth]",
)
@click.option(
    "--phones-per-step",
    type=click.IntRange(min=1),
    metavar="PHONES",
    help="At most so many give to a merged step; all by default.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Images of a phone's step.",
)
@click.option(
    "--merged-batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images of a merged step, of all phones together.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Over its images that a phone trains in a round.",
)
@click.option(
    "--dataset",
    type=click.Choice(datasets.names()),
    default="fashion_mnist",
    show_default=True,
    help="The images: those that come with keras-split.",
)
@click.option(
    "--input-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="PIXELS",
    help="Height and width of the images.",
)
@cut_option
@quantization_option()
@click.option(
    "--learning-rate",
    type=Amount(min=0, min_open=True),
    default=0.05,
    show_default=True,
    help="Of stochastic gradient descent.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of initial weights, head and tail too, and of all draws.",
)
@click.option(
    "--engine",
    type=click.Choice(("process", "ray")),
    default="process",
    show_default=True,
    help="Have phones of private and fedavg train in this process, or in many "
    "processes that Ray starts.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes of --engine ray. [default: one for each free CPU]",
)
@click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="Cluster of --engine ray: HOST:PORT, or auto for that of this "
    "machine. [default: RAY_ADDRESS, or else this machine alone]",
)
@click.option("--plot", metavar="FILE", help="Draw accuracy by round, as PNG.")
@click.option("--json", "json_file", metavar="FILE", help="Write the numbers.")
def simulate(preset: str, modes: tuple[str, ...], **given: Any) -> None:
    """Train one network with many phones that are simulated.

    Nothing is sent: weights and bytes are those of a server and that many
    phones. A round of every mode has as many images, so that they compare.

    \b
    keras-split simulate mobilenet_v2 --phones 1000 --alpha 0.1 \\
        --mode merged --mode shared --rounds 5 --plot phones.png
    """  # noqa: D301 (\b is click's, for lines as they are)
    image_preset(preset, "simulate")  # before Keras is loaded
    chosen = [
        name
        for name, value in (
            ("--alpha", given["alpha"] is not None),
            ("--iid", given["iid"]),
            ("--by-class", given["by_class"] is not None),
        )
        if value
    ]
    if len(chosen) > 1:
        raise OptionError(
            "Expected one of --alpha, --iid and --by-class. Received: "
            f"{' and '.join(chosen)}."
        )
    phones = given["phones"]
    if (given["participation"] or 1) > phones:
        raise OptionError(
            f"Expected --participation of at most {phones}, the phones that "
            f"there are. Received: {given['participation']}."
        )
    if given["phones_per_step"] is not None and "merged" not in modes:
        raise OptionError(
            "Expected --phones-per-step with --mode merged, whose steps are of "
            f"several phones. Received: {', '.join(modes)}. Say "
            "--participation for phones of a round."
        )
    engine = _engine(given, modes)
    output_file.check(given["plot"], (".png",), "--plot")
    output_file.check(given["json_file"], (".json",), "--json")
    if given["plot"]:
        from keras_split.evaluation.plot import require_plots

        require_plots()
    with working("Loading Keras and building the network"):
        load_keras()
        model, data, test, cut = _prepared(preset, given)
    from keras_split.federation.result import table

    results = [
        _simulated(model, cut, data, test, mode, given, engine)
        for mode in dict.fromkeys(modes)
    ]
    out.print(
        f"\n{preset}, {phones} phones, {len(data.y):,} images, "
        f"{counted(given['rounds'], 'round')}; accuracy on "
        f"{len(test[1]):,} others\n"
    )
    tell(table(results))
    if given["json_file"]:
        with output_file.draft(given["json_file"]) as path:
            text = json.dumps([r.get_config() for r in results], indent=1)
            path.write_text(text, "utf-8")
    if given["plot"]:
        from keras_split.federation.plot import plot

        with output_file.draft(given["plot"]) as path:
            plot(results, path)


def _engine(given: dict[str, Any], modes: Sequence[str]) -> Any:
    """Where phones train, if that can be."""
    if given["engine"] == "process":
        for option, key in (("--workers", "workers"), ("--ray", "ray_address")):
            if given[key] is not None:
                raise OptionError(
                    f"Expected --engine ray beside {option}. Received: "
                    "--engine process. Leave one of them out."
                )
        return "process"
    others = [mode for mode in modes if mode not in APART]
    if others:
        raise OptionError(
            f"Expected --mode {' or '.join(APART)} with --engine ray: in "
            "other modes a step needs the one before it. Received: "
            f"{', '.join(others)}. Compare those without --engine."
        )
    from keras_split.ray import RayEngine
    from keras_split.ray.runtime import require_ray

    require_ray()
    return RayEngine(given["ray_address"], given["workers"] or 0)


def _prepared(preset: str, given: dict[str, Any]) -> Any:
    """The network compiled, phones with their images, the test images, cut."""
    import keras

    from keras_split.federation import shards

    network = Network(
        preset=preset,
        cut=given["cut"],
        input_size=given["input_size"],
        classes=len(fashion_mnist.CLASS_NAMES),
        weights=None,
        batchnorm_momentum=0.9,  # Keras' own 0.999 is for long trainings
        seed=given["seed"],
        quantization=given["quantization"],
        codec=None,
    )
    client, _ = network.load()
    scale = scaling(client, preset, kept=False)
    model = network.build()
    model.compile(
        keras.optimizers.SGD(given["learning_rate"]),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    (x, y), test = (
        (datasets.to_model_input(images, network.input_shape, scale), labels)
        for images, labels in datasets.load(given["dataset"])
    )
    seed, phones = given["seed"], given["phones"]
    if given["iid"]:
        dealt = shards.iid(len(y), phones, seed=seed)
    elif given["by_class"]:
        dealt = shards.by_class(y, phones, classes=given["by_class"], seed=seed)
    else:
        dealt = shards.dirichlet(y, phones, given["alpha"] or 0.1, seed=seed)
    cut = zoo.get(preset).layers(given["cut"])
    return model, shards.Shards(x, y, dealt), test, cut


def _simulated(
    model: Any,
    cut: Any,
    data: Any,
    test: Any,
    mode: str,
    given: dict[str, Any],
    engine: Any,
) -> Any:
    from keras_split.federation.simulation import simulate as run

    merged = mode == "merged"
    with ProgressBar(mode, given["rounds"]) as bar:
        return run(
            model,
            cut,
            data,
            mode=mode,
            rounds=given["rounds"],
            participation=given["participation"]
            or max(1, given["phones"] // 10),
            batch=given["batch_size"],
            merged_batch=given["merged_batch"],
            phones_per_step=given["phones_per_step"] if merged else None,
            epochs=given["epochs"],
            validation_data=test,
            seed=given["seed"],
            quantization=given["quantization"],
            fused_batchnorm=True,
            engine=engine,
            on_round=lambda r: bar.advance(r.number - 1, {"loss": r.loss}),
        )
