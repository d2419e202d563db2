"""Every private name of Keras, TensorFlow and tfmot that we lean on.

Each has a function here that says which name, since when it is there and why
no public one will do, and nobody else touches one. `tests/utils/
test_keras_private.py` says in words which is gone when a new version drops
it. Tried with Keras 3.15, TensorFlow 2.21 and tfmot 0.8.1.
"""

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def flatten_layers(
    model: keras.Model, include_self: bool = True
) -> Iterator[Any]:
    """All layers of a model, those of nested models and layers included.

    `Layer._flatten_layers`, Keras 3.0 on. The public `layers` stops at the
    first level, and leaves out layers that layers hold.
    """
    yield from model._flatten_layers(include_self=include_self)


def is_stateful(operation: Any) -> bool:
    """Whether a layer, or one inside it, keeps a state between batches.

    `stateful=True` of RNNs is public, but their cells and wrappers are found
    by `Layer._flatten_layers` alone.
    """
    layers = (
        operation._flatten_layers()
        if isinstance(operation, keras.layers.Layer)
        else ()
    )
    return any(getattr(layer, "stateful", False) for layer in layers)


def functional(operation: Any) -> Any:
    """The graph of a functional or Sequential model; None for other things.

    None, too, for one with a `call` of its own, which need not follow the
    graph. `keras.src.models.functional.Functional` (Keras 3.0 on) has no
    public name, and `Sequential._functional` no public way to it.
    """
    from keras.src.models.functional import Functional

    if isinstance(operation, keras.Sequential):
        plain = type(operation).call is keras.Sequential.call
        return operation._functional if plain else None
    if isinstance(operation, Functional):
        plain = type(operation).call is Functional.call
        return operation if plain else None
    return None


def nodes_in_order(graph: Any) -> list[Any]:
    """The calls of a functional model, inputs first.

    `Functional._nodes_by_depth`, Keras 3.0 on: the only place where the calls
    of a graph are, rather than its layers.
    """
    by_depth = graph._nodes_by_depth
    return [
        node
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
    ]


def made_by(tensor: Any) -> Any:
    """The layer or operation whose output a symbolic tensor is.

    `KerasTensor._keras_history`, Keras 3.0 on.
    """
    return tensor._keras_history.operation


def inputs_struct(model: keras.Model) -> Any:
    """The inputs of a functional model as it was given them.

    `Functional._inputs_struct`, Keras 3.0 on; the public `inputs` is flat.
    """
    return model._inputs_struct


def outputs_struct(model: keras.Model) -> Any:
    """The outputs of a functional model as it was given them.

    `Functional._outputs_struct`, Keras 3.0 on; the public `outputs` is flat.
    """
    return model._outputs_struct


def compile_config(model: keras.Model) -> dict[str, Any]:
    """What a model was compiled with, as it was given; empty if it was not.

    `Trainer._compile_config`, Keras 3.0 on. The public `get_compile_config`
    serializes, and so loses a loss that is a plain function.
    """
    config = getattr(model, "_compile_config", None)
    return {} if config is None else dict(config.config)


def loss_given(model: keras.Model) -> Any:
    """The loss as a user gave it to `compile`; None without one.

    `Trainer._compile_loss` and `CompileLoss._user_loss`, Keras 3.0 on. The
    public `loss` is the same until `compile` is overridden, as ours is.
    """
    return model._compile_loss and model._compile_loss._user_loss


def build_metrics(model: keras.Model, y: Any, outputs: Any) -> None:
    """Makes a model's metrics outside the graph that is being traced.

    `Trainer._compile_metrics` and its `build`, Keras 3.0 on, which reads
    shapes alone. Keras calls it inside the graph, and TensorFlow traces a
    graph that makes variables a second time.

    Args:
        model: A compiled one.
        y: Labels, as for `compute_metrics`.
        outputs: What the model made.
    """
    metrics = model._compile_metrics
    if metrics is not None and not metrics.built:
        with tf.init_scope(), tf.variable_creator_scope(_at_once):
            metrics.build(y, outputs)


def _at_once(make: Callable[..., Any], **options: Any) -> Any:
    return make(**{**options, "experimental_enable_variable_lifting": False})


def mask_of(tensor: Any) -> Any:
    """The mask that a layer put on a tensor; None without one.

    `_keras_mask`, Keras 3.0 on; `keras.src.backend.get_keras_mask`, which
    reads it, is not public either.
    """
    return getattr(tensor, "_keras_mask", None)


def logits_of(tensor: Any) -> Any:
    """What a softmax or a sigmoid made a tensor of; None if neither did.

    `_keras_logits`, Keras 3.0 on: Keras' losses read it, to be exact where
    probabilities are not.
    """
    return getattr(tensor, "_keras_logits", None)


