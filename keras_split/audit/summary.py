"""What a report comes to, in sentences."""

from keras_split.audit.alarms import HONEST
from keras_split.audit.finding import INPUTS
from keras_split.audit.finding import LABELS
from keras_split.audit.finding import Finding
from keras_split.audit.finding import Trial
from keras_split.audit.report import Report
from keras_split.defenses.epsilon import sentences

CAUTION = (
    "These are what these attacks got in the time that they had. A server with "
    "more time, more data or a better attack gets more; what is not found here "
    "is not proven to be safe."
)


def summary(report: Report) -> list[str]:
    """What a server found out that was given nothing, in sentences."""
    first, *others = report.trials
    found = []
    labels, inputs = best(first, LABELS), best(first, INPUTS)
    if labels is not None:
        plain = ", ".join(
            f"{name} {100 * value['accuracy']:.0f} %"
            for name, value in labels.baselines.items()
        )
        found.append(
            f"Labels: {labels.attack} reads "
            f"{100 * labels.measures['accuracy']:.1f} % of them ({plain})."
        )
    if inputs is not None and "ssim" in inputs.measures:
        plain = ", ".join(
            f"{name} {value['ssim']:.2f}"
            for name, value in inputs.baselines.items()
        )
        found.append(
            f"Inputs: {inputs.attack} reconstructs them with an SSIM of "
            f"{inputs.measures['ssim']:.2f} ({plain}; 1 is the original)."
        )
    elif inputs is not None:
        plain = ", ".join(
            f"{name} {value['mse']:.4f}"
            for name, value in inputs.baselines.items()
        )
        found.append(
            f"Inputs: {inputs.attack} reconstructs them with a squared error "
            f"of {inputs.measures['mse']:.4f} ({plain})."
        )
    found += _drill(first)
    for trial in others:
        parts = []
        labels, inputs = best(trial, LABELS), best(trial, INPUTS)
        if labels is not None:
            parts.append(f"{100 * labels.measures['accuracy']:.1f} % of labels")
        if inputs is not None and "ssim" in inputs.measures:
            parts.append(f"an SSIM of {inputs.measures['ssim']:.2f}")
        change = 100 * (trial.accuracy - first.accuracy)
        found.append(
            f"With {trial.name}: {', '.join(parts) or 'nothing was measured'}; "
            f"accuracy {100 * trial.accuracy:.1f} %, {change:+.1f} points."
        )
        found += [f"With {trial.name}: {line}" for line in _drill(trial)]
    return found


def _drill(trial: Trial) -> list[str]:
    """What a server gets that lies, and whether phones told it."""
    found = []
    lying = next((f for f in trial.findings if f.lies), None)
    if lying is not None:
        name = "ssim" if "ssim" in lying.measures else "mse"
        words = {"ssim": "an SSIM", "mse": "a squared error"}[name]
        plain = ", ".join(
            f"{other} {value[name]:.2f}"
            for other, value in lying.baselines.items()
        )
        found.append(
            f"A server that hijacks this phone ({lying.attack}) reconstructs "
            f"inputs with {words} of {lying.measures[name]:.2f} after "
            f"{lying.budget.seen:,} steps ({plain})."
        )
    alarms = trial.alarms
    if alarms is None:
        return found
    if alarms.refused:
        found.append(f"A phone cannot tell it here. {alarms.refused}")
    elif alarms.true_rate is not None and alarms.false_rate is not None:
        steps = [e.told for e in alarms.hijacked if e.told is not None]
        last = (
            f", by step {max(steps)}, {100 * max(steps) / alarms.epoch:.1f} % "
            "of an epoch"
            if steps
            else ""
        )
        found.append(
            f"HijackDetector on the phone told {100 * alarms.true_rate:.0f} % "
            f"of {len(alarms.hijacked)} hijackers{last}, and took "
            f"{100 * alarms.false_rate:.0f} % of {len(alarms.of(HONEST))} "
            "honest servers for one."
        )
    return found


def notes(report: Report) -> list[str]:
    """What was cut short or left out."""
    found = []
    for trial in report.trials:
        of = f"{trial.name}: " if len(report.trials) > 1 else ""
        if trial.steps < trial.planned:
            found.append(
                f"{of}the training was cut short after "
                f"{trial.steps:,} of {trial.planned:,} steps. Give it more "
                "minutes."
            )
        if trial.epsilons:
            found += [
                f"{of}{line}"
                for line in sentences(trial.epsilons)
                if not line.startswith("Epsilon")
            ]
        found += [
            f"{of}{attack} was not tried. {why}"
            for attack, why in trial.left_out.items()
        ]
    short = {
        f.attack: f"{f.budget.steps:,} of {f.budget.planned:,}"
        for t in report.trials
        for f in t.findings
        if f.budget.steps < f.budget.planned
    }
    if short:
        steps = "; ".join(f"{name} {words}" for name, words in short.items())
        found.append(
            "Attacks were cut short, so they got less than they could: "
            f"{steps} own steps."
        )
    return found


def best(trial: Trial, of: str) -> Finding | None:
    """The attack that got most with nothing that a server should not have."""
    findings = [
        f for f in trial.findings if f.of == of and not f.knows and not f.lies
    ]

    def got(finding: Finding) -> float:
        measures = finding.measures
        if of == LABELS:
            return measures["accuracy"]
        return measures.get("ssim", -measures["mse"])

    return max(findings, key=got, default=None)
