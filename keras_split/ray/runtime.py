"""Ray in this process: joined where there is one, started where there is none.

with runtime("auto") as ray: ...
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from keras_split.errors import BackendError
from keras_split.errors import OptionError
from keras_split.errors import TransportError
from keras_split.utils.extras import install

LOCAL = "local"
_LEAST_STORE = 100 << 20  # bytes; Ray itself refuses less than 75 MB
# Ray then listens on this machine's own address 127.0.0.1 alone. It was made
# for systems on which nothing else is allowed, and does so on all.
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Warns that a cluster asks for tokens, which Ray 2.60 has by default.
_AUTHENTICATION = "ray._private.authentication.authentication_token_setup"
_ENABLED = "Token authentication is enabled"


def require_ray() -> Any:
    """The module `ray`.

    Raises:
        BackendError: If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise BackendError(
            "Expected Ray, which starts processes on one machine or several. "
            f"Received: {error}. Run: {install('ray')}"
        ) from error
    return ray


@contextlib.contextmanager
def runtime(
    address: str | None = None, *, cpus: int = 0, store_bytes: int = 0
) -> Iterator[Any]:
    """Ray while it is needed.

    Who has called `ray.init` keeps what that made. Otherwise this process
    joins a cluster, and leaves it in the end; or Ray is started on this
    machine, for this process alone, and ended with all its processes.

    Args:
        address: `"auto"` for the cluster whose node runs on this machine;
            `"host:port"` of a cluster; `"local"` for a Ray of this process.
            By default what `RAY_ADDRESS` says, or else `"local"`.
        cpus: That a Ray of this process uses; 0 for all.
        store_bytes: What its shared memory has room for; it takes 100 MB or
            more.

    Yields:
        The module `ray`.

    Raises:
        BackendError: If Ray is not installed.
        TransportError: If there is no cluster there.
        OptionError: If this process is in another cluster.
    """
    address = address or os.environ.get("RAY_ADDRESS") or ""
    local = address in ("", LOCAL)
    with _loopback(local):
        ray = require_ray()
        if ray.is_initialized():
            if address and address != "auto":
                raise OptionError(
                    "Expected no address, for Ray is running in this process. "
                    f"Received: {address!r}. Leave it out, or call "
                    "ray.shutdown() first."
                )
            yield ray
            return
        options: dict[str, Any] = {"address": address or LOCAL}
        if local:
            # Nothing is told to Ray's makers by who did not ask for it.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            options |= {
                "num_cpus": cpus or None,
                "include_dashboard": False,
                "object_store_memory": max(_LEAST_STORE, store_bytes),
                "_node_ip_address": "127.0.0.1",
            }
        try:
            with warnings.catch_warnings(), _calm():
                # Of what its next versions will do with GPUs: `workers` says.
                warnings.simplefilter("ignore", FutureWarning)
                ray.init(
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level="error",
                    **options,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreached(address, error) from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _loopback(local: bool) -> Iterator[None]:
    """Has Ray be of this machine alone, unless it is loaded already."""
    if not local or "ray" in sys.modules or _LOOPBACK in os.environ:
        yield
        return
    os.environ[_LOOPBACK] = "0"
    try:
        yield
    finally:
        del os.environ[_LOOPBACK]


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Has Ray say nothing of its tokens, unless it has none."""
    logger = logging.getLogger(_AUTHENTICATION)

    def is_worth_a_line(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_ENABLED)

    logger.addFilter(is_worth_a_line)
    try:
        yield
    finally:
        logger.removeFilter(is_worth_a_line)


def _unreached(address: str, error: Exception) -> TransportError:
    what = str(error).split("\n", 1)[0][:300]
    if address in ("", LOCAL):
        return TransportError(
            f"Expected Ray to start on this machine. Received: {what} Look "
            "into /tmp/ray/session_latest/logs."
        )
    return TransportError(
        f"Expected a cluster of Ray at {address!r}. Received: {what} Start "
        "one with `ray start --head`, or leave the address out for one "
        "of this process."
    )
