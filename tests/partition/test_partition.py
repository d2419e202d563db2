import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_split import Quantization
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import CutError
from keras_split.partition.partition import Partition
from tests import nets


def names(tensors):
    return [tensor.name for tensor in tensors]


def layers_of(segment):
    """The layers of a segment without its inputs."""
    return [
        layer.name
        for layer in segment.model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]


def assert_equals_whole(model, partition):
    """Head, body and tail, one behind the other, give what `model` gives."""
    inputs = nets.random_inputs(model)

    made = nets.run(partition, inputs)

    expected = keras.tree.flatten(model(inputs if inputs[1:] else inputs[0]))
    for actual, wanted in zip(made, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


def refusal(model, cut):
    with pytest.raises(CutError) as caught:
        Partition(model, cut)
    return str(caught.value)


# -- what can be cut ---------------------------------------------------------


def test_two_cuts_make_head_body_and_tail():
    model = nets.dense()

    partition = Partition(model, ["a", "b"])

    assert layers_of(partition.head) == ["a"]
    assert layers_of(partition.body) == ["b"]
    assert layers_of(partition.tail) == ["c"]
    assert names(partition.smashed) == ["a"]
    assert names(partition.features) == ["b"]
    assert partition.skips == []
    assert_equals_whole(model, partition)


@pytest.mark.parametrize("cut", ["a", ["a"], ("a",)])
def test_one_cut_leaves_everything_behind_it_to_the_server(cut):
    model = nets.dense()

    partition = Partition(model, cut)

    assert layers_of(partition.head) == ["a"]
    assert layers_of(partition.body) == ["b", "c"]
    assert partition.tail is None
    assert names(partition.features) == ["c"]
    assert partition.contract(Quantization()).labels_on_server
    assert_equals_whole(model, partition)


def test_layers_can_be_given_instead_of_names():
    model = nets.dense()
    cut = [model.get_layer("a"), model.get_layer("b")]

    partition = Partition(model, cut)

    assert partition.cut_names == ("a", "b")
    assert partition.fingerprint == Partition(model, ["a", "b"]).fingerprint


def test_segments_share_their_weights_with_the_model():
    model = nets.dense()

    partition = Partition(model, ["a", "b"])

    parts = (partition.head, partition.body, partition.tail)
    shared = [v for part in parts for v in part.model.variables]
    assert [id(v) for v in shared] == [id(v) for v in model.variables]


def test_a_sequential_model_can_be_cut():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(3, 3, name="a"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(4, name="b"),
            layers.Dense(3),
        ]
    )

    partition = Partition(model, ["a", "b"])

    assert_equals_whole(model, partition)


def test_a_tail_may_have_no_layers():
    model = nets.dense()

    partition = Partition(model, ["a", "c"])

    assert layers_of(partition.tail) == []
    assert_equals_whole(model, partition)


def test_unnamed_layers_are_cut_by_class_and_number():
    x = image = keras.Input((8, 8, 1))
    for _ in range(3):
        x = layers.Conv2D(2, 3)(x)
        x = layers.ReLU()(x)
    model = keras.Model(image, x)

    partition = Partition(model, ["ReLU#1", "Conv2D#3"])

    assert [type(layer) for layer in partition.tail.model.layers[1:]] == [
        layers.ReLU
    ]
    assert_equals_whole(model, partition)


def test_a_nested_model_is_cut_inside():
    model = nets.transfer()

    partition = Partition(model, ["base/relu1", "hidden"])

    assert layers_of(partition.head) == ["scale", "conv1", "bn1", "relu1"]
    assert layers_of(partition.body) == ["conv2", "relu2", "pool", "hidden"]
    assert names(partition.smashed) == ["base/relu1"]
    assert_equals_whole(model, partition)


def test_a_nested_model_inside_one_segment_stays_whole():
    model = nets.transfer()

    partition = Partition(model, ["scale", "pool"])

    assert layers_of(partition.body) == ["base", "pool"]
    assert partition.body.model.get_layer("base") is model.get_layer("base")
    assert_equals_whole(model, partition)


def test_a_nested_model_as_a_cut_ends_with_its_last_layer():
    model = nets.transfer()

    partition = Partition(model, ["base", "hidden"])

    assert layers_of(partition.head) == ["scale", "base"]
    assert layers_of(partition.body) == ["pool", "hidden"]
    assert_equals_whole(model, partition)


