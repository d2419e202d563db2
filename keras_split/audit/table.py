"""The figures of a report as rows of text, for whatever shows them."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from keras_split.audit.alarms import HONEST
from keras_split.audit.alarms import WATCHED
from keras_split.audit.alarms import Alarms
from keras_split.audit.finding import INPUTS
from keras_split.audit.finding import LABELS
from keras_split.audit.finding import Finding
from keras_split.audit.finding import Trial
from keras_split.audit.report import Report
from keras_split.audit.score import defense_score
from keras_split.audit.score import overall_score
from keras_split.utils.counted import counted

# Measures that stand for a kind where there is room for few, then the others.
_MEASURES = {
    INPUTS: {"ssim": "SSIM", "match": "match", "psnr": "PSNR", "mse": "MSE"},
    LABELS: {"accuracy": "right", "balanced": "balanced"},
}
_FEW = {INPUTS: 2, LABELS: 1}
TITLES = {
    INPUTS: "Inputs, reconstructed from smashed data",
    LABELS: "Labels, read off what crosses",
}
WORDS = {
    INPUTS: {
        "ssim": "SSIM: how alike, 1 is the original.",
        "match": "match: how many are nearer to their original than to any "
        "other example.",
        "psnr": "",
        "mse": "MSE: of images with values from 0 to 1.",
    },
    LABELS: {
        "accuracy": "right: how many labels.",
        "balanced": "balanced: the mean over the classes.",
    },
}
_STAR = (
    "* is given what a server should not have: a few labels, or the phone's "
    "head."
)
_LIES = "lying: its gradients are not those of the loss; see the drill."


@dataclass(frozen=True)
class Line:
    """A row.

    Attributes:
        name: Its first cell.
        cells: The others.
        plain: Whether it is what needs no attack.
    """

    name: str
    cells: tuple[str, ...]
    plain: bool = False


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        title: Above it.
        columns: Names of its cells; a trial's name and a measure's are on
            lines of their own.
        lines: Its rows.
        words: What the columns mean.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    words: str = ""


def sections(report: Report) -> list[Section]:
    """All tables of a report."""
    found = [_kind(report.trials, of) for of in (LABELS, INPUTS)]
    made = [_costs(report.trials), *(s for s in found if s.lines)]
    others = (_alarms(report.trials), _epsilons(report.trials))
    made += [section for section in others if section.lines]
    return [*made, _budgets(report.trials)]


def _costs(trials: Sequence[Trial]) -> Section:
    """What each trial is: accuracy, and the scores of a defense."""
    first = trials[0]
    if len(trials) == 1:
        line = Line("accuracy", (f"{100 * first.accuracy:.1f} %",))
        return Section("What the model can do", ("",), (line,))
    kinds = [of for of in (LABELS, INPUTS) if _scores(first, of, first)]
    lines = []
    for trial in trials:
        scores = {of: _scores(trial, of, first) for of in kinds}
        change = f" ({100 * (trial.accuracy - first.accuracy):+.1f})"
        cells = [
            f"{100 * trial.accuracy:.1f} %{change * (trial is not first)}",
            *(f"{overall_score({of: scores[of]}):.3f}" for of in kinds),
        ]
        if len(kinds) > 1:
            cells.append(f"{overall_score(scores):.3f}")
        lines.append(Line(trial.name, tuple(cells)))
    columns = ["accuracy", *(f"DCS,\n{of}" for of in kinds)]
    return Section(
        "What the model can do, and how good its defense is",
        tuple([*columns, "DCS"] if len(kinds) > 1 else columns),
        tuple(lines),
        "DCS, the Defense Capability Score of VFLAIR: 1 is a defense that "
        "stops all and costs nothing; 0.586 is none against attacks that get "
        "everything. Of the attacks without a star that do not lie.",
    )


def _scores(trial: Trial, of: str, plain: Trial) -> list[float]:
    """Of a trial beside the one without a defense, one for each attack."""
    return [
        defense_score(value, trial.accuracy, plain.accuracy)
        for finding in trial.findings
        if finding.of == of and (value := _score_of(finding)) is not None
    ]


def _score_of(finding: Finding) -> float | None:
    """What the score is computed of; None for what a server cannot do."""
    if finding.knows or finding.lies:
        return None
    name = {INPUTS: "ssim", LABELS: "accuracy"}.get(finding.of)
    return finding.measures.get(name) if name else None


def _kind(trials: Sequence[Trial], of: str) -> Section:
    names = _MEASURES[of]
    findings = [f for t in trials for f in t.findings if f.of == of]
    names = {
        k: v for k, v in names.items() if any(k in f.measures for f in findings)
    }
    if len(trials) > 1:
        names = dict([*names.items()][: _FEW[of]])
    attacks = dict.fromkeys(f.attack for f in findings)
    lines = [
        Line(
            _attack_name(attack, findings),
            tuple(
                _number(name, trial.measures(attack, of))
                for trial in trials
                for name in names
            ),
        )
        for attack in attacks
    ]
    plain = dict.fromkeys(n for f in findings for n in f.baselines)
    for baseline in plain:
        cells: list[str] = []
        for trial in trials:
            of_trial = [
                f.baselines.get(baseline) for f in trial.findings if f.of == of
            ]
            best = _best(filter(None, of_trial))
            cells += [_number(name, best) for name in names]
        lines.append(Line(baseline, tuple(cells), plain=True))
    columns = [
        f"{trial.name}\n{shown}" if len(trials) > 1 else shown
        for trial in trials
        for shown in names.values()
    ]
    words = " ".join(WORDS[of][n] for n in names if WORDS[of][n])
    if any(line.name.endswith("*") for line in lines):
        words += f" {_STAR}"
    if any(f.lies for f in findings):
        words += f" {_LIES}"
    return Section(TITLES[of], tuple(columns), tuple(lines), words)


def _best(found: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of the same baseline beside several attacks the one that gets most."""
    best: dict[str, float] = {}
    for one in found:
        for name, value in one.items():
            pick = min if name == "mse" else max
            best[name] = pick(best.get(name, value), value)
    return best


