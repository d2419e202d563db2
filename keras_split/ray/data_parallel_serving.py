"""A server whose merged steps are computed by several processes."""

import contextlib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from keras_split.models.saved_server import SavedServer
from keras_split.models.server import ServerModel
from keras_split.ray.body_part import PartMaker
from keras_split.ray.data_parallel import DataParallel
from keras_split.ray.room import find_room
from keras_split.ray.runtime import runtime
from keras_split.ray.settings import settings
from keras_split.ray.workers import FOREVER
from keras_split.ray.workers import Workers
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.observe import Audit
from keras_split.training.server_merged import ServerMerged

if TYPE_CHECKING:
    from keras_split.server.endpoint import Endpoint
    from keras_split.server.grpc.server import Server


def serve(
    server: ServerModel,
    config: ServerConfig,
    *,
    replicas: int,
    cluster: str | None,
    cpus: int,
    gpus: float,
    listeners: Sequence[ServerCallback] = (),
    audit_log: str | os.PathLike[str] | None = None,
) -> "DataParallelServer":
    """Serves a merged cohort from this process; others compute its steps.

    Args:
        server: What is served.
        config: Of its server; `cohort` is a merged one.
        replicas: How many processes compute.
        cluster: As in `keras_split.ray.serve`.
        cpus: Of each process.
        gpus: Of each process.
        listeners: As in `ServerModel.serve`.
        audit_log: File to which what happens is appended.

    Raises:
        SplitError: What `ServerModel.serve` and Ray raise.
    """
    half = server.half
    size = sum(values.nbytes for values in half.weights())
    with contextlib.ExitStack() as stack:
        if audit_log is not None:
            audit = stack.enter_context(Audit(audit_log))
            listeners = [*listeners, audit]
        ray = stack.enter_context(
            runtime(
                cluster,
                cpus=replicas * cpus,
                # The weights of a step, and each process's gradients.
                store_bytes=2 * (replicas + 2) * size,
            )
        )
        find_room(ray, replicas, replicas, cpus, gpus)
        workers = Workers(
            ray,
            PartMaker(SavedServer.of(server)),
            replicas,
            cpus,
            gpus,
            settings(cpus, gpus),
            restarts=FOREVER,
        )
        stack.callback(workers.end)
        processes = workers.processes  # once all of them are there
        half.merges = DataParallel(workers, ray.put).step
        stack.callback(setattr, half, "merges", ServerMerged)
        made = server.serve(config, listeners=listeners)
        return DataParallelServer(made, processes, stack.pop_all())


class DataParallelServer:
    """A server and the processes that compute for it, until it is stopped.

    Attributes:
        target: Address and port, as `"127.0.0.1:50051"`.
        port: The same port.
        endpoint: What answers its clients.
        processes: Numbers of the processes, on their machines.
    """

    def __init__(
        self,
        server: "Server",
        processes: Sequence[int],
        owned: contextlib.ExitStack,
    ) -> None:
        self._server, self._owned = server, owned
        self.target, self.port = server.target, server.port
        self.endpoint: Endpoint = server.endpoint
        self.processes = tuple(processes)

    def reload(self) -> None:
        """Reads certificates and tokens again."""
        self._server.reload()

    def wait(self) -> None:
        """Waits until it is stopped."""
        self._server.wait()

    def stop(self, grace_s: float = 1.0) -> None:
        """Stops the server, then the processes; steps get `grace_s` to end."""
        self._server.stop(grace_s)
        self._owned.close()

    def __repr__(self) -> str:
        return f"<DataParallelServer {self._server!r}>"

    def __enter__(self) -> "DataParallelServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