def test_a_nested_sequential_model_is_cut_inside():
    base = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="x"), layers.Dense(3)],
        name="base",
    )
    model = keras.Sequential([keras.Input((4,)), base, layers.Dense(2)])

    partition = Partition(model, ["base/x", "base"])

    assert layers_of(partition.head) == ["x"]
    assert_equals_whole(model, partition)


def test_a_model_without_a_graph_inside_one_segment_stays_whole():
    class Closed(keras.Model):
        def __init__(self):
            super().__init__(name="closed")
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    x = values = keras.Input((4,))
    x = layers.Dense(4, name="a")(x)
    x = layers.ReLU(name="b")(Closed()(x))
    model = keras.Model(values, x)

    partition = Partition(model, ["a", "b"])

    assert layers_of(partition.body) == ["closed", "b"]
    assert_equals_whole(model, partition)


def test_operations_are_nodes_like_layers():
    x = image = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, name="a")(x)
    x = keras.ops.tanh(2.0 * x)
    x = keras.ops.reshape(x, (-1, 36, 4))
    x = keras.ops.concatenate([x[:, :10], x[:, 20:]], axis=1)
    x = keras.ops.mean(x, axis=1)
    x = layers.Dense(3, name="b")(x)
    model = keras.Model(image, layers.Dense(2)(x))

    for cut in (["a", "b"], ["Multiply#1", "Mean#1"], ["Reshape#1", "b"]):
        partition = Partition(model, cut)

        assert_equals_whole(model, partition)


def test_a_cut_inside_a_residual_block_carries_two_tensors():
    model = nets.residual()

    partition = Partition(model, ["inner_relu", "sum"])

    assert names(partition.smashed) == ["stem", "inner_relu"]
    assert partition.skips == []
    assert_equals_whole(model, partition)


def test_a_skip_connection_round_the_server_stays_on_the_phone():
    model = nets.unet()

    partition = Partition(model, ["pool1", "mix2"])

    assert names(partition.smashed) == ["pool1"]
    assert names(partition.features) == ["mix2"]
    assert names(partition.skips) == ["down1"]
    assert_equals_whole(model, partition)


def test_one_tensor_may_go_to_the_server_and_to_the_tail():
    model = nets.residual()

    partition = Partition(model, ["stem", "outer"])

    assert names(partition.smashed) == ["stem"]
    assert names(partition.skips) == ["stem"]
    assert names(partition.head.outputs) == ["stem"]
    assert_equals_whole(model, partition)


def test_several_tensors_may_come_back():
    model = nets.unet()

    partition = Partition(model, ["pool1", "deep"])

    assert names(partition.features) == ["down2", "deep"]
    assert_equals_whole(model, partition)


def two_branches():
    image = keras.Input((8, 8, 1))
    ends = []
    for side in ("left", "right"):
        x = layers.Conv2D(2, 3, name=f"{side}1")(image)
        x = layers.Conv2D(3, 3, name=f"{side}2")(x)
        ends.append(layers.Conv2D(2, 3, name=f"{side}3")(x))
    x = layers.Concatenate(name="join")(ends)
    return keras.Model(image, layers.Flatten(name="flat")(x))


def test_a_cut_through_several_branches_is_a_list():
    model = two_branches()
    cut = [["left1", "right1"], ["left3", "right3"]]

    partition = Partition(model, cut)

    assert sorted(names(partition.smashed)) == ["left1", "right1"]
    assert sorted(names(partition.features)) == ["left3", "right3"]
    assert partition.cut_names == ("left1+right1", "left3+right3")
    assert layers_of(partition.tail) == ["join", "flat"]
    assert_equals_whole(model, partition)


def test_a_branch_that_was_not_cut_stays_on_the_phone():
    model = two_branches()

    partition = Partition(model, ["left1", "left2"])

    assert layers_of(partition.body) == ["left2"]
    assert "right3" in layers_of(partition.tail)
    assert names(partition.raw_skips) == [model.inputs[0].name]
    assert_equals_whole(model, partition)


