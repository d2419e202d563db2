import dataclasses
import itertools

import keras
import numpy as np
import pytest

import keras_split
from keras_split import audit
from keras_split.audit.alarms import HONEST
from keras_split.audit.alarms import WATCHED
from keras_split.audit.drill import Drill
from keras_split.audit.example import example_network
from keras_split.audit.page import page
from keras_split.audit.summary import notes
from keras_split.audit.summary import summary
from keras_split.audit.table import sections
from keras_split.datasets import fashion_mnist
from keras_split.errors import OptionError
from tests import nets

DATA = audit.Examples(*nets.vectors(240))


def halves(quantization="float32", frozen=False):
    model = nets.built(nets.dense)
    model.get_layer("a").trainable = not frozen
    client, server = keras_split.compile(
        model, ["a", "b"], quantization=quantization
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    return client, server


def drill(*args, told=lambda *_: None, **kwargs):
    client, server = halves(*args, **kwargs)
    return Drill(
        *(client, server, client.defenses, DATA, DATA),
        classes=3,
        batch_size=8,
        seed=0,
        told=told,
    )


MET = (
    audit.Encounter("FSHA", 6, 6, (("after", 0.1), ("after", 0.2))),
    audit.Encounter(HONEST, WATCHED, None, (("after", 1.0),)),
)


@pytest.fixture(scope="module")
def report():
    """Of a hijack as it is, and of phones that are made up."""
    client, server = halves()
    before = nets.values_of(client) + nets.values_of(server)
    with pytest.MonkeyPatch.context() as patch:
        found = audit.Alarms(MET, 30)
        patch.setattr(Drill, "watch", lambda self, seconds: found)
        made = audit.run(
            *(client, server, DATA, DATA),
            attacks=[],
            minutes=1e-3,
            epochs=2,
            batch_size=8,
            drill=True,
        )
    after = nets.values_of(client) + nets.values_of(server)
    assert nets.largest_difference(before, after) == 0
    return made


@pytest.mark.slow
def test_a_hijacker_is_told_and_an_honest_server_is_not():
    alarms = drill().watch(0.0)

    hijacker, honest = alarms.encounters
    assert (hijacker.server, honest.server) == ("FSHA", HONEST)
    assert hijacker.told == hijacker.steps <= 30 < WATCHED
    assert honest.told is None and honest.steps == WATCHED
    assert min(value for _, value in honest.agreements) > 0.9
    assert alarms.epoch == 30
    assert (alarms.true_rate, alarms.false_rate) == (1, 0)


def test_what_it_reads_is_a_finding_of_its_own_and_no_curious_servers(report):
    found = report.trials[0].finding("FSHA", "inputs")

    assert found.lies and not found.knows
    assert found.budget.seen == found.budget.steps < found.budget.planned == 600
    assert found.baselines["mean image"]["mse"] > 0
    assert not any(line.startswith("Inputs") for line in summary(report))


def test_a_report_shows_it_and_keeps_it(report):
    again = audit.Report.from_json(report.to_json())
    assert again.trials == report.trials
    assert again.trials[0].alarms == audit.Alarms(MET, 30)

    shown = {section.title: section for section in sections(report)}
    table = shown["The drill: does a phone tell a server that lies?"]
    assert [line.name for line in table.lines] == ["FSHA", HONEST]
    assert table.lines[0].cells[0] == "1 of 1"
    assert table.lines[1].cells == ("0 of 1", "", "")
    assert table.lines[1].plain
    inputs = shown["Inputs, reconstructed from smashed data"]
    assert inputs.lines[0].name == "FSHA, lying"
    assert "the drill" in inputs.words
    text = "\n".join(summary(report))
    assert "told 100 % of 1 hijackers, by step" in text
    assert "took 0 % of 1 honest servers for one" in text
    assert "FSHA, lying" in page(report) and "CCS 2021" in page(report)
    assert "of 600" in notes(report)[-1]


def test_the_last_steps_are_those_that_are_to_be_read():
    said = []
    one = drill(told=lambda stage, detail: said.append(detail))

    taken = one.hijack(audit.Examples(DATA.x[:20], DATA.y[:20]), 5, 0.0)

    assert taken.steps == taken.spent.steps == 5
    assert taken.guess.inputs.shape == (16, 4)
    assert [s.split(",")[0] for s in said] == [
        f"step {n} of 5" for n in "12345"
    ]


def test_more_time_is_more_encounters_with_smaller_parts_of_it(monkeypatch):
    one = drill()
    clock = itertools.count()
    monkeypatch.setattr(
        "keras_split.audit.drill.time.perf_counter", lambda: float(next(clock))
    )
    monkeypatch.setattr(
        one,
        "_encounter",
        lambda server, seed: audit.Encounter(server, seed, None),
    )

    found = one.watch(8.0)

    servers = [e.server for e in found.encounters]
    assert servers == [
        *("FSHA", HONEST, "FSHA by a half"),
        *(HONEST, "FSHA by a quarter", HONEST),
    ]
    assert [e.steps for e in found.encounters] == list(range(6))


def test_two_trials_have_columns_of_their_own(report):
    plain = report.trials[0]
    met = (
        audit.Encounter("FSHA", 8, 8),
        audit.Encounter(HONEST, WATCHED, None),
    )
    noisy = dataclasses.replace(
        plain, name="noise", alarms=audit.Alarms(met, 4)
    )
    coarse = dataclasses.replace(
        plain, name="int2", alarms=audit.Alarms((), 4, "Expected 4 bits.")
    )

    both = audit.Report(report.setting, (plain, noisy, coarse))

    table = next(s for s in sections(both) if "drill" in s.title)
    assert table.columns[2:] == ("noise\ntold", "noise\nafter step")
    assert table.lines[0].cells[2:] == ("1 of 1", "8")
    text = "\n".join(summary(both))
    assert "With noise: HijackDetector on the phone told 100 %" in text
    assert "by step 8, 200.0 % of an epoch" in text
    assert "With int2: A phone cannot tell it here. Expected 4 bits." in text


def test_what_is_read_of_images_by_then_is_in_the_table(report):
    met = (audit.Encounter("FSHA", 8, 8, ssim=0.2), *MET[1:])
    met += (audit.Encounter("FSHA", 5, 5, ssim=0.1),)
    trial = dataclasses.replace(report.trials[0], alarms=audit.Alarms(met, 40))

    shown = sections(audit.Report(report.setting, (trial,)))

    table = next(s for s in shown if "drill" in s.title)
    assert table.columns[2:] == ("of an\nepoch", "SSIM\nby then")
    assert table.lines[0].cells == (
        *("2 of 2", "5 to 8"),
        *("12.5 to 20.0 %", "0.10 to 0.20"),
    )


def test_steps_that_cannot_be_checked_are_said():
    found = drill("int2").watch(1.0)

    assert found.encounters == () and "fewer than 4 bits" in found.refused


def test_codings_that_send_one_of_each_block_are_hijacked():
    client, server = keras_split.compile(
        nets.built(nets.plain), ["a_relu", "b_drop"], quantization="tiny"
    )
    client.compile("sgd", "sparse_categorical_crossentropy")
    data = audit.Examples(*nets.images(16))
    one = Drill(
        *(client, server, client.defenses, data, data),
        classes=3,
        batch_size=8,
        seed=0,
        told=lambda *_: None,
    )

    taken = one.hijack(data, 3, 0.0)

    assert taken.guess.inputs.shape == (16, 8, 8, 2)
    assert np.isfinite(taken.guess.inputs).all()


def test_a_head_that_does_not_train_is_no_prey():
    with pytest.raises(OptionError, match="nothing to hijack"):
        drill(frozen=True)


@pytest.mark.slow
@pytest.mark.long
def test_clothes_are_read_off_a_phone_that_does_not_look():
    (x, y), _ = fashion_mnist.load_subset()
    x = (x[..., None] / 255).astype("float32")
    private, public = (
        audit.Examples(x[i::2], y[i::2].astype("int32")) for i in (0, 1)
    )
    keras.utils.set_random_seed(0)
    client, server = keras_split.compile(
        example_network(), ["pool1", "features"]
    )
    client.compile("adam", "sparse_categorical_crossentropy")
    one = Drill(
        *(client, server, client.defenses, private, public),
        classes=10,
        batch_size=32,
        seed=0,
        told=lambda *_: None,
    )
    truth = audit.Examples(private.x[:256], private.y[:256])

    taken = one.hijack(truth, 150, 0.0)

    bounds = audit.bounds_of(public.x)
    scores = audit.likeness(truth.x, taken.guess.inputs, bounds)
    plain = audit.baselines(public, truth)["class mean"]
    print(scores, taken.spent)
    assert audit.likeness(truth.x, plain, bounds).ssim < 0.37
    assert scores.ssim > 0.42 and scores.match > 0.4