@contextlib.contextmanager
def overridden(
    functions: Sequence[tuple[Any, str, Callable[..., Any]]],
) -> Iterator[None]:
    """Gives layers other methods for as long as graphs are traced within.

    `Layer.__setattr__` tracks what is set, so this goes past it, through
    `object`; a method of the class shows again when it is deleted. Calls of
    Keras find what is set on the layer itself, in Keras 3.0 on.

    Args:
        functions: Layer, name of its method, and what to call instead.
    """
    with contextlib.ExitStack() as swapped:
        for layer, name, function in functions:
            object.__setattr__(layer, name, function)
            swapped.callback(object.__delattr__, layer, name)
        yield


def set_scope(layer: Any, name: str) -> None:
    """Has a layer called in a scope of another name from now on.

    `Layer._open_name_scope`, Keras 3.0 on, opens one of the layer's name.
    """
    opened = functools.partial(keras.name_scope, name, caller=layer)
    object.__setattr__(layer, "_open_name_scope", opened)


def wait_for(operation: Any, others: Sequence[Any]) -> None:
    """Makes an operation of a graph that exists wait for others.

    `tf.Operation._add_control_inputs`, TensorFlow 1.0 on. The public
    `tf.control_dependencies` works for operations yet to be made.
    """
    operation._add_control_inputs(list(others))


def tflite_schema() -> Any:
    """The classes that read and write a .tflite.

    `tensorflow.lite.python.schema_py_generated`, TensorFlow 2.4 on. LiteRT
    ships its own under a name that changed twice.
    """
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


def kernel_quantizers(layer: Any) -> list[tuple[Any, Any, Any]]:
    """Kernels that a wrapper of tfmot quantizes, and by what.

    `QuantizeWrapperV2._weight_vars`, tfmot 0.8: variable, quantizer, and the
    quantizer's variables. Empty for any other layer.
    """
    return list(getattr(layer, "_weight_vars", None) or ())


def set_kernel_quantizers(
    layer: Any, quantizers: list[tuple[Any, Any, Any]]
) -> None:
    """The inverse of `kernel_quantizers`."""
    layer._weight_vars = quantizers


def noise_shape(layer: Any, inputs: Any) -> Any:
    """The shape of the mask of a spatial dropout, broadcast to its inputs.

    `BaseSpatialDropout._get_noise_shape`, Keras 3.0 on.
    """
    return layer._get_noise_shape(inputs)


def decays(optimizer: Any, variable: Any) -> bool:
    """Whether an optimizer takes weight decay from a variable.

    `Optimizer._use_weight_decay`, Keras 3.0 on: what
    `exclude_from_weight_decay` left out. Asked as Keras asks when it takes a
    step: of TensorFlow's variable, whose name is longer.
    """
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return bool(optimizer._use_weight_decay(variable))


def excluded(
    optimizer: Any, mine: Sequence[Any] = (), theirs: Sequence[Any] = ()
) -> tuple[list[str], list[int], int]:
    """What an optimizer was told not to decay.

    `Optimizer._exclude_from_weight_decay` and
    `_exclude_from_weight_decay_pattern`, Keras 3.0 on, which no config has.

    Args:
        optimizer: It.
        mine: Variables of which nobody need be told.
        theirs: Those of which it is to be told.

    Returns:
        Parts of names; the numbers of those of `theirs`; and how many there
        are beside.
    """
    keys = set(getattr(optimizer, "_exclude_from_weight_decay", ()))
    known = [optimizer._var_key(variable) for variable in theirs]
    numbers = [i for i, key in enumerate(known) if key in keys]
    keys -= {*known, *map(optimizer._var_key, mine)}
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    names = [] if pattern is None else sorted(pattern.pattern.split("|"))
    return names, numbers, len(keys)


def move_excluded(
    optimizer: Any, before: Sequence[Any], after: Sequence[Any]
) -> None:
    """Lets what holds for some variables hold for others instead.

    `Optimizer._exclude_from_weight_decay` and its cache, Keras 3.0 on.
    """
    keys = {
        optimizer._var_key(old): optimizer._var_key(new)
        for old, new in zip(before, after, strict=True)
    }
    kept = getattr(optimizer, "_exclude_from_weight_decay", None)
    if kept:
        moved = {keys.get(key, key) for key in kept}
        optimizer._exclude_from_weight_decay = moved
    optimizer._exclude_from_weight_decay_cache = {}


def unknown_to(optimizer: Any, variables: Sequence[Any]) -> list[Any]:
    """Those variables that an optimizer was not built for; none before that.

    `Optimizer._trainable_variables_indices`, Keras 3.0 on.
    """
    known = optimizer._trainable_variables_indices
    if not optimizer.built:
        return []
    return [v for v in variables if optimizer._var_key(v) not in known]


def steps_taken(optimizer: Any) -> Any:
    """The variable that counts how often an optimizer was given gradients.

    `Optimizer._iterations`, Keras 3.0 on; the public `iterations` is that
    divided by `gradient_accumulation_steps`, and the same for several steps.
    """
    return getattr(optimizer, "inner_optimizer", optimizer)._iterations