def test_an_input_that_only_the_tail_reads_stays_on_the_phone():
    model = nets.two_by_two()

    partition = Partition(model, ["a", "b"])

    assert names(partition.head.inputs) == ["image"]
    assert names(partition.raw_skips) == ["extra"]
    assert names(partition.tail.inputs) == ["b", "extra"]
    assert partition.output_structure == {"kind": 0, "size": 1}
    assert_equals_whole(model, partition)


def test_outputs_keep_their_order_and_structure():
    x = values = keras.Input((4,))
    a = layers.Dense(3, name="a")(x)
    b = layers.Dense(3, name="b")(a)
    c = layers.Dense(3, name="c")(b)
    model = keras.Model(values, [c, a, [b]])

    partition = Partition(model, ["a", "b"])

    assert names(partition.graph.outputs) == ["c", "a", "b"]
    assert partition.output_structure == [0, 1, [2]]
    assert names(partition.skips) == ["a"]
    assert_equals_whole(model, partition)


def test_every_output_of_a_cut_layer_that_is_read_travels():
    x = values = keras.Input((5, 2))
    x, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    x = layers.LSTM(4, name="again")(x)
    x = layers.Concatenate(name="join")([x, h])
    model = keras.Model(values, layers.Dense(2)(x))

    partition = Partition(model, ["LSTM#1", "join"])

    assert [t.index for t in partition.smashed] == [0, 1]
    assert_equals_whole(model, partition)


def test_a_layer_may_be_called_twice_within_one_segment():
    x = values = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    x = layers.Dense(4, name="a")(x)
    x = twice(layers.ReLU(name="between")(twice(x)))
    model = keras.Model(values, layers.Dense(2, name="c")(x))

    partition = Partition(model, ["a", "twice#2"])

    assert layers_of(partition.body) == ["twice", "between"]
    assert_equals_whole(model, partition)


def test_a_layer_may_be_shared_by_head_and_tail():
    x = values = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = shared(x)
    x = layers.Dense(4, name="b")(x)
    model = keras.Model(values, shared(x))

    partition = Partition(model, ["shared#1", "b"])

    assert layers_of(partition.head) == layers_of(partition.tail) == ["shared"]
    assert_equals_whole(model, partition)


def test_a_layer_without_weights_may_be_shared_by_phone_and_server():
    x = values = keras.Input((4,))
    relu = layers.ReLU(name="relu")
    for name in "abc":
        x = relu(layers.Dense(4, name=name)(x))
    model = keras.Model(values, x)

    partition = Partition(model, ["relu#1", "relu#2"])

    assert "relu" in layers_of(partition.head)
    assert "relu" in layers_of(partition.body)
    assert_equals_whole(model, partition)


