import keras
import numpy as np
import pytest
from keras import layers

from keras_split import Quantization
from keras_split.compression.tensors import TensorSpec
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
    nets.assert_equals_whole(model, partition)


@pytest.mark.parametrize("cut", ["a", ["a"], ("a",)])
def test_one_cut_leaves_everything_behind_it_to_the_server(cut):
    model = nets.dense()

    partition = Partition(model, cut)

    assert layers_of(partition.head) == ["a"]
    assert layers_of(partition.body) == ["b", "c"]
    assert partition.tail is None
    assert names(partition.features) == ["c"]
    assert partition.contract(Quantization()).labels_on_server
    nets.assert_equals_whole(model, partition)


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

    nets.assert_equals_whole(model, partition)


def test_a_tail_may_have_no_layers():
    model = nets.dense()

    partition = Partition(model, ["a", "c"])

    assert layers_of(partition.tail) == []
    nets.assert_equals_whole(model, partition)


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
    nets.assert_equals_whole(model, partition)


def test_a_nested_model_is_cut_inside():
    model = nets.transfer()

    partition = Partition(model, ["base/relu1", "hidden"])

    assert layers_of(partition.head) == ["scale", "conv1", "bn1", "relu1"]
    assert layers_of(partition.body) == ["conv2", "relu2", "pool", "hidden"]
    assert names(partition.smashed) == ["base/relu1"]
    nets.assert_equals_whole(model, partition)


def test_a_nested_model_inside_one_segment_stays_whole():
    model = nets.transfer()

    partition = Partition(model, ["scale", "pool"])

    assert layers_of(partition.body) == ["base", "pool"]
    assert partition.body.model.get_layer("base") is model.get_layer("base")
    nets.assert_equals_whole(model, partition)


def test_a_nested_model_as_a_cut_ends_with_its_last_layer():
    model = nets.transfer()

    partition = Partition(model, ["base", "hidden"])

    assert layers_of(partition.head) == ["scale", "base"]
    assert layers_of(partition.body) == ["pool", "hidden"]
    nets.assert_equals_whole(model, partition)


def test_a_nested_sequential_model_is_cut_inside():
    base = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="x"), layers.Dense(3)],
        name="base",
    )
    model = keras.Sequential([keras.Input((4,)), base, layers.Dense(2)])

    partition = Partition(model, ["base/x", "base"])

    assert layers_of(partition.head) == ["x"]
    nets.assert_equals_whole(model, partition)


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
    nets.assert_equals_whole(model, partition)


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

        nets.assert_equals_whole(model, partition)


def test_a_cut_inside_a_residual_block_carries_two_tensors():
    model = nets.residual()

    partition = Partition(model, ["inner_relu", "sum"])

    assert names(partition.smashed) == ["stem", "inner_relu"]
    assert partition.skips == []
    nets.assert_equals_whole(model, partition)


def test_a_skip_connection_round_the_server_stays_on_the_phone():
    model = nets.unet()

    partition = Partition(model, ["pool1", "mix2"])

    assert names(partition.smashed) == ["pool1"]
    assert names(partition.features) == ["mix2"]
    assert names(partition.skips) == ["down1"]
    nets.assert_equals_whole(model, partition)


def test_one_tensor_may_go_to_the_server_and_to_the_tail():
    model = nets.residual()

    partition = Partition(model, ["stem", "outer"])

    assert names(partition.smashed) == ["stem"]
    assert names(partition.skips) == ["stem"]
    assert names(partition.head.outputs) == ["stem"]
    nets.assert_equals_whole(model, partition)


def test_several_tensors_may_come_back():
    model = nets.unet()

    partition = Partition(model, ["pool1", "deep"])

    assert names(partition.features) == ["down2", "deep"]
    nets.assert_equals_whole(model, partition)


def test_a_cut_through_several_branches_is_a_list():
    model = nets.two_branches()
    cut = [["left1", "right1"], ["left3", "right3"]]

    partition = Partition(model, cut)

    assert sorted(names(partition.smashed)) == ["left1", "right1"]
    assert sorted(names(partition.features)) == ["left3", "right3"]
    assert partition.cut_names == ("left1+right1", "left3+right3")
    assert layers_of(partition.tail) == ["join", "flat"]
    nets.assert_equals_whole(model, partition)


def test_a_branch_that_was_not_cut_stays_on_the_phone():
    model = nets.two_branches()

    partition = Partition(model, ["left1", "left2"])

    assert layers_of(partition.body) == ["left2"]
    assert "right3" in layers_of(partition.tail)
    assert names(partition.raw_skips) == [model.inputs[0].name]
    nets.assert_equals_whole(model, partition)


def test_an_input_that_only_the_tail_reads_stays_on_the_phone():
    model = nets.two_by_two()

    partition = Partition(model, ["a", "b"])

    assert names(partition.head.inputs) == ["image"]
    assert names(partition.raw_skips) == ["extra"]
    assert names(partition.tail.inputs) == ["b", "extra"]
    assert partition.output_structure == {"kind": 0, "size": 1}
    nets.assert_equals_whole(model, partition)


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
    nets.assert_equals_whole(model, partition)


def test_every_output_of_a_cut_layer_that_is_read_travels():
    x = values = keras.Input((5, 2))
    x, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    x = layers.LSTM(4, name="again")(x)
    x = layers.Concatenate(name="join")([x, h])
    model = keras.Model(values, layers.Dense(2)(x))

    partition = Partition(model, ["LSTM#1", "join"])

    assert [t.index for t in partition.smashed] == [0, 1]
    nets.assert_equals_whole(model, partition)


def test_a_layer_may_be_called_twice_within_one_segment():
    x = values = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    x = layers.Dense(4, name="a")(x)
    x = twice(layers.ReLU(name="between")(twice(x)))
    model = keras.Model(values, layers.Dense(2, name="c")(x))

    partition = Partition(model, ["a", "twice#2"])

    assert layers_of(partition.body) == ["twice", "between"]
    nets.assert_equals_whole(model, partition)


def test_a_layer_may_be_shared_by_head_and_tail():
    x = values = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = shared(x)
    x = layers.Dense(4, name="b")(x)
    model = keras.Model(values, shared(x))

    partition = Partition(model, ["shared#1", "b"])

    assert layers_of(partition.head) == layers_of(partition.tail) == ["shared"]
    nets.assert_equals_whole(model, partition)


def test_a_layer_without_weights_may_be_shared_by_phone_and_server():
    x = values = keras.Input((4,))
    relu = layers.ReLU(name="relu")
    for name in "abc":
        x = relu(layers.Dense(4, name=name)(x))
    model = keras.Model(values, x)

    partition = Partition(model, ["relu#1", "relu#2"])

    assert "relu" in layers_of(partition.head)
    assert "relu" in layers_of(partition.body)
    nets.assert_equals_whole(model, partition)


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
