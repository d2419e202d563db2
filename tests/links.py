"""Small halves and servers for the tests of what travels between them."""

import contextlib

import keras
import numpy as np

import keras_split
from keras_split.client.strategy import SplitStrategy
from keras_split.compression import codecs
from keras_split.compression.quantize import quantize
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Hello
from keras_split.server.endpoint import Endpoint
from keras_split.server.grpc.server import Server
from keras_split.transports.grpc.transport import GrpcTransport

CUT = ("first", "drop")
SGD = '{"class_name": "SGD", "config": {"learning_rate": 0.1}}'
MOMENTUM = (
    '{"class_name": "SGD", "config": {"learning_rate": 0.1, "momentum": 0.9}}'
)


def net(seed=0, classes=3, width=4, activation="relu"):
    """Two convolutions; the body has weights, statistics and a seed."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(width, 3, 2, name="first", activation=activation)(inputs)
    x = layers.Conv2D(4, 3, 2, name="middle")(x)
    x = layers.BatchNormalization(momentum=0.5, name="norm")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.Dropout(0.25, seed=1, name="drop")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name="last")(x))


def halves(
    quantization="float32",
    cut=CUT,
    codec="raw",
    fused_batchnorm=None,
    **options,
):
    """`(client, server)` of a net of their own."""
    return keras_split.compile(
        net(**options),
        cut,
        quantization=quantization,
        codec=codec,
        fused_batchnorm=fused_batchnorm,
    )


def batch(size=8, seed=0, classes=3):
    """Images `(size, 16, 16, 1)` whose class is how bright they are."""
    rng = np.random.default_rng(seed)
    y = np.arange(size) % classes
    x = rng.normal(y[:, None, None, None], 0.5, (size, 16, 16, 1))
    return x.astype("float32"), y


def compile(client, optimizer=None, address=None, retry=None, **options):
    """Compiles a client for the classes of `batch`."""
    client.compile(
        optimizer if optimizer is not None else keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        strategy=SplitStrategy(address, retry=retry, reply_timeout_s=60),
        **options,
    )
    return client


@contextlib.contextmanager
def served(
    quantization="float32",
    activation="relu",
    fused_batchnorm=None,
    **limits,
):
    """A client and, behind a real gRPC server, a body built independently.

    Both come from builds of the same net with the same seed, and share no
    object. The server's model and the address are at hand as well.
    """
    options = {"activation": activation, "fused_batchnorm": fused_batchnorm}
    client, _ = halves(quantization, **options)
    _, server = halves(quantization, **options)
    with server.serve(port=0, **limits) as running:
        try:
            yield client, server, f"grpc://{running.target}"
        finally:
            client.close()


def tensors(specs, rule, size=8, seed=0, value=None):
    """Random cut-layer tensors, quantized as the rule says."""
    rng = np.random.default_rng(seed)
    made = []
    for spec in specs:
        x = rng.normal(size=(size, *spec.shape)).astype("float32")
        if value is not None:
            x[:] = value
        positions = None
        if rule.known:  # the first of each block, say
            count = rule.values_per_example(spec.shape)
            positions = np.zeros((size, count), "int32")
        codes, scales = quantize(x, rule, positions)
        scales = None if scales is None else np.array(scales)
        made.append(CutTensor(spec.name, x.shape, np.array(codes), scales))
    return made


def smashed(contract, **options):
    """What a head could have sent."""
    rule = contract.quantization.activations
    return tensors(contract.smashed, rule, **options)


def features_grad(contract, seed=1, **options):
    """What a tail could have sent."""
    rule = contract.quantization.gradients
    return tensors(contract.features, rule, seed=seed, **options)


def hello(contract, optimizer=SGD, **options):
    """Opens a session, or goes on with one."""
    return Hello(contract, optimizer, **options)


def take_step(answer, session, contract, step=0, seed=0, rate=0.1):
    """Sends the two messages of a step and returns the two replies."""
    features = answer(Forward(session, step, smashed(contract, seed=seed)))
    grad = features_grad(contract, seed=seed + 100)
    return features, answer(Backward(session, step, grad, rate))


def state(server):
    """Every value of the body: weights, statistics, seeds."""
    return [np.array(v) for v in server.body.variables]


def parts(values):
    """The arrays of cut-layer tensors."""
    found = []
    for tensor in values:
        found.append(tensor.codes)
        if tensor.scales is not None:
            found.append(tensor.scales)
    return found


def same(one, other):
    """Whether two lists of arrays are equal, bit for bit."""
    return len(one) == len(other) and all(
        np.asarray(a).tobytes() == np.asarray(b).tobytes()
        and np.shape(a) == np.shape(b)
        for a, b in zip(one, other, strict=True)
    )


@contextlib.contextmanager
def wire(target, codec="raw", **timeouts):
    """A transport to a server, without a client model."""
    transport = GrpcTransport(target, codecs.get(codec), **timeouts)
    try:
        yield transport
    finally:
        transport.close()


def listen(service, codec="raw", **options):
    """A gRPC server before a service of any kind, which is yet to start."""
    options = {"port": 0} | options
    return Server(Endpoint(service, codecs.get(codec), **options))