def test_a_mask_used_up_by_the_head_does_no_harm():
    x = words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embed")(x)
    x = layers.LSTM(3, name="read")(x)
    x = layers.Dense(4, name="b")(x)
    model = keras.Model(words, layers.Dense(2)(x))
    sentences = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], "int32")

    partition = Partition(model, ["read", "b"])

    (made,) = nets.run(partition, [sentences])
    np.testing.assert_allclose(made, model(sentences), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_half_precision_model_keeps_its_dtypes(policy):
    keras.config.set_dtype_policy(policy)
    model = nets.dense()
    dtype = policy.removeprefix("mixed_")

    partition = Partition(model, ["a", "b"])

    assert partition.body.model.inputs[0].dtype == dtype
    assert partition.tail.model.inputs[0].dtype == dtype
    assert {v.dtype for v in partition.body.model.variables} == {"float32"}


def test_the_contract_says_what_travels():
    partition = Partition(nets.residual(), ["inner_relu", "sum"])

    contract = partition.contract(Quantization("int8"), "zstd")

    assert contract.fingerprint == partition.fingerprint
    assert contract.cut == ("inner_relu", "sum")
    assert contract.smashed == (
        TensorSpec("stem", (8, 8, 4)),
        TensorSpec("inner_relu", (8, 8, 4)),
    )
    assert contract.features == (TensorSpec("sum", (8, 8, 4)),)
    assert contract.codec == "zstd"
    assert not contract.labels_on_server


def test_a_frozen_head_is_said_with_what_does_not_travel():
    model = nets.dense()
    assert "frozen" not in str(Partition(model, ["a", "b"]))

    model.get_layer("a").trainable = False

    text = str(Partition(model, ["a", "b"]))
    assert text.endswith("no gradients of the smashed data travel.")
    model.get_layer("b").trainable = False
    assert "and of the features" in str(Partition(model, ["a", "b"]))
    assert "and of the features" not in str(Partition(model, "a"))


def test_a_partition_prints_as_two_tables():
    partition = Partition(nets.unet(), ["pool1", "mix2"])

    lines = str(partition).splitlines()

    assert lines[0] == "Cut at 'pool1' and 'mix2'"
    table = [re.split(r"\s{2,}", line) for line in lines[2:]]
    assert table[0] == [
        "segment",
        "runs on",
        "layers",
        "parameters",
        "multiply-adds",
    ]
    assert table[2] == ["head", "phone", "2", "30", "1,728"]
    assert table[3] == ["body", "server", "6", "625", "7,632"]
    assert table[4] == ["tail", "phone", "4", "196", "12,288"]
    assert table[6][:2] == ["edge", "tensor"]
    assert table[8] == ["head -> body", "pool1", "(4, 4, 3)", "192", "48"]
    assert table[9] == ["body -> tail", "mix2", "(4, 4, 4)", "256", "64"]
    assert table[10] == [
        "head -> tail",
        "down1",
        "(8, 8, 3)",
        "stays on phone",
    ]


def test_a_partition_with_one_cut_prints_what_comes_back():
    text = str(Partition(nets.dense(), "a"))

    assert "tail" not in text
    assert "body -> phone  c" in text


# -- what cannot -------------------------------------------------------------


def test_an_unknown_layer_is_refused_with_its_nearest_names():
    text = refusal(nets.plain(), ["a_rely", "b_drop"])

    assert "Received: 'a_rely'" in text
    assert "Did you mean 'a_relu'" in text


def test_an_unknown_path_is_refused_with_its_nearest_paths():
    text = refusal(nets.transfer(), ["base/conv_1", "hidden"])

    assert "Did you mean 'base/conv1'" in text


def test_an_unknown_name_like_no_other_is_refused_with_examples():
    text = refusal(nets.dense(), ["zebra", "b"])

    assert "'zebra', which it does not have" in text
    assert "It has layers such as 'a', 'b' and 'c'." in text


@pytest.mark.parametrize("cut", [None, 3, layers.Dense(2, name="other")])
def test_something_that_is_no_layer_of_the_model_is_refused(cut):
    text = refusal(nets.dense(), [cut, "b"])

    assert "which it does not have" in text


@pytest.mark.parametrize("cut", [[], ["a", "b", "c"]])
def test_no_cut_and_three_cuts_are_refused(cut):
    text = refusal(nets.dense(), cut)

    assert f"Received: {len(cut)} cuts" in text
    assert "cut=[[a1, a2], b]" in text


def test_a_layer_called_twice_is_refused_with_its_calls():
    x = values = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    x = twice(layers.ReLU(name="between")(twice(x)))
    model = keras.Model(values, layers.Dense(2, name="c")(x))

    text = refusal(model, ["twice", "c"])

    assert "'twice#1', 'twice#2'" in text


def test_a_subclassed_model_is_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    text = refusal(Subclassed(), ["a", "b"])

    assert "Received: Subclassed" in text


def test_cuts_in_the_wrong_order_are_refused_with_the_right_one():
    text = refusal(nets.dense(), ["b", "a"])

    assert "the second cut is not behind the first" in text
    assert text.endswith("The other way round it works: cut=['a', 'b'].")
    Partition(nets.dense(), ["a", "b"])


def assert_suggestions_work(model, cut, text):
    """Each cut that the message names works in place of the one refused."""
    which, named = re.search(
        r"The nearest for the (\w+) cut (?:is|are) (.*)\.$", text
    ).groups()
    position = {"first": 0, "second": 1, "only": 0}[which]
    suggestions = re.findall(r"'([^']+)'", named)
    assert suggestions
    for suggestion in suggestions:
        trial = list(cut)
        trial[position] = suggestion
        assert_equals_whole(model, Partition(model, trial))
    return suggestions


def test_an_empty_body_is_refused():
    model, cut = nets.plain(), ["b", "b"]

    text = refusal(model, cut)

    assert "nothing is left for the server" in text
    assert assert_suggestions_work(model, cut, text) == ["b_bn"]


def test_a_first_cut_on_an_input_is_refused():
    model, cut = nets.plain(), ["image", "b"]

    text = refusal(model, cut)

    assert "raw data must not leave the phone" in text
    assert assert_suggestions_work(model, cut, text) == ["a", "a_bn"]


def test_an_input_among_other_cut_layers_is_refused():
    text = refusal(nets.two_by_two(), [["a", "extra"], "join"])

    assert "raw data must not leave the phone" in text


def test_an_input_that_the_server_would_read_is_refused_by_name():
    model, cut = nets.two_by_two(), ["a", "join"]

    text = refusal(model, cut)

    assert "'wide' would run on the server" in text
    assert "reads the model input 'extra'" in text
    assert assert_suggestions_work(model, cut, text) == ["flat"]


def test_an_input_that_the_server_would_read_is_refused_with_one_cut():
    text = refusal(two_branches(), ["left1"])

    assert "'right1' would run on the server" in text


def test_a_second_cut_beside_the_first_is_refused():
    model, cut = two_branches(), ["left1", "right1"]

    text = refusal(model, cut)

    assert "the second cut does not depend on the first" in text
    assert assert_suggestions_work(model, cut, text) == ["left2"]


def test_the_end_of_the_model_is_refused_as_the_only_cut():
    model, cut = nets.dense(), ["c"]

    text = refusal(model, cut)

    assert "that is the end of the model" in text
    assert assert_suggestions_work(model, cut, text) == ["b"]


def test_an_output_made_by_the_head_takes_two_cuts():
    x = values = keras.Input((4,))
    a = layers.Dense(3, name="a")(x)
    b = layers.Dense(3, name="b")(a)
    model = keras.Model(values, [a, b])

    text = refusal(model, ["a"])

    assert "output 'a' is made on the phone, which takes two cuts" in text
    Partition(model, ["a", "b"])


def test_weights_shared_by_phone_and_server_are_refused():
    x = values = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.Dense(4, name="a")(shared(x))
    x = layers.Dense(4, name="b")(shared(x))
    model = keras.Model(values, layers.Dense(2, name="c")(x))
    cut = ["a", "b"]

    text = refusal(model, cut)

    assert "layer 'shared' has weights or a seed" in text
    assert "on the phone and on the server" in text
    assert_suggestions_work(model, cut, text)


def test_one_variable_in_two_layers_counts_as_shared():
    dense = layers.Dense(4, name="dense")
    x = values = keras.Input((3, 4))
    x = layers.TimeDistributed(dense, name="each")(x)
    x = layers.ReLU(name="a")(x)
    x = layers.ReLU(name="b")(dense(x))
    model = keras.Model(values, x)

    text = refusal(model, ["a", "b"])

    assert "has weights or a seed" in text


def test_a_tensor_of_unknown_shape_is_refused():
    x = image = keras.Input((None, None, 2))
    x = layers.Conv2D(3, 3, name="a")(x)
    x = layers.Conv2D(3, 3, name="b")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(4, name="c")(x)
    model = keras.Model(image, layers.Dense(2, name="out")(x))

    text = refusal(model, ["a", "c"])

    assert "'a' would travel and has shape (None, None, 3)" in text
    assert "input shape without None" in text
    assert "The nearest for the first cut is 'pool'." in text
    Partition(model, ["pool", "c"])


def test_a_tensor_of_integers_is_refused():
    x = values = keras.Input((4,))
    x = layers.Dense(4, name="a")(x)
    x = keras.ops.cast(x > 0, "int32")
    x = layers.Embedding(2, 3, name="embed")(x)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(values, layers.Dense(2, name="out")(x))

    text = refusal(model, ["Cast#1", "flat"])

    assert "is int32; only floating point tensors" in text
    assert assert_suggestions_work(model, ["", "flat"], text) == ["a", "embed"]


def masked():
    x = words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True, name="embed")(x)
    x = layers.Dense(4, name="a")(x)
    x = layers.LSTM(3, name="read")(x)
    x = layers.Dense(4, name="b")(x)
    return keras.Model(words, layers.Dense(2, name="out")(x))


