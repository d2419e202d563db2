import json

import keras
import numpy as np
import pytest

import keras_split
from keras_split import audit
from keras_split.audit.page import page
from keras_split.audit.summary import notes
from keras_split.audit.summary import summary
from keras_split.audit.table import sections
from keras_split.errors import DataError
from keras_split.errors import OptionError
from tests import nets


class Told(audit.Attack):
    """Knows two labels a class, and guesses those of class 0 everywhere."""

    name = "told"
    paper = "None, 2026"
    knows = frozenset({"labels"})
    labels_per_class = 2

    def end(self, leaked, seconds):
        assert seconds > 0 and set(leaked.labels.values()) == {0, 1, 2}

    def guess(self, seen):
        return audit.Guess(labels=np.zeros(sum(map(len, seen)), int))


class Mean(audit.Attack):
    """Guesses the mean of the public inputs, and says what it computed."""

    name = "mean"
    steps = 10

    def begin(self, scene):
        self.mean = scene.public.x.mean(0)

    def spent(self):
        return audit.Spent(4, 0.5, 0.5)

    def guess(self, seen):
        count = sum(map(len, seen))
        return audit.Guess(inputs=np.repeat(self.mean[None], count, 0))


class Unfit(audit.Attack):
    name = "unfit"

    def guess(self, seen):
        raise DataError("Expected two classes. Received: 3.")


def halves(cut=("a", "b"), compiled=True, build=nets.dense):
    client, server = keras_split.compile(nets.built(build), cut=[*cut])
    if compiled:
        client.compile("sgd", "sparse_categorical_crossentropy")
    return client, server


@pytest.fixture(scope="module")
def both():
    """The halves, their weights before, the report and what was told."""
    client, server = halves()
    before = [nets.values_of(client), nets.values_of(server)]
    stages = []
    x, y = nets.vectors(48)
    report = audit.run(
        *(client, server, (x, y), (x + 0.1, y)),
        attacks=[Told, Mean, Unfit],
        compare={"noise": [keras_split.defenses.GaussianNoise(0.5)]},
        minutes=5,
        epochs=2,
        batch_size=8,
        words={"network": "dense <b>"},
        told=lambda *told: stages.append(told),
    )
    return client, server, before, report, stages


