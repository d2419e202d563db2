"""What a set of layer calls does for one example, in numbers that add up.

A `Work` says nothing of a machine: it counts by kind of operation. A
`Profile` knows how long a machine takes for each. Kinds are as fine as the
phone's file makes them differ: there a convolution is one product of matrices
for each tap of its kernel, but over an image's few channels all taps stand
side by side in one (`litert.lowering.conv`).
"""

import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from typing import TYPE_CHECKING
from typing import Any

from keras_split.errors import DataError

if TYPE_CHECKING:
    from keras_split.partition.graph import Call

KINDS = (
    "conv_thin",
    "conv_1x1",
    "conv",
    "conv_strided",
    "depthwise",
    "depthwise_strided",
    "dense",
    "bias",
    "batchnorm",
    "relu",
    "activation",
    "max_pool",
    "average_pool",
    "pool_all",
    "pad",
    "add",
    "concat",
    "other",
    "crossing",
    "commit",
)
# As in `litert.lowering.conv`, which has TensorFlow and cannot be asked here.
_FEW_CHANNELS = 16
# More parameters than these are, with gradient and slot, in no core's cache.
_HEAVY = 2**18
_FREE = {
    *(
        "ActivityRegularization",
        "Dropout",
        "Flatten",
        "Identity",
        "InputLayer",
        "Reshape",
    ),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
}
_ADDS = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}
_PADS = {
    *("Cropping1D", "Cropping2D", "Cropping3D", "ZeroPadding1D"),
    *("ZeroPadding2D", "ZeroPadding3D"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D"),
}
_RELUS = {"relu", "relu6", "ReLU"}


@dataclass(frozen=True)
class Amount:
    """How much is done of one kind, for one example.

    Attributes:
        calls: How many layers do it.
        products: Products of matrices, or other passes, that these are made
            of: as many as a kernel has taps.
        multiply_adds: Of the forward pass; for a pool, pixels compared.
        elements: Read and written by the forward pass.
        weights: Trained parameters, whatever the size of the batch.
        heavy_weights: Those among them that are of layers with more than a
            quarter of a million.
        kept: Elements that are in memory between its forward and backward.
    """

    calls: int = 0
    products: int = 0
    multiply_adds: int = 0
    elements: int = 0
    weights: int = 0
    heavy_weights: int = 0
    kept: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.calls + other.calls,
            self.products + other.products,
            self.multiply_adds + other.multiply_adds,
            self.elements + other.elements,
            self.weights + other.weights,
            self.heavy_weights + other.heavy_weights,
            self.kept + other.kept,
        )