def test_a_mask_computed_from_the_input_is_refused():
    text = refusal(masked(), ["embed", "b"])

    assert "the mask of 'embed' would be needed on the other side" in text
    assert "The nearest for the first cut is 'read'." in text
    Partition(masked(), ["read", "b"])


def test_a_mask_that_would_travel_is_refused():
    x = values = keras.Input((5, 3))
    x = layers.Dense(4, name="a")(x)
    x = layers.Masking(name="masking")(x)
    x = layers.LSTM(3, name="read")(x)
    model = keras.Model(values, layers.Dense(2, name="out")(x))
    cut = ["masking", "out"]

    text = refusal(model, cut)

    assert "'masking' would travel and carries a mask" in text
    assert_suggestions_work(model, cut, text)


# -- the fingerprint ---------------------------------------------------------


def fingerprint(build=nets.plain, cut=("a_relu", "b_drop")):
    return Partition(build(), list(cut)).fingerprint


def unnamed(width=4, activation="relu", factor=2.0, axis=1, depth=2):
    """A model whose names Keras counts up at every build."""
    x = image = keras.Input((8, 8, 2))
    for _ in range(depth):
        x = layers.Conv2D(width, 3, activation=activation)(x)
    x = layers.TimeDistributed(
        keras.Sequential([keras.Input((None, width)), layers.Dense(3)])
    )(x)
    x = keras.ops.mean(factor * x, axis=axis)
    x = layers.GlobalAveragePooling1D()(layers.Dropout(0.5)(x))
    return keras.Model(image, layers.Dense(2)(x))


