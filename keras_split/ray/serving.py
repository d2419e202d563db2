"""A server of several processes, on one machine or several."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import fields
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from keras_split.compression import codecs
from keras_split.errors import OptionError
from keras_split.models.saved_server import SavedServer
from keras_split.models.server import ServerModel
from keras_split.protocol.status import FRONT
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status_sum import as_one
from keras_split.ray import data_parallel_serving
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.checks import check
from keras_split.ray.data_parallel_serving import DataParallelServer
from keras_split.ray.replica import Look
from keras_split.ray.replica import ReplicaConfig
from keras_split.ray.replicas import Replicas
from keras_split.ray.room import find_room
from keras_split.ray.runtime import runtime
from keras_split.server.callbacks import CallbackList
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.endpoint import Endpoint
from keras_split.server.front import Front
from keras_split.server.grpc.server import Server
from keras_split.server.observe import Audit
from keras_split.server.observe import StatusCollector
from keras_split.transports.address import is_loopback


def serve(
    server: ServerModel,
    *,
    replicas: int = 2,
    cluster: str | None = None,
    cpus: int = 1,
    gpus: float = 0.0,
    average_every: int | None = None,
    config: ServerConfig | None = None,
    listeners: Sequence[ServerCallback] = (),
    audit_log: str | os.PathLike[str] | None = None,
    log_format: str = "text",
    **options: Any,
) -> "ReplicatedServer | DataParallelServer":
    """Serves one model from several processes, behind one address.

    Each replica is an actor of Ray with a TensorFlow, bodies and a port of its
    own. The front, in this process, has the address that clients know: it
    sends each to the replica with fewest sessions, and one that comes back to
    that which has its session. Tensors do not pass it.

    Every client trains a body of its own, which lives where its session does
    (`bodies="private"`); or none is trained (`inference_only=True`); or each
    replica has one for its clients, and these become one every so many steps
    (`average_every`): local SGD.

    With a merged cohort it is otherwise: this process is its server, and the
    replicas share out the examples of each step. Their gradients are summed
    for one update, which is that of one process (data parallelism); only
    statistics of a batch, as BatchNormalization's, are those of each
    replica's examples.

    Args:
        server: What is served, as it is now. With `average_every` it has the
            mean of all bodies when they are stopped.
        replicas: How many processes.
        cluster: Of Ray: `"auto"` for that of this machine, `"host:port"`, or
            `"local"` for processes of this program. By default what
            `RAY_ADDRESS` says, or else `"local"`.
        cpus: Of each replica.
        gpus: Of each replica; 0.5 for two that share one.
        average_every: Steps that a replica takes, in the mean of those that
            train, from one average of bodies to the next; 2 or more.
        config: Where the front listens, and what each replica allows and
            keeps. Checkpoints are in a folder for each below its folder, which
            all machines share.
        listeners: Hear what happens at the front: whom it refused; or, with a
            merged cohort, everything.
        audit_log: File to which the front appends that; each replica appends
            what happens there to one beside it, `audit.replica-0.jsonl` and
            so on for `audit.jsonl`; see `keras_split.server.observe.Audit`.
        log_format: How the logs of replicas are written, `"text"` or
            `"json"`.
        **options: Fields of a `ServerConfig` instead of those of `config`.

    Returns:
        The server, which has started.

    Raises:
        BackendError: If Ray is not installed.
        DataError: If checkpoints, certificates or tokens are of no use, or
            an audit log cannot be written.
        OptionError: If that cannot be served by several.
        TransportError: If the cluster is not there or has no room, or the
            port cannot be had.
    """
    config = ServerConfig.get(config, **options)
    check(config, replicas, average_every)
    if config.cohort is not None:
        return data_parallel_serving.serve(
            server,
            config,
            replicas=replicas,
            cluster=cluster,
            cpus=cpus,
            gpus=gpus,
            listeners=listeners,
            audit_log=audit_log,
        )
    origin = None
    if average_every is not None:
        origin = BodyState(server.moment, server.half.weights())
    with contextlib.ExitStack() as stack:
        tally = StatusCollector(
            server.contract.fingerprint,
            server.contract.cut,
            inference_only=config.inference_only,
        )
        heard = [tally, *listeners]
        if audit_log is not None:
            heard.append(stack.enter_context(Audit(audit_log)))
        shared_bytes = 0
        if origin is not None:  # the body of each, and what it is moved by
            size = sum(values.nbytes for values in origin.values)
            shared_bytes = 2 * (replicas + 2) * size
        ray = stack.enter_context(
            runtime(cluster, cpus=replicas * cpus, store_bytes=shared_bytes)
        )
        find_room(ray, replicas, replicas, cpus, gpus)
        _check_reach(ray, config)
        found = Replicas(
            ray,
            SavedServer.of(server),
            [
                ReplicaConfig(
                    number,
                    _of_replica(config, number),
                    _log_of_replica(audit_log, number),
                    log_format,
                )
                for number in range(replicas)
            ],
            cpus,
            gpus,
            average_every,
            origin,
        )
        stack.callback(found.end)
        asked = replace(config, checkpoints=None, snapshots=None)
        front = Endpoint(
            Front(server.contract, found, asked, CallbackList(heard)),
            codecs.get(server.contract.codec),
            asked,
            status=lambda: made.status,
        )
        stack.callback(front.close)
        listening, owned = Server(front), contextlib.ExitStack()
        made = ReplicatedServer(listening, tally, found, server, owned)
        listening.start()
        owned.enter_context(stack.pop_all())
        return made


class ReplicatedServer:
    """A front and its replicas, until they are stopped; `serve` makes it.

    Attributes:
        target: Address and port of the front, as `"127.0.0.1:50051"`.
        port: The same port.
        endpoint: What answers clients there: where they are sent. A
            `keras_split.server.web.server.WebServer` of it shows the
            dashboard.
    """

    def __init__(
        self,
        front: Server,
        tally: StatusCollector,
        replicas: Replicas,
        model: ServerModel,
        owned: contextlib.ExitStack,
    ) -> None:
        self._front, self._replicas, self._owned = front, replicas, owned
        self._tally, self._model = tally, model
        self.target, self.port = front.target, front.port
        self.endpoint = front.endpoint

    @property
    def replicas(self) -> list[Look]:
        """How those are that serve now: address, sessions, status."""
        return self._replicas.looks

    @property
    def averages(self) -> int:
        """How often their bodies became one."""
        averaging = self._replicas.averaging
        return 0 if averaging is None else averaging.count

    @property
    def status(self) -> ServerStatus:
        """What all of them do as one server, and each by itself.

        It is of when each was last heard, and waits for none.
        """
        front = ReplicaStatus(
            FRONT, self.target, True, status=self._tally.status()
        )
        return as_one([front, *self._replicas.statuses], self.averages)

    def reload(self) -> None:
        """Reads certificates and tokens again; replicas notice new files."""
        self._front.reload()

    def wait(self) -> None:
        """Waits until the front is stopped."""
        self._front.wait()

    def stop(self, grace_s: float = 1.0) -> None:
        """Stops front and replicas; steps in flight get `grace_s` to end."""
        self._front.stop(0.0)
        self._replicas.stop(grace_s)
        averaging, model = self._replicas.averaging, self._model
        if averaging is not None and averaging.last is not None:
            model.half.set_weights(averaging.last.values)
            model.timeline = model.timeline.averaged(averaging.moments)
        self._owned.close()

    def __repr__(self) -> str:
        return f"<ReplicatedServer {self._front!r}>"

    def __enter__(self) -> "ReplicatedServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _check_reach(ray: Any, config: ServerConfig) -> None:
    machines = {
        node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]
    }
    if len(machines) > 1 and is_loopback(config.address):
        raise OptionError(
            "Expected an address that other machines reach, for replicas in "
            f"a cluster of {len(machines)}. Received: {config.address}. Listen "
            "on 0.0.0.0 (--host), with TLS."
        )


def _of_replica(config: ServerConfig, number: int) -> ServerConfig:
    """Of one of them: a port of its own, folders of its own."""

    def folder(path: Any) -> Any:
        return path and os.path.abspath(Path(path, f"replica-{number}"))

    # It may be in another folder, or on another machine.
    files: dict[str, Any] = {
        field.name: os.path.abspath(value)
        for field in fields(config.security)
        if isinstance(
            value := getattr(config.security, field.name), (str, os.PathLike)
        )
    }
    security = replace(config.security, **files)
    return replace(
        config,
        port=0,
        security=security,
        checkpoints=folder(config.checkpoints),
        snapshots=folder(config.snapshots),
    )


def _log_of_replica(
    path: str | os.PathLike[str] | None, number: int
) -> str | None:
    """`audit.replica-0.jsonl` for `audit.jsonl`."""
    if path is None:
        return None
    whole = Path(os.path.abspath(path))
    return str(whole.with_name(f"{whole.stem}.replica-{number}{whole.suffix}"))
