import json

import pytest

from keras_split.errors import ProtocolError
from keras_split.protocol.optimizer_config import CLASSES
from keras_split.protocol.optimizer_config import OptimizerConfig

INF, NAN = float("inf"), float("nan")


def text(kind="SGD", more=None, **config):
    return json.dumps({"class_name": kind, "config": config} | (more or {}))


def scaled(**config):
    inner = json.loads(text(learning_rate=0.1))
    return text("LossScaleOptimizer", inner_optimizer=inner, **config)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (text(learning_rate=1e38), "learning_rate of SGD to be a number from"),
        (text(learning_rate=-1), "0 to 1000. Received: -1"),
        (text(learning_rate=10**400), "learning_rate"),
        (text(learning_rate=True), "learning_rate"),
        (text(learning_rate="0.1"), "learning_rate"),
        (text(learning_rate={"class_name": "Dense"}), "learning_rate of SGD"),
        (text(momentum=NAN), "momentum of SGD to be a number from 0 to 1"),
        (text(nesterov=1), "nesterov of SGD to be true or false"),
        (text("Adam", epsilon=NAN), "epsilon of Adam"),
        (text("Adam", beta_1=INF), "beta_1 of Adam"),
        (text("AdamW", weight_decay=1e38), "weight_decay of AdamW"),
        (text("Muon", ns_steps=10**9), "ns_steps of Muon to be an integer"),
        (text("Muon", ns_steps=5.0), "ns_steps of Muon to be an integer"),
        (text("Muon", exclude_layers=["(a+)+b"]), "exclude_layers of Muon"),
        (text("Muon", exclude_layers=["a"] * 257), "at most 256 parts"),
        (text("SGD", boost=1), "a field of SGD: learning_rate"),
        (text("MultiOptimizer"), "MultiOptimizer"),
        (text("Dense", units=10**9), "an optimizer of keras.optimizers"),
        (text("Optimizer"), "an optimizer of keras.optimizers"),
        (text("deserialize"), "an optimizer of keras.optimizers"),
        (scaled(initial_scale=0), "initial_scale of LossScaleOptimizer"),
        (scaled(dynamic_growth_steps=0), "dynamic_growth_steps"),
        (text("LossScaleOptimizer"), "the config of a Keras optimizer"),
        ('{"class_name": ["SGD"]}', "the config of a Keras optimizer"),
        ('"Lamb"', "the config of a Keras optimizer"),
        ("[" * 10_000, "the config of a Keras optimizer"),
        (" " * 100_000, "the config of a Keras optimizer"),
        ("", "the config of a Keras optimizer"),
        (
            text(more={"exclude_from_weight_decay": {"names": ["(a+)+$"]}}),
            "exclude_from_weight_decay of SGD",
        ),
        (
            text(more={"exclude_from_weight_decay": {"variables": [-1]}}),
            "numbers of the body's variables",
        ),
        (
            text(more={"exclude_from_weight_decay": ["bias"]}),
            "names and variables",
        ),
    ],
)
def test_what_is_not_in_the_list_is_refused_with_its_field(config, words):
    with pytest.raises(ProtocolError) as info:
        OptimizerConfig.read(config)

    assert info.value.reason == "optimizer"
    assert words in str(info.value)
    assert len(str(info.value)) < 1000


def test_a_config_reads_what_it_writes():
    config = OptimizerConfig(
        "AdamW",
        {"learning_rate": 0.5, "weight_decay": None, "amsgrad": False},
        ("^dense/bias$",),
        (3,),
        {"initial_scale": 8.0, "dynamic_growth_steps": 5},
    )

    assert OptimizerConfig.read(config.text) == config


def test_only_learning_rate_and_name_may_differ_in_one_graph():
    one = OptimizerConfig.read(text(learning_rate=0.1, name="sgd_1"))
    other = OptimizerConfig.read(text(learning_rate=0.2, name="sgd_2"))
    third = OptimizerConfig.read(text(learning_rate=0.1, momentum=0.9))

    assert one.key == other.key != third.key


def test_numbers_are_those_that_keras_takes():
    fields = OptimizerConfig.read(text("Muon", learning_rate=1, ns_steps=3))

    assert repr(fields.fields["learning_rate"]) == "1.0"
    assert repr(fields.fields["ns_steps"]) == "3"


def test_every_class_has_a_learning_rate_and_a_range_for_each_field():
    for name, fields in CLASSES.items():
        assert "learning_rate" in fields, name
        assert all(str(field) for field in fields.values())
