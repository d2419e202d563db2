"""Many phones that train one model, in one process and without a network."""

import contextlib
import logging
import time
from collections.abc import Callable
from collections.abc import Mapping
from numbers import Integral
from numbers import Real
from typing import Any

import keras

from keras_split.aggregation.means import Mean
from keras_split.compression import codecs
from keras_split.compression import presets
from keras_split.errors import OptionError
from keras_split.federation import engines
from keras_split.federation.modes import APART
from keras_split.federation.modes import BASELINES
from keras_split.federation.modes import SIMULATED
from keras_split.federation.pair import Pair
from keras_split.federation.phone_turn import PhoneTrainer
from keras_split.federation.phone_turn import TurnTerms
from keras_split.federation.result import RoundResult
from keras_split.federation.result import SimulationResult
from keras_split.federation.shards import Shards
from keras_split.federation.simulated_rounds import SimulatedRounds
from keras_split.federation.simulated_steps import SimulatedSteps
from keras_split.federation.traffic import Traffic
from keras_split.federation.trainer_recipe import TrainerRecipe
from keras_split.models.join import join
from keras_split.training import optimizer_description
from keras_split.utils import keras_private

_LOG = logging.getLogger("keras_split")
_COUNTS = ("rounds", "batch", "merged_batch", "epochs", "validation_freq")
_FEWEST_SECURE = 3  # as a server: from so many on halves are masked


