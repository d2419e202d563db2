import json

import pytest

from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.planner import Amount
from keras_split.planner import Profile
from keras_split.planner import Work
from keras_split.planner.profile import REFERENCE
from keras_split.planner.profile import Cache
from keras_split.planner.profile import Memory
from keras_split.planner.profile import Rate
from keras_split.planner.profile import Table
from keras_split.planner.work import KINDS

DENSE = Work({("dense", 12): Amount(2, 2, 30, 7, 5, 0, 4)})


def profile():
    rate = Rate(0.5, 0.25, 0.1, 0.01, 0.02, 0.001, 7.0)
    forward = Table({"head_forward": 1.0}, {"dense": rate})
    step = Table(
        {"head_backward": 2.0, "tail_step": 3.0},
        {"dense": Rate(multiply_adds=1.0)},
    )
    return Profile(
        "a phone",
        {"forward": forward, "step": step},
        Memory(1000.0, 100.0, 12.0, 20.0, 4.0, {"dense": 6.0}),
        Cache(64.0, 256.0),
        {"machine": "of paper"},
    )


def test_seconds_add_up_and_only_what_examples_do_grows_with_the_batch():
    fixed = 1.0 + 2 * 0.5 + 2 * 0.25 + 5 * 0.001

    for batch, far in ((1, 0), (4, 0.5), (100, 1)):
        assert profile().seconds(DENSE, batch, "head_forward") == pytest.approx(
            fixed + batch * (30 * 0.1 + 7 * (0.01 + far * 0.02))
        )


def test_a_large_batch_is_convolved_image_by_image():
    big = Work({("conv", 80): Amount(calls=1, products=9, elements=100)})
    rate = Rate(products=1.0, far_elements=1.0)
    cache = Cache(2.0**23, 2.0**24)
    table = Table({}, {"conv": rate})

    def seconds(batch):
        return table.seconds(big, batch, "head_forward", cache)

    assert seconds(1) == seconds(2) == 9  # 4 MB, and 8 MB: all at once, near
    assert seconds(3) == 27  # 12 MB would be far, one image is not


def test_head_and_tail_take_their_steps_alike():
    one, other = (
        profile().seconds(DENSE, 1, phase)
        for phase in ("head_backward", "tail_step")
    )

    assert (one, other) == (32, 33)


def test_memory_has_weights_slots_and_what_examples_keep():
    known = 1000 + 100

    def peak(head, tail, batch, slots):
        return profile().peak_bytes(head, tail, batch, slots=slots)

    assert peak(DENSE, Work(), 1, 1) == known + 5 * 12 + 4 * 6
    assert peak(Work(), DENSE, 1, 1) == known + 5 * 20 + 4 * 6
    assert peak(DENSE, Work(), 3, 1) == known + 5 * 12 + 3 * 4 * 6
    assert peak(DENSE, Work(), 1, 2) == known + 5 * (12 + 4) + 4 * 6
    assert peak(DENSE, DENSE, 1, 0) == known + 5 * (32 - 12) + 8 * 6


def test_a_file_gives_back_what_was_saved(tmp_path):
    path = tmp_path / "profile.json"

    profile().save(path)

    assert Profile.load(path) == profile()


def test_a_phone_is_no_server():
    with pytest.raises(OptionError, match="body_forward.*head_forward"):
        profile().seconds(DENSE, 1, "body_forward")
    with pytest.raises(OptionError, match="a phone, with its memory"):
        Profile("server", {}).peak_bytes(DENSE, DENSE, 1)


def test_an_unknown_phase_kind_or_batch_is_refused():
    with pytest.raises(OptionError, match="'lunch'"):
        profile().seconds(DENSE, 1, "lunch")
    with pytest.raises(OptionError, match="batch of 1"):
        profile().seconds(DENSE, 0, "head_forward")
    with pytest.raises(DataError, match="'pad'"):
        profile().seconds(Work({("pad", 1): Amount(1)}), 1, "head_forward")


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 100_000)

    for name in ("none.json", "broken.json", "deep.json"):
        with pytest.raises(DataError, match="device probe .* --server"):
            Profile.load(tmp_path / name)
    with pytest.raises(DataError, match="ends in .json"):
        Profile.load("no-such-machine")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["format"], "other"),
        (["version"], 2),
        (["about"], 3),
        (["seconds"], []),
        (["seconds", "lunch"], {}),
        (["seconds", "step"], 1),
        (["seconds", "step", "bases"], 1),
        (["seconds", "step", "bases", "tail_step"], float("nan")),
        (["cache"], None),
        (["cache", "near_bytes"], 0),
        (["cache", "far_bytes"], 64),
        (["seconds", "step", "rates", "nonsense"], {}),
        (["seconds", "step", "rates", "dense"], {}),
        (["seconds", "step", "rates", "dense", "elements"], -1),
        (["seconds", "step", "rates", "dense", "elements"], True),
        (["memory"], {}),
        (["memory", "kept"], {"nonsense": 1}),
        (["memory", "kept", "dense"], -1),
    ],
)
def test_a_damaged_profile_is_refused_by_what_is_wrong(tmp_path, place, value):
    path = tmp_path / "profile.json"
    profile().save(path)
    config = json.loads(path.read_text())
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(config))

    with pytest.raises(DataError, match="Expected a profile") as refused:
        Profile.load(path)

    assert "device probe" in str(refused.value)
    assert "a server with --server" in str(refused.value)


def test_each_profile_that_is_shipped_can_be_read():
    for name in Profile.names():
        assert Profile.load(name).name == name


def test_the_reference_is_a_phone_that_knows_every_kind():
    reference = Profile.load(REFERENCE)

    assert set(reference.phases) == {
        "head_forward",
        "head_backward",
        "tail_step",
    }
    for table in reference.tables.values():
        assert set(table.rates) == set(KINDS)
    assert {"machine", "clock", "threads"} <= set(reference.about)
    assert reference.peak_bytes(Work(), Work(), 1) > 4e7
