"""The cut that a plan chooses, beside the best of many that were trained.

    python benchmarks/planned_choice.py --prepare      # needs no quiet machine
    python benchmarks/planned_choice.py [--networks ...] [--top 6] [--random 3]
    python benchmarks/planned_choice.py --again 3
    python benchmarks/planned_choice.py --table --write

For each network, and for time, bytes and the phone's memory. Trained are the
cuts that the plan has first for each of the three, those of the zoo, and some
drawn by chance from all legal pairs; with --top 100 all that are worth a
thought. One that was measured once may be the fastest by luck. So with --again,
where the chosen cut was not the fastest, it and the five fastest are measured
some times more, in turns, and count with their medians. How it is measured,
and what with, is said in planned_steps.py.
"""

import json
import os
import random
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from _planned import CLASSES
from _planned import Case
from _planned import Prepared
from _planned import build
from _report import Report
from _report import machine
from _report import write_option
from planned_steps import known
from planned_steps import options_of
from planned_steps import percent
from planned_steps import profiles
from planned_steps import run
from planned_steps import table

import keras_split
from keras_split import zoo
from keras_split.errors import CutError
from keras_split.planner import Candidates
from keras_split.planner import Plan
from keras_split.planner import Profile

RESULTS = Path(__file__).with_suffix(".jsonl")
LINK = "20M/30ms"
# What is least for the best, in a row's sides.
COSTS = {"time": "steps", "bytes": "bytes", "phone": "peak_bytes"}
FASTEST = 5
NETWORKS = ("mobilenet_v2", "resnet50", "unet")


def facts(network: str, options: Any) -> tuple[Candidates, Candidates]:
    """The cuts worth a thought, and some that are just legal."""
    stem = f"{network}-{options.size}-{options.random}"
    path = options.files / f"{stem}.candidates.json"
    if not path.exists():
        from keras_split.planner.search import candidates_of
        from keras_split.planner.search import facts_of

        options.files.mkdir(parents=True, exist_ok=True)
        model = build(network, options.size)
        shape = (options.size, options.size, 3)
        found = (
            candidates_of(model)
            if network == "unet"
            else zoo.get(network).candidates(shape, CLASSES)
        )
        drawn = facts_of(model, legal(model, options.random))
        sides = [found.get_config(), drawn.get_config()]
        path.write_text(json.dumps(sides), "utf-8")
    found, drawn = map(Candidates.from_config, json.loads(path.read_text()))
    return found, drawn


def legal(model: Any, count: int) -> dict[str, Any]:
    """Cuts drawn by chance from the legal pairs, with weights at both ends."""
    from keras_split.partition import Partition
    from keras_split.planner.closed_sets import closed_sets
    from keras_split.planner.net import Net
    from keras_split.planner.net import Pair

    net, chance = Net(model), random.Random(0)
    sets = closed_sets(net.parents)
    found: dict[str, Any] = {}
    for _ in range(10_000):
        head, ahead = sorted(chance.sample(sets, 2), key=int.bit_count)
        if len(found) == count or head & ~ahead:
            continue
        cut = [list(names) for names in net.cut(Pair(head, ahead))]
        try:
            parts = Partition(model, cut)
        except CutError:
            continue
        if all(
            part is not None and part.model.trainable_variables
            for part in (parts.head, parts.body, parts.tail)
        ):
            found[f"drawn {len(found) + 1}"] = cut
    return found


def plans(found: Candidates, phone: Profile, server: Profile) -> Any:
    """A plan for each goal."""
    return {
        goal: keras_split.plan(
            found,
            phone=phone,
            server=server,
            link=LINK,
            optimize=goal,
            batch_size=8,
            microbatches=1,
        )
        for goal in COSTS
    }


def case(network: str, size: int, cut: Any) -> Case:
    """A cut of a plan."""
    first, second = ("+".join(names) for names in cut.cut)
    return Case(network, size, first, second, 8)


def cases(network: str, options: Any, made: Any, drawn: Any) -> list[Case]:
    """What is trained."""
    chosen = [
        scored.candidate
        for plan in made.values()
        for scored in plan.cuts[: options.top]
    ]
    every = (*made["time"].cuts, *made["time"].beyond)
    chosen += [
        cut.candidate
        for cut in every
        if cut.candidate.name and not cut.candidate.labels_on_server
    ]
    chosen += drawn.cuts
    found = [case(network, options.size, cut) for cut in chosen]
    return list(dict.fromkeys(found))


