import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import keras_split
from keras_split import zoo
from keras_split.compression import presets
from keras_split.errors import CutError
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.planner import candidates_of
from keras_split.planner import probe
from keras_split.planner import server_probe
from keras_split.planner.plan import memory
from keras_split.planner.plan import plan
from keras_split.planner.scored import traffic
from tests import nets
from tests.planner.profiles import PHONE
from tests.planner.profiles import SERVER


def planned(**options):
    options = {"phone": PHONE, "server": SERVER, **options}
    return plan(nets.plain(), **options)


@pytest.mark.parametrize("coding", ["float32", "int8", "int4", "small"])
@pytest.mark.parametrize("batch", [1, 16])
def test_bytes_are_those_of_the_contract(coding, batch):
    model = nets.residual()
    preset = presets.get(coding)

    for candidate in candidates_of(model).cuts:
        client, _ = keras_split.compile(
            model, candidate.layers, quantization=coding
        )
        moved = traffic(candidate, preset, batch)

        assert (moved.up / batch, moved.down / batch) == pytest.approx(
            client.contract.bytes_per_sample(batch)
        )


def test_the_best_has_the_least_of_what_was_asked_for():
    by_time = planned(optimize="time")
    by_bytes = planned(optimize="bytes")
    by_phone = planned(optimize="phone")

    assert by_time.best.seconds == min(c.seconds for c in by_time.cuts)
    assert by_bytes.best.bytes_per_sample == min(
        c.bytes_per_sample for c in by_bytes.cuts
    )
    assert by_phone.best.memory_bytes == min(
        c.memory_bytes for c in by_phone.cuts
    )


def test_machines_are_measured_now_where_that_is_asked_for(monkeypatch):
    for module, name, made in (
        (probe, "probe", PHONE),
        (server_probe, "probe_server", SERVER),
    ):
        measured = replace(made, name="this machine")
        monkeypatch.setattr(module, name, lambda made=measured, **_: made)

    found = planned(phone="probe", server="probe")

    assert found.setting.phone.name == "this machine"
    assert found.best.seconds == planned().best.seconds


def test_a_coding_is_chosen_where_that_is_asked_for():
    slow = planned(quantization="auto", link="1M/10ms")
    fast = planned(quantization="auto", link="1000G/1us", optimize="time")
    wide = zoo.get("mobilenet_v2").candidates()
    rough = plan(wide, quantization="auto", max_loss=1.0)
    exact = planned(quantization="auto", max_loss=0.0)

    assert slow.quantization in ("balanced", "small")
    assert fast.quantization == "int8"  # a rougher one would save nothing
    assert rough.quantization == "tiny"
    assert exact.quantization == "float32"
    assert slow.best.seconds < planned(link="1M/10ms").best.seconds
    assert f"quantization={slow.quantization!r}" in str(slow)


def test_what_a_codec_leaves_is_counted_where_it_was_measured():
    plain, packed = (planned(quantization=q) for q in ("int4", "balanced"))
    cuts = {cut.candidate.cut: cut for cut in plain.cuts}

    for cut in packed.cuts:
        other = cuts[cut.candidate.cut]
        assert cut.uplink_bytes == pytest.approx(0.48 * other.uplink_bytes)


def test_nothing_is_guessed_without_profiles():
    found = planned(phone=None, server=None)

    assert found.goal == "bytes"
    assert found.best.seconds is None
    assert found.best.memory_bytes is None
    titles, said = str(found).splitlines()[2], str(found).splitlines()[-3]
    assert "memory" not in titles and "step" not in titles
    assert "link" in titles
    assert said == (
        "Unknown, so left out: memory, step, phone, server, leakage. They take "
        "--phone probe, --server probe, --data FOLDER."
    )
    assert "unknown" not in str(found).replace(found.reason, "")


def test_a_profile_of_the_phone_alone_tells_what_the_phone_does():
    both, alone = planned(optimize="bytes"), planned(server=None)

    assert alone.goal == "bytes"
    assert alone.best.seconds is alone.best.server_seconds is None
    assert alone.best.phone_seconds == both.best.phone_seconds > 0
    assert alone.best.memory_bytes == both.best.memory_bytes


def test_time_and_memory_need_profiles():
    with pytest.raises(OptionError, match="of phone and server.*--server"):
        planned(phone=None, optimize="time")
    with pytest.raises(OptionError, match="profile of the phone"):
        planned(phone=None, max_memory="300M")


def test_leakage_is_unknown_until_it_is_measured():
    found = planned()

    assert all(cut.leakage is None for cut in found.cuts)
    assert "unknown until keras-split audit" in found.reason


def test_labels_and_inputs_stay_unless_they_may_go():
    hidden = planned()
    shown = planned(labels_on_phone=False)

    assert not any(c.candidate.labels_show for c in hidden.cuts)
    assert all(c.candidate.head.trains for c in hidden.cuts)
    assert any(c.candidate.labels_on_server for c in shown.cuts)