@dataclass(frozen=True)
class Work:
    """Amounts by kind and size; sums with `+`.

    The size tells how many elements the largest tensor of a layer has, for
    one example, in quarters of powers of two: a machine is slower at the same
    layer where tensors leave its cache, which also depends on the batch.

    Example:
    >>> one = Work({("dense", 12): Amount(calls=1, multiply_adds=12)})
    >>> (one + one).multiply_adds
    24
    >>> Work.from_config((one + one).get_config()) == one + one
    True
    """

    amounts: Mapping[tuple[str, int], Amount] = field(default_factory=dict)

    def __add__(self, other: "Work") -> "Work":
        made = dict(self.amounts)
        for key, amount in other.amounts.items():
            made[key] = made.get(key, Amount()) + amount
        return Work(made)

    @property
    def by_kind(self) -> dict[str, Amount]:
        """The amounts of all sizes together."""
        made: dict[str, Amount] = {}
        for (kind, _), amount in self.amounts.items():
            made[kind] = made.get(kind, Amount()) + amount
        return made

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and dense layers, for one example."""
        return sum(
            amount.multiply_adds
            for (kind, _), amount in self.amounts.items()
            if kind.startswith(("conv", "depthwise", "dense"))
        )

    @property
    def weights(self) -> int:
        """Trained parameters."""
        return sum(amount.weights for amount in self.amounts.values())

    def get_config(self) -> dict[str, dict[str, dict[str, int]]]:
        """Plain values, by kind and size."""
        config: dict[str, dict[str, dict[str, int]]] = {}
        for (kind, size), amount in self.amounts.items():
            config.setdefault(kind, {})[str(size)] = asdict(amount)
        return config

    @classmethod
    def from_config(cls, config: Any) -> "Work":
        """The inverse of `get_config`.

        Raises:
            DataError: If it is none of ours.
        """
        made: dict[tuple[str, int], Amount] = {}
        try:
            for kind, sizes in config.items():
                for size, amount in sizes.items():
                    made[str(kind), int(size)] = Amount(**amount)
        except (AttributeError, TypeError, ValueError):
            made = {("", 0): Amount()}
        for (kind, size), amount in made.items():
            counts = vars(amount).values()
            if (
                kind not in KINDS
                or not 0 <= size <= 256
                or any(type(n) is not int or n < 0 for n in counts)
            ):
                raise DataError(
                    "Expected the work of layers: counts of "
                    f"{', '.join(f.name for f in fields(Amount))} by kind, of "
                    f"{', '.join(KINDS)}, and size. Received: "
                    f"{str(config)[:200]}. Make it anew with "
                    "keras_split.planner.work_of(calls)."
                )
        return cls(made)


def crossing(shapes: Iterable[Sequence[int | None]]) -> Work:
    """What quantizing costs the phone, or a server, at one cut.

    Add it to the work of head, tail or body, once for each cut it touches.

    Args:
        shapes: Of one example of each tensor that crosses.
    """
    sizes = [_elements(shape) for shape in shapes]
    count, moved = len(sizes), sum(sizes)
    amount = Amount(count, count, elements=moved, kept=moved)
    return Work({("crossing", _quarters(max(sizes, default=0))): amount})


def commit(tail: Work) -> Work:
    """What it costs the phone to make a tail's update its own.

    The tail's step leaves its new weights and slots aside; `head_backward`
    copies them where they belong, for then the step is taken. Add it to the
    head's work there.

    Args:
        tail: The tail's work.
    """
    return Work({("commit", 0): Amount(calls=1, weights=tail.weights)})


def work_of(calls: "Iterable[Call]") -> Work:
    """What the calls of a graph do for one example.

    Layers that are no convolution, dense layer, normalization, pool or join
    count as one pass over what they read and write.
    """
    total = Work()
    for call in calls:
        tensors = [*call.inputs, *call.outputs]
        size = max((_elements(t.shape) for t in tensors), default=0)
        for kind, amount in _parts(call):
            total += Work({(kind, _quarters(size)): amount})
    return total


def elements_of(size: int) -> float:
    """About how many elements the size in a `Work` means."""
    return math.pow(2.0, size / 4)


def _quarters(elements: int) -> int:
    return round(4 * math.log2(elements)) if elements else 0


def _parts(call: "Call") -> list[tuple[str, Amount]]:
    """A call as amounts of kinds, its activation included."""
    layer, name = call.operation, type(call.operation).__name__
    reads = sum(_elements(tensor.shape) for tensor in call.inputs)
    writes = sum(_elements(tensor.shape) for tensor in call.outputs)
    moved = reads + writes
    trained = _trained(layer)
    if name in _FREE:
        return []
    if name in ("SeparableConv1D", "SeparableConv2D"):
        parts = _separable(call, trained)
    elif name.startswith("DepthwiseConv"):
        taps = _taps(layer)
        parts = [_depthwise(layer, taps, writes, moved, trained)]
    elif name.startswith("Conv"):
        parts = [_convolution(call, trained)]
    elif name == "Dense":
        madds = writes * (_size(layer.kernel) // max(layer.units, 1))
        parts = [("dense", _amount(1, madds, moved, trained, writes))]
    elif "Pooling" in name and not name.startswith("Global"):
        taps = math.prod(_tuple(layer.pool_size))
        kind = "max_pool" if name.startswith("Max") else "average_pool"
        seen = taps * writes  # its gradient takes the image once for each tap
        parts = [(kind, _amount(taps, seen, moved, 0, seen))]
    elif name == "Activation" and _activation(layer) == "linear":
        parts = []
    else:
        kind = _pass(layer)
        parts = [(kind, _amount(1, 0, moved, trained, writes))]
    if name == "Activation":
        return parts
    passed = _amount(1, 0, 2 * writes, 0, writes)
    if getattr(layer, "use_bias", False):
        parts.append(("bias", passed))
    activation = _activation(layer)
    if activation != "linear":
        kind = "relu" if activation in _RELUS else "activation"
        parts.append((kind, passed))
    return parts


def _pass(layer: Any) -> str:
    """The kind of a layer that goes over its tensors once."""
    name = type(layer).__name__
    if name == "ReLU" or (
        name == "Activation" and _activation(layer) in _RELUS
    ):
        return "relu"
    if name in ("Activation", "Softmax") or "ReLU" in name or "ELU" in name:
        return "activation"
    if name.endswith("Normalization"):
        return "batchnorm"
    if name.startswith("Global"):
        return "pool_all"
    if name in _ADDS:
        return "add"
    if name in _PADS:
        return "pad"
    return "concat" if name == "Concatenate" else "other"


def _amount(
    products: int, madds: int, moved: int, trained: int, kept: int
) -> Amount:
    """That of one call."""
    heavy = trained if trained > _HEAVY else 0
    return Amount(1, products, madds, moved, trained, heavy, kept)


def _activation(layer: Any) -> str:
    function = getattr(layer, "activation", None)
    return str(getattr(function, "__name__", "linear"))


def _convolution(call: "Call", trained: int) -> tuple[str, Amount]:
    layer = call.operation
    taps, size = _taps(layer), _size(layer.kernel)
    one, other = call.inputs[0].shape, call.outputs[0].shape
    if "Transpose" in type(layer).__name__:
        one, other = other, one  # it is the gradient of a convolution
    axis = 0 if layer.data_format == "channels_first" else -1
    channels, filters = one[axis] or 0, other[axis] or 0
    positions = _elements(other) // max(filters, 1)
    madds = positions * size
    strided = max(_tuple(layer.strides)) > 1
    if channels < _FEW_CHANNELS and getattr(layer, "groups", 1) == 1:
        moved = kept = positions * (taps * channels + filters)
        kind, products = "conv_thin", 1
    else:
        moved = positions * taps * (channels + filters)
        kept = positions * filters
        kind, products = "conv", taps
        if strided:
            kind = "conv_strided"
        elif taps == 1:
            kind = "conv_1x1"
    return kind, _amount(products, madds, moved, trained, kept)


def _depthwise(
    layer: Any, taps: int, writes: int, moved: int, trained: int
) -> tuple[str, Amount]:
    strided = max(_tuple(layer.strides)) > 1
    kind = "depthwise_strided" if strided else "depthwise"
    return kind, _amount(taps, taps * writes, moved, trained, writes)


def _separable(call: "Call", trained: int) -> list[tuple[str, Amount]]:
    """A depthwise convolution, and one of single pixels."""
    layer = call.operation
    axis = 0 if layer.data_format == "channels_first" else -1
    filters = call.outputs[0].shape[axis] or 1
    positions = _elements(call.outputs[0].shape) // filters
    middle = positions * layer.pointwise_kernel.shape[-2]
    reads = _elements(call.inputs[0].shape)
    written = positions * filters
    own = _size(layer.depthwise_kernel) if trained else 0
    madds = positions * _size(layer.pointwise_kernel)
    return [
        _depthwise(layer, _taps(layer), middle, reads + middle, own),
        (
            "conv_1x1",
            _amount(1, madds, middle + written, trained - own, written),
        ),
    ]


def _trained(layer: Any) -> int:
    return sum(_size(v) for v in getattr(layer, "trainable_variables", ()))


def _taps(layer: Any) -> int:
    return math.prod(_tuple(layer.kernel_size))


def _tuple(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _size(variable: Any) -> int:
    return math.prod(variable.shape)


def _elements(shape: Sequence[int | None]) -> int:
    return math.prod(size or 0 for size in shape)