UNNAMED_CUT = ("Conv2D#1", "Dropout#1")


@pytest.mark.parametrize(
    ("build", "cut"),
    [
        (nets.plain, ("a_relu", "b_drop")),
        (nets.transfer, ("base/bn1", "pool")),
        (nets.two_by_two, ("a", "b")),
        (unnamed, UNNAMED_CUT),
    ],
)
def test_two_builds_of_one_model_have_one_fingerprint(build, cut):
    assert fingerprint(build, cut) == fingerprint(build, cut)


def test_weights_do_not_count():
    model = nets.dense()
    before = Partition(model, ["a", "b"]).fingerprint

    model.set_weights([w + 1 for w in model.get_weights()])

    assert Partition(model, ["a", "b"]).fingerprint == before


@pytest.mark.parametrize(
    "change",
    [
        {"width": 5},
        {"activation": "tanh"},
        {"factor": 3.0},
        {"axis": 2},
        {"depth": 3},
    ],
    ids=str,
)
def test_another_architecture_has_another_fingerprint(change):
    other = fingerprint(lambda: unnamed(**change), UNNAMED_CUT)

    assert other != fingerprint(unnamed, UNNAMED_CUT)


@pytest.mark.parametrize(
    "cut", [("a", "b_drop"), ("a_relu", "b_relu"), ("a_relu",)], ids=str
)
def test_another_cut_has_another_fingerprint(cut):
    assert fingerprint(cut=cut) != fingerprint()


def test_another_input_size_has_another_fingerprint():
    def sized(size):
        x = image = keras.Input((size, size, 1))
        x = layers.Conv2D(2, 3, name="a")(x)
        x = layers.GlobalAveragePooling2D(name="b")(x)
        return keras.Model(image, layers.Dense(2)(x))

    small = fingerprint(lambda: sized(8), ("a", "b"))

    assert fingerprint(lambda: sized(9), ("a", "b")) != small


def test_another_precision_has_another_fingerprint():
    whole = fingerprint()

    keras.config.set_dtype_policy("mixed_bfloat16")

    assert fingerprint() != whole


def test_a_constant_in_the_graph_counts():
    def shifted(by):
        x = values = keras.Input((4,))
        x = layers.Dense(3, name="a")(x) + np.float32(by)
        return keras.Model(values, layers.Dense(2, name="b")(x))

    one = fingerprint(lambda: shifted([1, 2, 3]), ("a", "b"))

    assert one == fingerprint(lambda: shifted([1, 2, 3]), ("a", "b"))
    assert one != fingerprint(lambda: shifted([1, 2, 4]), ("a", "b"))
