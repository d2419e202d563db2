"""Python in the middle of a graph."""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import SplitError


class HostCalls:
    """Calls Python from graphs, and raises what it raised.

    TensorFlow makes an error of its own of an exception in a host callback;
    round the graph, `explained` puts the exception back.
    """

    def __init__(self) -> None:
        self._failure: Exception | None = None

    def __call__(
        self,
        function: Callable[..., list[Any]],
        inputs: list[tf.Tensor],
        dtypes: list[tf.DType],
        after: Sequence[tf.Tensor] = (),
    ) -> list[tf.Tensor]:
        """What a function makes of tensors when the graph runs.

        Args:
            function: Takes and returns arrays.
            inputs: What it is given.
            dtypes: Of what it returns.
            after: What has to be there first.
        """

        def call(*arrays: Any) -> list[Any]:
            try:
                return function(*arrays)
            except Exception as error:
                self._failure = error
                raise

        # Eagerly, a list of one comes back as its element.
        with tf.control_dependencies(list(after)):
            made: list[tf.Tensor] = keras.tree.flatten(
                tf.numpy_function(call, inputs, dtypes)
            )
        return made

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Raises what a call raised, not TensorFlow's report of it."""
        self._failure = None
        try:
            yield
        except (tf.errors.OpError, SplitError) as error:
            failure = self._failure
            if failure is None or failure is error:
                raise
            # The report shows the same exception again, and where it passed
            # through TensorFlow.
            raise failure from failure.__cause__
        finally:
            self._failure = None
