"""Options of `serve` for several processes: how many, how large, and where."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar
from typing import cast

import click

from keras_split.errors import OptionError
from keras_split.protocol.status import ReplicaStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status_sum import as_one
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.observe import Audit
from keras_split_cli.amount import Amount
from keras_split_cli.console import tell

if TYPE_CHECKING:
    from keras_split.ray import DataParallelServer
    from keras_split.ray import ReplicatedServer

_F = TypeVar("_F", bound=Callable[..., Any])

NAMES = (
    *("replicas", "cluster", "replica_cpus", "replica_gpus"),
    "average_every",
)
_OPTIONS = [
    click.option(
        "--replicas",
        type=click.IntRange(min=1),
        metavar="N",
        help="Serve from so many processes, which Ray starts; phones call "
        "this one, and are sent to one of them. With --average-every, "
        "--bodies private or --inference-only. With --cohort merged they "
        "compute each step together, for this one.",
    ),
    click.option(
        "--ray",
        "cluster",
        metavar="ADDRESS",
        help="Cluster for the replicas: HOST:PORT, or auto for that of this "
        "machine. [default: RAY_ADDRESS, or else this machine alone]",
    ),
    click.option(
        "--replica-cpus",
        type=click.IntRange(min=1),
        help="CPUs of each. [default: 1]",
    ),
    click.option(
        "--replica-gpus",
        type=Amount(min=0),
        help="GPUs of each; 0.5 for two that share one. [default: 0]",
    ),
    click.option(
        "--average-every",
        type=int,
        metavar="STEPS",
        help="Make the bodies of all replicas one, their mean, after so many "
        "steps of each: 2 or more.",
    ),
]


def replicas_options(command: _F) -> _F:
    """Adds the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Replicas:
    """Serves from several processes, if that was asked for.

    Args:
        count: How many.
        **options: Of `keras_split.ray.serve`.

    Attributes:
        count: The same.
        shares: Whether they share out the steps of one server.
    """

    def __init__(
        self, count: int, *, shares: bool = False, **options: Any
    ) -> None:
        self.count, self.shares = count, shares
        self._options = options
        self._server: ReplicatedServer | None = None

    @classmethod
    def take(cls, given: dict[str, Any], **beside: Any) -> "Replicas | None":
        """From the options of a command, which then has them no more.

        Args:
            given: Of `replicas_options`, among others.
            **beside: Other options of the command.

        Raises:
            OptionError: If one of them does not go with the others.
            DataError: If the audit log cannot be written.
            BackendError: If Ray is not installed.
        """
        count, cluster, cpus, gpus, every = (given.pop(name) for name in NAMES)
        audit_log = beside.get("audit_log")
        if count is None:
            for option, value in (
                ("--ray", cluster),
                ("--replica-cpus", cpus),
                ("--replica-gpus", gpus),
                ("--average-every", every),
            ):
                if value is not None:
                    raise OptionError(
                        f"Expected --replicas beside {option}. Received: "
                        "none. Say how many, or leave it out."
                    )
            return None
        shares = given.get("cohort") is not None
        one = shares or every is not None  # body in the end
        if beside.get("save") is not None and not one:
            raise OptionError(
                "Expected no --save with --replicas: that is of one process. "
                "Received: both. Leave one of them out."
            )
        from keras_split.ray.checks import check_every
        from keras_split.ray.runtime import require_ray

        if every is not None:
            check_every(every)
        require_ray()
        if shares:
            audit_log = None  # that server has it
        if audit_log is not None:
            Audit(audit_log).close()  # before a model is loaded
        return cls(
            count,
            shares=shares,
            cluster=cluster,
            cpus=cpus or 1,
            gpus=gpus or 0.0,
            average_every=every,
            audit_log=audit_log,
            log_format=beside.get("log_format", "text"),
        )

    def check(self, config: ServerConfig) -> None:
        """Whether they can serve so, before a model is loaded.

        Raises:
            OptionError: If not, and why.
        """
        from keras_split.ray.checks import check

        check(config, self.count, self._options["average_every"])

    def status(self) -> ServerStatus:
        """What they do; none is up before they are started."""
        if self._server is not None:
            return self._server.status
        return as_one([ReplicaStatus(str(n)) for n in range(self.count)])

    def serve(
        self,
        model: Any,
        config: ServerConfig,
        listeners: Sequence[ServerCallback],
    ) -> "ReplicatedServer | DataParallelServer":
        """Starts them."""
        from keras_split.ray import serve

        made: Any = serve(
            model,
            replicas=self.count,
            config=config,
            listeners=listeners,
            **self._options,
        )
        if not self.shares:
            self._server = made
        return cast("ReplicatedServer | DataParallelServer", made)

    def show(self, server: Any) -> None:
        """Says where they are."""
        if self.shares:
            tell(f"Each step is shared out among {self.count} processes")
            return
        addresses = ", ".join(look.address for look in server.replicas)
        tell(f"Phones are sent on to one of {self.count}: {addresses}")