def test_a_limit_that_nothing_fits_names_the_nearest():
    least = min(c.memory_bytes for c in planned().cuts)

    with pytest.raises(CutError, match=r"The nearest is .* needs 8 MB") as told:
        planned(max_memory=1000)

    assert least < 9e6
    assert "none fits" in str(told.value)


def test_a_limit_leaves_out_what_needs_more():
    everything = planned().cuts
    limit = min(cut.memory_bytes for cut in everything)

    found = planned(max_memory=limit)

    assert {c.memory_bytes <= limit for c in found.cuts} == {True}
    assert len(found.cuts) < len(everything)
    assert len(found.beyond) > 0


def test_a_least_depth_is_kept():
    found = planned(min_depth=0.3)

    assert all(c.depth >= 0.3 for c in found.cuts)
    with pytest.raises(CutError, match="a depth of 0.999"):
        planned(min_depth=0.999)


def test_no_cut_of_the_front_is_beaten():
    found = planned()

    def costs(cut):
        held = cut.memory_bytes
        return cut.seconds, cut.bytes_per_sample, held, -round(cut.depth, 3)

    front = [costs(cut) for cut in found.front]
    for cut in found.cuts:
        assert any(
            all(a <= b for a, b in zip(one, costs(cut), strict=True))
            for one in front
        )
    assert len(set(front)) == len(front) <= len(found.cuts)


def test_a_slow_link_wants_more_parts():
    parts = planned(link="300k/1ms")
    whole = planned(link="300k/1ms", microbatches=1)

    assert parts.best.microbatches > 1
    assert whole.best.microbatches == 1
    assert parts.best.seconds < whole.best.seconds


def test_a_batch_of_fewer_examples_than_parts_travels_whole():
    parts = planned(batch_size=np.int64(2), microbatches=4)

    assert parts.best.microbatches == 1
    whole = planned(batch_size=2, microbatches=1)
    assert parts.best.seconds == whole.best.seconds


@pytest.mark.parametrize(
    ("value", "number"),
    [("300M", 300_000_000), ("1.5G", 1_500_000_000), ("20kB", 20_000), (7, 7)],
)
def test_memory_is_written_short(value, number):
    assert memory(value) == number


@pytest.mark.parametrize(
    "value",
    ["", "M", "0", "-3M", -3, "3T", 0.5, True, float("inf"), float("nan")],
)
def test_what_is_no_memory_is_refused(value):
    with pytest.raises(OptionError, match="300M"):
        memory(value)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"optimize": "speed"}, OptionError, "time, bytes, phone"),
        ({"link": "fast"}, OptionError, "20M/30ms"),
        ({"link": None}, OptionError, "20M/30ms"),
        ({"phone": "nowhere.json"}, DataError, "nowhere.json"),
        ({"batch_size": 0}, OptionError, "batch_size"),
        ({"batch_size": 2.0}, OptionError, "batch_size"),
        ({"microbatches": "2"}, OptionError, "microbatches"),
        ({"microbatches": 0}, OptionError, "1 to 64"),
        ({"microbatches": 65}, OptionError, "1 to 64"),
        ({"min_depth": 2}, OptionError, "min_depth"),
    ],
)
def test_options_that_are_none_are_refused(options, error, word):
    with pytest.raises(error, match=word):
        planned(**options)


def test_what_is_no_model_is_refused():
    with pytest.raises(OptionError, match="candidates"):
        plan("mobilenet_v2")


def test_the_table_ends_with_what_to_do():
    found = planned()

    lines = str(found).splitlines()

    assert lines[-1].startswith("Next: keras_split.compile(model, cut=[")
    assert repr(found.cut) in lines[-1]
    assert "<table>" in found._repr_html_()


def test_planning_needs_no_tensorflow():
    code = (
        "import sys, keras_split\n"
        "keras_split.plan\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_compile_cuts_where_the_plan_says(caplog):
    model = nets.plain()
    made = plan(model, phone=PHONE, server=SERVER, min_depth=0.3)

    with caplog.at_level("INFO", "keras_split"):
        client, _ = keras_split.compile(model, cut="auto", plan=made)

    assert list(client.contract.cut) == made.cut
    assert made.reason in caplog.text


def test_compile_plans_by_bytes_by_itself():
    model = nets.unet()

    client, server = keras_split.compile(model, cut="auto")

    assert list(client.contract.cut) == plan(model).cut
    assert server.count_params() > 0


def test_a_plan_beside_a_cut_is_refused():
    model = nets.plain()
    made = plan(model)

    with pytest.raises(OptionError, match="cut='auto' beside a plan"):
        keras_split.compile(model, cut=["a", "b"], plan=made)
    with pytest.raises(OptionError, match="Expected a plan"):
        keras_split.compile(model, cut="auto", plan="time")