def simulate(
    model: keras.Model,
    cut: Any,
    shards: Any,
    *,
    mode: str = "merged",
    rounds: int = 10,
    participation: int | float | None = None,
    batch: int = 32,
    merged_batch: int | None = None,
    phones_per_step: int | None = None,
    epochs: int = 1,
    validation_data: tuple[Any, Any] | None = None,
    validation_freq: int = 1,
    batchnorm: str = "average",
    optimizer: Any = None,
    mean: Mean | str = "mean",
    poison: Mapping[int, float] | None = None,
    plain_aggregation: bool = False,
    seed: int = 0,
    name: str | None = None,
    engine: Any = "process",
    on_round: Callable[[RoundResult], None] | None = None,
    **compile_options: Any,
) -> SimulationResult:
    """Trains one model with many phones that are simulated.

    Steps, draws, means and the server's optimizer are those of a network. Who
    takes no part costs no memory: halves are one but for what a phone keeps
    to itself (slots of its optimizer, seeds), which is in a file.

    A round is comparable between modes: in each as many examples are trained
    on, on average, as the phones that take part have in `epochs`.

    Args:
        model: Compiled with optimizer, loss and metrics; stays as it is.
        cut: Two cuts, as in `keras_split.compile`.
        shards: `keras_split.federation.Shards`, or `(x, y)` of each phone.
        mode: One of `merged`, `private`, `shared`, `relay` and `personal`, as
            of a server; `"centralized"` for one phone with all the data, or
            `"fedavg"` for federated averaging of the whole model, which then
            lies on every phone.
        rounds: How many.
        participation: Phones of a round, or below 1 the share of them; None
            for all. In `merged` it says how many steps a round has; who gives
            to a step is drawn for each step.
        batch: Examples of a phone's step.
        merged_batch: Examples of a merged step, of all phones together, and
            of a step of `centralized`; by default `batch`.
        phones_per_step: At most so many phones give to a merged step; None
            for all.
        epochs: Over its examples that a phone trains in a round; a round of
            `merged` and `centralized` has as many examples.
        validation_data: `(x, y)`, scored after each round; None for the
            examples of all phones.
        validation_freq: Rounds from one scoring to the next; the last one is
            scored in any case.
        batchnorm: `"average"`, or `"local"` for batch normalization that each
            phone keeps to itself.
        optimizer: Keras optimizer of the average change, or its name, as in
            FedAvgM and FedAdam; None for the average as it is.
        mean: `"mean"`, `"median"`, `"trimmed-mean"` or a
            `keras_split.aggregation.means.Mean`.
        poison: What the changes of phones are multiplied by, by their number:
            `{0: -100.0}` for a first phone that lies.
        plain_aggregation: Whether bytes are counted without masks.
        seed: Of all draws.
        name: Of the result; the mode by default.
        engine: `"ray"`, or a `keras_split.ray.RayEngine`, to have the phones
            of `private` and `fedavg` train in many processes, on one machine
            or several; `"process"` for this one.
        on_round: Is told of each round when it is over.
        **compile_options: Of `keras_split.compile`: `quantization` and so on.

    Returns:
        Accuracy, loss and bytes by round, and the model.

    Raises:
        OptionError: If an argument cannot be, or does nothing in that mode.
        BackendError: If Ray is asked for, and is not installed.
        TransportError: If a cluster of Ray cannot be reached, or has no room.
        DataError: If the shards cannot be.
        CutError: If the model cannot be cut there.
    """
    shards = Shards.get(shards)
    count = _participants(participation, len(shards))
    mean = Mean(mean) if isinstance(mean, str) else mean
    given: dict[str, Any] = {
        "mode": mode,
        "phones": len(shards),
        "participation": count,
        "batch": batch,
        "merged_batch": merged_batch or batch,
        "phones_per_step": phones_per_step,
        "epochs": epochs,
        "batchnorm": batchnorm,
        "mean": mean.kind,
        "poison": dict(poison or {}),
        "seed": seed,
    }
    given["validation_freq"] = validation_freq
    _check(given, rounds, optimizer)
    spread = engines.get(engine)
    if spread is not None and mode not in APART:
        raise OptionError(
            f"Expected one of the modes {', '.join(APART)} for phones that "
            "train in many processes: in others a step needs the one before "
            f"it. Received: mode={mode!r} and engine={engine!r}. Leave engine "
            "out."
        )
    unsplit = mode in BASELINES
    if unsplit:
        compile_options["quantization"] = "float32"
        compile_options.pop("codec", None)
        compile_options.pop("bottleneck", None)
    pair = Pair.of(model, cut, batchnorm, **compile_options)
    coding = presets.get(compile_options.get("quantization", "int8"))
    given["quantization"] = coding.quantization.get_config()
    contract = pair.client.contract
    # In merged steps all phones average, whoever was drawn.
    at_once = len(shards) if mode == "merged" else count or len(shards)
    secure = not plain_aggregation and mean.plain and at_once >= _FEWEST_SECURE
    given["secure"] = secure and mode not in ("relay", "personal")
    traffic = Traffic(
        pair.client._half.cuts, codecs.get(contract.codec), secure
    )
    result = SimulationResult(name or mode, given)
    test = validation_data or (shards.x, shards.y)
    began, steps = time.perf_counter(), 0
    with contextlib.ExitStack() as stack:
        stack.callback(pair.close)
        crew = _crew(pair, shards, traffic, given, spread)
        if crew is not None:
            stack.callback(crew.close)
        runner = _runner(pair, shards, traffic, given, mean, optimizer, crew)
        stack.callback(runner.close)
        for number in range(rounds):
            pair.begin_logs()
            steps += runner.run(number)
            loss = runner.loss()
            last = number + 1 == rounds
            scored = last or (number + 1) % validation_freq == 0
            told = RoundResult(
                number + 1,
                runner.scores(*test) if scored else {},
                loss,
                traffic.uplink_bytes,
                traffic.downlink_bytes,
                steps,
                time.perf_counter() - began,
            )
            result.rounds.append(told)
            if on_round is not None:
                on_round(told)
    whole = None
    if mode != "personal":
        whole = join(pair.client, pair.server, anyway=True)
    return SimulationResult(result.name, given, result.rounds, whole)