def _attack_name(attack: str, findings: Sequence[Finding]) -> str:
    finding = next(f for f in findings if f.attack == attack)
    return attack + " *" * bool(finding.knows) + ", lying" * finding.lies


def _number(name: str, measures: Mapping[str, float] | None) -> str:
    if not measures or name not in measures:
        return ""
    value = measures[name]
    if name in ("match", "accuracy", "balanced"):
        return f"{100 * value:.1f} %"
    return {"ssim": f"{value:.2f}", "psnr": f"{value:.1f} dB"}.get(
        name, f"{value:.4f}"
    )


def _alarms(trials: Sequence[Trial]) -> Section:
    """Which servers phones with a detector told, and when."""
    tried = [t for t in trials if t.alarms is not None and t.alarms.encounters]
    servers = dict.fromkeys(s for t in tried for s in _tried(t).servers)
    several = len(trials) > 1
    titles = ["told", "after step"]
    if not several:
        titles.append("of an\nepoch")
        seen = (e.ssim for t in tried for e in _tried(t).encounters)
        if any(ssim is not None for ssim in seen):
            titles.append("SSIM\nby then")
    lines = []
    for server in sorted(servers, key=lambda name: name == HONEST):
        cells: list[str] = []
        for trial in tried:
            cells += _told(_tried(trial), server)[: len(titles)]
        lines.append(Line(server, tuple(cells), plain=server == HONEST))
    columns = [
        f"{trial.name}\n{shown}" if several else shown
        for trial in tried
        for shown in titles
    ]
    return Section(
        "The drill: does a phone tell a server that lies?",
        tuple(columns),
        tuple(lines),
        f"HijackDetector over the first {WATCHED} steps, each run with chance "
        "of its own; told: how many runs it stopped. Few runs: a rate is no "
        "better known than they allow.",
    )


def _epsilons(trials: Sequence[Trial]) -> Section:
    """What differential privacy says, of trials with a defense."""
    tried = [trial for trial in trials if trial.epsilons]
    lines = [
        Line(
            trial.name,
            tuple(
                "none" if one.value is None else f"{one.value:.3g}"
                for one in trial.epsilons
            ),
        )
        for trial in tried
    ]
    columns: tuple[str, ...] = ()
    words = ""
    if tried:
        found = tried[0].epsilons
        columns = tuple(one.secret for one in found)
        words = (
            f"At delta {found[0].delta:g}, after "
            f"{counted(found[0].epochs, 'epoch')}: a bound for any attack on "
            "an example's own rows, and on nothing else. none: no mechanism "
            "that has one."
        )
    return Section("Epsilon of the training", columns, tuple(lines), words)


def _tried(trial: Trial) -> Alarms:
    assert trial.alarms is not None
    return trial.alarms


def _told(alarms: Alarms, server: str) -> list[str]:
    """How often, when, in which part of an epoch, and what is read by then."""
    met = alarms.of(server)
    steps = [e.told for e in met if e.told is not None]
    read = [e.ssim for e in met if e.told is not None and e.ssim is not None]
    count = f"{len(steps)} of {len(met)}" if met else ""
    if not steps:
        return [count, "", "", ""]
    shares = [100 * step / alarms.epoch for step in steps]
    return [
        count,
        _range(steps, "d"),
        f"{_range(shares, '.1f')} %",
        _range(read, ".2f") if read else "",
    ]


def _range(values: Sequence[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low} to {high}"


def _budgets(trials: Sequence[Trial]) -> Section:
    """What the attacks had."""
    lines: dict[str, Line] = {}
    for trial in trials:
        for finding in trial.findings:
            budget = finding.budget
            lines.setdefault(
                finding.attack,
                Line(
                    finding.attack,
                    (
                        f"{budget.seen:,}",
                        f"{budget.steps:,}" if budget.steps else "",
                        f"{budget.seconds:.0f}",
                        f"{budget.cpu_seconds:.0f}",
                    ),
                ),
            )
    return Section(
        "What the attacks had",
        ("steps\nseen", "own\nsteps", "seconds", "CPU\nseconds"),
        tuple(lines.values()),
        "Whoever has more time or more data gets more.",
    )