def test_the_halves_given_are_not_trained(both):
    client, server, before, report, _ = both
    assert [t.steps for t in report.trials] == [12, 12]
    for half, was in zip((client, server), before, strict=True):
        for one, other in zip(nets.values_of(half), was, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not client.strategy.connected


def test_a_finding_has_what_was_known_what_is_plain_and_the_budget(both):
    for trial in both[3].trials:
        told = trial.finding("told", "labels")
        assert told.knows == ("labels",) and told.paper == "None, 2026"
        # The six that it was told do not count: 14 of 42 are of class 0.
        assert told.measures["accuracy"] == pytest.approx(14 / 42)
        assert told.baselines["chance"]["accuracy"] == pytest.approx(1 / 3)
        assert "classifier of public data" in told.baselines
        mean = trial.finding("mean", "inputs")
        assert mean.measures["mse"] == mean.baselines["mean image"]["mse"]
        assert mean.budget.seen == 12 and mean.budget.public == 48
        assert (mean.budget.steps, mean.budget.planned) == (4, 10)
        assert set(trial.left_out) == {"unfit"}
        assert 0 <= trial.accuracy <= 1


def test_the_defense_to_compare_is_in_its_trial_alone_and_not_its_secret(both):
    plain, noisy = both[3].trials
    assert (plain.name, plain.defenses) == ("no defense", ())
    assert noisy.name == "noise"
    assert noisy.defenses[0]["config"]["stddev"] == 0.5
    assert "seed" not in json.dumps(noisy.defenses)


def test_a_report_is_the_same_after_json(both):
    report = both[3]
    text = report.to_json()
    again = audit.Report.from_json(text)
    assert again.to_json() == text
    assert again.trials == report.trials and again.setting == report.setting
    with pytest.raises(DataError, match="Expected a report of an audit"):
        audit.Report.from_json('{"format": "other"}')


def test_stages_are_told_and_the_share_of_the_time_grows(both):
    stages = both[4]
    names = [*dict.fromkeys(stage for stage, _, _ in stages)]
    assert names[0] == "Training a classifier on public data"
    assert "Training, noise; attacks listen" in names
    shares = [share for _, _, share in stages]
    assert shares == sorted(shares) and shares[-1] <= 1


def test_tables_have_a_column_of_each_trial_and_all_attacks(both):
    costs, labels, inputs, epsilons, budgets = sections(both[3])
    assert [line.name for line in costs.lines] == ["no defense", "noise"]
    assert labels.columns == ("no defense\nright", "noise\nright")
    assert [line.name for line in labels.lines] == [
        "told *",
        "chance",
        "classifier of public data",
    ]
    assert labels.lines[0].cells[0] == "33.3 %" and labels.lines[1].plain
    assert "* is given what a server should not have" in labels.words
    assert inputs.lines[0].name == "mean" and "*" not in inputs.words
    assert [line.name for line in budgets.lines] == ["told", "mean"]
    (line,) = epsilons.lines
    assert (line.name, line.cells) == ("noise", ("none",) * 3)


def test_what_was_cut_short_or_left_out_is_said(both):
    found = "\n".join(notes(both[3]))
    assert "unfit was not tried. Expected two classes" in found
    assert "mean 4 of 10 own steps" in found
    assert "cut short after" not in found
    assert "noise: Inputs have no epsilon. Expected a mechanism" in found
    # `told` was given labels: it is not what a server can do.
    assert not any(line.startswith("Labels") for line in summary(both[3]))


def test_the_page_needs_nothing_from_elsewhere_and_escapes_words(both):
    text = page(both[3])
    assert "dense &lt;b&gt;" in text and "<b>" not in text
    assert "http" not in text and "<script" not in text
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")


def test_a_mechanism_has_the_epsilon_of_the_epochs_that_were_trained():
    x, y = nets.vectors(48)
    mechanism = keras_split.defenses.GaussianMechanism(1.0, 8.0)
    client, server = keras_split.compile(
        nets.dense(), ["a", "b"], defenses=[mechanism]
    )
    client.compile("sgd", "sparse_categorical_crossentropy")

    report = audit.run(
        *(client, server, (x, y), (x, y)), attacks=[], epochs=2, batch_size=8
    )

    (trial,) = report.trials
    inputs, labels, _ = trial.epsilons
    wanted = keras_split.defenses.Accountant(client, "inputs").epsilon(2)
    assert (inputs.epochs, inputs.value) == (2, wanted)
    assert labels.value is None and "features' gradients" in labels.refused
    again = audit.Report.from_json(report.to_json())
    assert again.trials == report.trials
    table = next(s for s in sections(report) if s.title.startswith("Epsilon"))
    assert table.columns == ("inputs", "labels", "examples")
    assert table.lines[0].cells == (f"{wanted:.3g}", "none", "none")
    assert "after 2 epochs" in table.words


def test_a_training_that_is_cut_short_says_so():
    x, y = nets.vectors(48)
    report = audit.run(
        *(*halves(), (x, y), (x, y)),
        attacks=[Mean],
        minutes=1e-6,  # of which a second is left, whatever comes before
        epochs=5_000,
        batch_size=8,
    )
    (trial,) = report.trials
    assert trial.name == "as it is"
    assert trial.steps < trial.planned == 30_000
    said = f"cut short after {trial.steps:,} of 30,000 steps"
    assert said in notes(report)[0]


@pytest.mark.slow
def test_one_hot_labels_and_their_loss_train_as_class_numbers_do():
    x, y = nets.vectors(48)
    accuracies = []
    for loss, labels in (
        ("sparse_categorical_crossentropy", y),
        (keras.losses.CategoricalCrossentropy(), np.eye(3)[y]),
    ):
        client, server = halves(compiled=False)
        client.compile(keras.optimizers.SGD(0.5), loss)
        report = audit.run(
            *(client, server, (x, labels), (x, labels)),
            attacks=[],
            epochs=3,
            batch_size=8,
        )
        accuracies.append(report.trials[0].accuracy)
    assert accuracies[0] == accuracies[1] > 0.4


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"data": nets.vectors(4)}, DataError, "8 examples or more in data"),
        ({"data": nets.images()}, DataError, r"shape \(examples, 4\)"),
        (
            {"public": (nets.vectors()[0], nets.vectors()[1] + 1)},
            DataError,
            "from 0 to 2 in public",
        ),
        (
            {"data": (nets.vectors()[0], np.full(26, 0.5))},
            DataError,
            "class numbers",
        ),
        (
            {"public": (nets.vectors()[0] * np.nan, nets.vectors()[1])},
            DataError,
            "finite inputs in public",
        ),
        ({"minutes": 0}, OptionError, "minutes above 0"),
        ({"client": halves(compiled=False)[0]}, OptionError, "not compiled"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_step(wrong, error, words):
    client, server = halves()
    given = {
        "client": client,
        "server": server,
        "data": nets.vectors(),
        "public": nets.vectors(),
        "attacks": [Mean],
        "batch_size": 8,
    }
    with pytest.raises(error, match=words):
        audit.run(**given | wrong)


def test_one_cut_several_inputs_and_other_outputs_are_refused():
    client, server = halves(cut=("a",))
    with pytest.raises(OptionError, match="sent the labels, no attack needed"):
        audit.run(client, server, nets.vectors(), nets.vectors())
    client, server = halves(("a", "b"), False, nets.two_by_two)
    with pytest.raises(OptionError, match="2 inputs and 2 outputs"):
        audit.run(client, server, nets.vectors(), nets.vectors())
    client, server = halves(("down2", "deep"), False, nets.unet)
    with pytest.raises(OptionError, match="tells classes apart"):
        audit.run(client, server, nets.vectors(), nets.vectors())