def _runner(
    pair: Pair,
    shards: Shards,
    traffic: Traffic,
    given: dict[str, Any],
    mean: Mean,
    optimizer: Any,
    crew: engines.Crew | None,
) -> SimulatedRounds | SimulatedSteps:
    mode, participation = given["mode"], given["participation"]
    if mode in ("merged", "centralized"):
        if mode == "merged":
            _tell_of_batchnorm(pair)
        examples = sum(shards.examples) * given["epochs"]
        if participation is not None:
            examples = examples * participation // len(shards)
        return SimulatedSteps(
            pair,
            shards,
            traffic,
            steps=max(1, -(-examples // given["merged_batch"])),
            batch=given["merged_batch"],
            phones_per_step=given["phones_per_step"],
            seed=given["seed"],
            counted=mode == "merged",
        )
    described = ""
    if optimizer is not None:
        described = optimizer_description.describe(
            keras.optimizers.get(optimizer)
        )
    return SimulatedRounds(
        pair,
        shards,
        traffic,
        mode="private" if mode == "fedavg" else mode,
        participation=participation,
        terms=_terms(given),
        mean=mean,
        optimizer=described,
        poison=given["poison"],
        whole=mode == "fedavg",
        crew=crew,
    )


def _crew(
    pair: Pair,
    shards: Shards,
    traffic: Traffic,
    given: dict[str, Any],
    engine: engines.Engine | None,
) -> engines.Crew | None:
    """Who takes the turns of phones that do not wait for each other."""
    if given["mode"] not in APART:
        return None
    if engine is None:
        own = Traffic(traffic.cuts, traffic.codec)
        trainer = PhoneTrainer(pair, shards, _terms(given), own)
        return engines.OneProcess(trainer)
    recipe = TrainerRecipe.of(pair, given["batchnorm"], shards, _terms(given))
    tasks = given["participation"] or len(shards)
    return engine.open(recipe, tasks=tasks, shared_bytes=recipe.nbytes)


def _terms(given: dict[str, Any]) -> TurnTerms:
    counted = given["mode"] != "fedavg"
    return TurnTerms(given["batch"], given["epochs"], given["seed"], counted)


def _participants(participation: Any, phones: int) -> int | None:
    if participation is None:
        return None
    given = participation
    is_number = isinstance(participation, Real)
    if is_number and 0 < participation < 1:
        participation = max(1, round(float(participation) * phones))
    if isinstance(participation, bool) or participation not in range(
        1, phones + 1
    ):
        raise OptionError(
            f"Expected participation to be 1 to {phones} phones, or a share "
            f"above 0 and below 1. Received: {given!r}."
        )
    return int(participation)


def _check(given: dict[str, Any], rounds: int, optimizer: Any) -> None:
    mode = given["mode"]
    if mode not in SIMULATED:
        raise OptionError(
            f"Expected one of the modes {', '.join(SIMULATED)}. Received: "
            f"{mode!r}."
        )
    for key, value in (("rounds", rounds), *given.items()):
        if key in _COUNTS or (key == "phones_per_step" and value is not None):
            _check_count(key, value, 1)
    _check_count("seed", given["seed"], 0)
    for phone in given["poison"]:
        if phone not in range(given["phones"]):
            raise OptionError(
                "Expected poison by the number of a phone, 0 to "
                f"{given['phones'] - 1}. Received: {phone!r}, which is none."
            )
    averages = mode in ("private", "shared", "fedavg")
    for option, used in (
        ("optimizer", optimizer is not None),
        ("mean", given["mean"] != "mean"),
        ("poison", bool(given["poison"])),
    ):
        if used and not averages:
            raise OptionError(
                f"Expected {option} for phones that average changes of their "
                "halves: private, shared or fedavg. Received: mode="
                f"{mode!r}. Leave it out, or choose another mode."
            )
    if mode in ("merged", "centralized") and given["batchnorm"] == "local":
        raise OptionError(
            'Expected batchnorm="average" for one half that all phones have. '
            f'Received: batchnorm="local" and mode={mode!r}.'
        )
    if mode == "fedavg" and given["batchnorm"] == "local":
        raise OptionError(
            'Expected batchnorm="average" for fedavg, which averages the '
            'whole model. Received: "local".'
        )
    if mode != "merged" and given["phones_per_step"] is not None:
        raise OptionError(
            "Expected phones_per_step with mode='merged'. Received: mode="
            f"{mode!r}. Say participation for phones of a round."
        )


def _check_count(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and value >= least):
        raise OptionError(
            f"Expected {name} to be a whole number of {least} or more. "
            f"Received: {value!r}."
        )


def _tell_of_batchnorm(pair: Pair) -> None:
    """A phone's batch normalization is over its own rows on a network."""
    client = pair.client
    for part in (client.head, client.tail):
        for layer in keras_private.flatten_layers(part):
            if isinstance(layer, keras.layers.BatchNormalization):
                _LOG.warning(
                    "The phones' half has batch normalization (%s): a merged "
                    "step is simulated with statistics of the whole batch, "
                    "where each phone has those of its own examples. Cut "
                    "before it to have the numbers of a network.",
                    layer.name,
                )
                return