def rate_given(optimizer: Any) -> Any:
    """The learning rate as an optimizer was given it: a number, or a schedule.

    `Optimizer._learning_rate`, Keras 3.0 on; the public `learning_rate` is
    the number of this moment.
    """
    given = getattr(optimizer, "_learning_rate", 0.0)
    scheduled = callable(given) and not isinstance(given, keras.Variable)
    return given if scheduled else float(given)


@contextlib.contextmanager
def rates_apart(
    optimizer: Any, factors: Sequence[tuple[Any, float]]
) -> Iterator[None]:
    """Lets an optimizer update variables at multiples of its learning rate.

    Keras gives each update the rate as an argument of the public
    `update_step`; `_apply_weight_decay` and `_learning_rate` are for the
    decay, which reads the optimizer's own (Keras 3.0 on).

    Args:
        optimizer: It, or a `LossScaleOptimizer` round it.
        factors: Variables, and by what the rate is multiplied for them.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    by_key = {inner._var_key(variable): factor for variable, factor in factors}
    update, decay = inner.update_step, inner._apply_weight_decay

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = by_key.get(inner._var_key(variable), 1.0)
        rate = learning_rate if factor == 1 else learning_rate * factor
        update(gradient, variable, rate)

    def apply_weight_decay(variables: Sequence[Any]) -> None:
        given = inner._learning_rate
        rate = inner.learning_rate
        for variable in variables:
            factor = by_key.get(inner._var_key(variable), 1.0)
            if factor == 1:
                decay([variable])
                continue
            scaled = keras.ops.convert_to_tensor(rate * factor)
            object.__setattr__(inner, "_learning_rate", scaled)
            try:
                decay([variable])
            finally:
                object.__setattr__(inner, "_learning_rate", given)

    with overridden(
        [
            (inner, "update_step", update_step),
            (inner, "_apply_weight_decay", apply_weight_decay),
        ]
    ):
        yield


def is_bookkeeping(name: str, bare: set[str]) -> bool:
    """Whether an attribute of an optimizer is none that a user would know.

    What `Optimizer.__init__` sets that is private (Keras 3.0 on), and what
    TensorFlow's `AutoTrackable` keeps.

    Args:
        name: Of the attribute.
        bare: Those that an optimizer has after `Optimizer.__init__`.
    """
    private = name.startswith("_") and name in bare
    tracked = name.startswith(("_self_", "_obj_", "_unconditional_"))
    return private or tracked or name in ("built", "name")


def keep_message(errors: type[Exception]) -> None:
    """Lets errors of a class come out of a call of a layer as they were.

    `_keras_call_info_injected`, Keras 3.0 on, is set on errors that have been
    told where they passed. Keras makes a new one of others, with a text in
    bold and the arguments of the call, and without what else an error has.
    """
    errors._keras_call_info_injected = True  # type: ignore[attr-defined]


def initializers(layer: Any) -> list[tuple[Any, Any]]:
    """The variables of a layer that is made anew, and their initializers.

    Made without values, so that a large layer costs nothing.
    `Variable._initializer` (Keras 3.0 on) is kept where variables are made
    in a `StatelessScope`, and nowhere else; the public attributes of layers,
    such as `kernel_initializer`, exist for some layers and variables alone.

    Args:
        layer: A layer with weights, built.

    Returns:
        Pairs in the order of `layer.variables`.

    Raises:
        Exception: Whatever the layer's class raises.
    """
    from keras.src.backend.common import global_state

    waiting = global_state.get_global_attribute("uninitialized_variables")
    before = list(waiting or ())
    try:
        with keras.StatelessScope(initialize_variables=False):
            made = type(layer).from_config(layer.get_config())
            shapes = layer.get_build_config()
            if not made.built and shapes:
                made.build_from_config(shapes)
    finally:
        # Or Keras makes their values the next time that it makes any.
        global_state.set_global_attribute("uninitialized_variables", before)
    return [(variable, variable._initializer) for variable in made.variables]


@contextlib.contextmanager
def default_generator(generator: Any) -> Iterator[None]:
    """Lets `keras.random` draw from a `SeedGenerator` where no seed is given.

    The attribute `global_seed_generator` of Keras' global state, Keras 3.0
    on; the public `keras.utils.set_random_seed` cannot give back what was
    there before.
    """
    from keras.src.backend.common import global_state

    name = "global_seed_generator"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, generator)
    try:
        yield
    finally:
        global_state.set_global_attribute(name, before)


def set_initial_epoch(model: keras.Model, epoch: int) -> None:
    """Makes a `fit` that has begun go on with another epoch.

    `Trainer._initial_epoch`, Keras 3.0 on, which Keras' own
    `BackupAndRestore` sets as well.
    """
    model._initial_epoch = epoch