def cost(row: Any, goal: str) -> float:
    """What was measured; of several times the median."""
    value = row["measured"][COSTS[goal]]
    if goal == "time":
        return statistics.median([value[LINK], *row.get("again", ())])
    return float(value)


def contenders(network: str, plan: Plan, runs: dict[Case, Any]) -> list[Case]:
    """The chosen cut and the fastest, if it is not the fastest."""
    rows = {c: row for c, row in runs.items() if c.network == network}
    fastest = sorted(rows, key=lambda c: rows[c]["measured"]["steps"][LINK])
    own = case(network, fastest[0].size, plan.best.candidate)
    return [] if own == fastest[0] else [own, *fastest[:FASTEST]]


def again(chosen: list[Case], options: Any, runs: dict[Case, Any]) -> None:
    """Measures some cuts in turns, and writes all results anew."""
    for _ in range(options.again):
        for one in dict.fromkeys(chosen):
            print(f"{one.network} {one.label} again", flush=True)
            made = Prepared(one, options.files).measure([LINK], options.steps)
            runs[one].setdefault("again", []).append(made["steps"][LINK])
    lines = (
        json.dumps({name: of for name, of in row.items() if name != "rows"})
        + "\n"
        for row in runs.values()
    )
    options.results.write_text("".join(lines), "utf-8")


def shown(value: float, goal: str) -> str:
    """A cost, as a cell."""
    if goal == "time":
        return f"{1e3 * value:.0f} ms"
    return f"{value / 1e6:.0f} MB" if goal == "phone" else f"{value:,.0f}"


def tell(
    runs: dict[Case, Any], made: dict[str, dict[str, Plan]], report: Report
) -> None:
    """The choices, and all that was trained."""
    report.header(
        *("network", "least", "cuts:", "trained:", "chosen", "costs:"),
        *("best that was trained", "costs:", "more:"),
    )
    for network, by_goal in made.items():
        rows = {c: row for c, row in runs.items() if c.network == network}
        if not rows:
            continue
        size = next(iter(rows)).size
        for goal, plan in by_goal.items():
            own = case(network, size, plan.best.candidate)
            best = min(rows, key=lambda c, g=goal, r=rows: cost(r[c], g))
            least = cost(rows[best], goal)
            cells = ["not trained", "?"]
            if own in rows:
                costs = cost(rows[own], goal)
                cells = [shown(costs, goal), percent(costs / least - 1)]
            report.row(
                *(network, goal, str(len(plan.cuts)), str(len(rows))),
                *(own.label, cells[0], best.label),
                *(shown(least, goal), cells[1]),
            )
    report.end()
    table(runs, [LINK], report)


def _said_again(runs: dict[Case, Any]) -> str:
    counts = [len(row["again"]) for row in runs.values() if "again" in row]
    if not counts:
        return ""
    return (
        " Where the chosen cut was not the fastest, it and the "
        f"{FASTEST} fastest ran {max(counts)} times more in turns: medians."
    )


def main() -> None:
    """Makes the runs that are not there, and reports all."""
    parser = options_of(__doc__, RESULTS)
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--top", type=int, default=6, help="Of each goal.")
    parser.add_argument("--random", type=int, default=3, help="Legal pairs.")
    parser.add_argument("--again", type=int, default=0, help="In turns.")
    write_option(parser)
    options = parser.parse_args()
    runs = known(options.results)
    options.files.mkdir(parents=True, exist_ok=True)
    measured = (options.files / "server.json").exists()
    if options.prepare and not measured:  # it is known later how fast it is
        machines = Profile.load("epyc-core"), Profile.load("epyc-server")
    else:
        machines = profiles(options.files, options.seconds)
    made = {}
    for network in options.networks:
        found, drawn = facts(network, options)
        made[network] = plans(found, *machines)
        if not options.table:
            chosen = cases(network, options, made[network], drawn)
            run(chosen, options, runs, [LINK])
        if options.again:
            chosen = contenders(network, made[network]["time"], runs)
            again(chosen, options, runs)
    if options.prepare:
        return
    if not runs:
        raise SystemExit("No runs yet: leave --table out.")
    report = Report("planned-choice", write=options.write)
    report.say(
        f"{machine()}; {options.size}x{options.size} images, batch 8, int8, "
        f"one microbatch, {LINK}; trained as in the table above: the first "
        f"{options.top} cuts of the plan for each of the three, those of the "
        f"zoo, and {options.random} drawn from all legal pairs."
        + _said_again(runs)
    )
    tell(runs, made, report)
    report.close()


if __name__ == "__main__":
    main()
