"""`keras-split status`: what a server is doing."""

import dataclasses
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click
from rich.console import Group
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from keras_split.errors import TransportError
from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.protocol.times import Times
from keras_split.utils.counted import counted
from keras_split.utils.plain import plain
from keras_split_cli.amount import Amount
from keras_split_cli.connection import Connection
from keras_split_cli.connection import tls_options
from keras_split_cli.console import out
from keras_split_cli.console import size

_TOP = ("steps", "steps/s", "uplink", "downlink", "memory", "uptime")


@click.command()
@click.argument("address", metavar="HOST:PORT")
@tls_options
@click.option("--once", is_flag=True, help="Print it once.")
@click.option(
    "--every",
    type=Amount(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to ask.",
)
@click.option("--json", "as_json", is_flag=True, help="Once, for programs.")
def status(
    address: str,
    once: bool,
    every: float,
    as_json: bool,
    **connection: Any,
) -> None:
    """Show what a server is doing: sessions, steps, bytes, refusals.

    A live table on a terminal; elsewhere it is printed once.

    \b
    keras-split status 127.0.0.1:50051
    keras-split status gpu.example.org:50051 --tls-ca ca.pem --json

    A server with an operator's token (serve --operator-token) tells its
    operator alone: show it with --token-file. Others tell every client.

    End it with Ctrl-C.
    """  # noqa: D301 (\b is click's, for lines as they are)
    from keras_split.transports.grpc.status import fetch

    reached = Connection.take(address, connection, "HOST:PORT")

    def ask() -> ServerStatus:
        assert reached.address is not None
        return fetch(reached.address, credentials=reached.credentials)

    if as_json:
        click.echo(json.dumps(dataclasses.asdict(ask())))
    elif once or not out.is_terminal:
        out.print(table(ask()))
    else:
        try:
            _watch(ask, every)
        except KeyboardInterrupt:
            pass


def table(
    now: ServerStatus, before: ServerStatus | None = None, note: str = ""
) -> Group:
    """A status as people read it.

    Args:
        now: The status.
        before: An earlier one, for the steps a second and their times since
            then; without it the former are not known, the latter are of all.
        note: What else there is to say.
    """
    seconds = now.uptime_s - (before.uptime_s if before else 0.0)
    if seconds < 0:  # the server was started again
        before, seconds = None, now.uptime_s
    steps = {s.label: s.steps for s in before.sessions} if before else {}
    lines: list[RenderableType] = [
        Text.assemble(
            (plain(now.fingerprint[:12]), "bold"),
            (" only predicts" if now.inference_only else "", "cyan"),
            (" is about to stop" if now.draining else "", "yellow"),
        ),
        Text(f"cut at {plain(', '.join(now.cut))}", style="dim"),
        _totals(
            now, _rate(now.steps, before.steps if before else None, seconds)
        ),
        Text(f"body  {_moment(now)}"),
        *([Text(f"cohort  {_cohort(now.cohort)}")] if now.cohort else []),
        Text(f"a step  {_step_times(now, before)}"),
        Text(f"sessions  {plain(_so_far(now))}"),
        Text(f"refusals  {plain(_counted(now.refusals))}"),
        Text(f"last checkpoint  {_checkpoint(now)}\n"),
        *([_replicas(now, before, seconds)] if now.replicas else []),
        _sessions(now.sessions, steps, seconds),
    ]
    if note:
        lines.append(Text(f"\n{note}", style="yellow"))
    return Group(*lines)


def _watch(ask: Callable[[], ServerStatus], every: float) -> None:
    """Asks again and again; a server that goes away may come back."""
    before: ServerStatus | None = None
    now = ask()
    shown = table(now)
    with Live(shown, console=out, auto_refresh=False, transient=False) as live:
        while True:
            live.update(shown, refresh=True)
            time.sleep(every)
            try:
                before, now = now, ask()
                shown = table(now, before)
            except TransportError as error:
                shown = table(now, before, str(error))


def _totals(now: ServerStatus, rate: str) -> Table:
    made = _table()
    for title in _TOP:
        made.add_column(title, justify="right", no_wrap=True)
    made.add_row(
        f"{now.steps:,}",
        rate,
        size(now.uplink_bytes),
        size(now.downlink_bytes),
        size(now.memory_bytes) if now.memory_bytes else "?",
        _duration(now.uptime_s),
    )
    return made


def _replicas(
    now: ServerStatus, before: ServerStatus | None, seconds: float
) -> Group:
    """A row for each process; a dim one for what nobody is sent to."""
    made = _table()
    made.add_column("replica", no_wrap=True, style="bold")
    made.add_column("serves", no_wrap=True)
    for title in ("sessions", "steps", "steps/s", "uplink", "downlink"):
        made.add_column(title, justify="right", no_wrap=True)
    made.add_column("memory", justify="right", no_wrap=True)
    made.add_column("restarts", justify="right", no_wrap=True)
    then = before.replicas if before else ()
    steps = {one.name: one.status.steps for one in then}
    for one in now.replicas:
        does = one.status
        made.add_row(
            Text(plain(one.name)),
            "yes" if one.up else f"no, {_duration(one.silent_s)}",
            f"{sum(s.replica == one.name for s in now.sessions):,}",
            f"{does.steps:,}",
            _rate(does.steps, steps.get(one.name), seconds),
            size(does.uplink_bytes),
            size(does.downlink_bytes),
            size(does.memory_bytes) if does.memory_bytes else "?",
            f"{one.restarts:,}",
            style="" if one.up else "dim",
        )
    return Group(made, "")


def _sessions(
    sessions: tuple[SessionStatus, ...], before: dict[str, int], seconds: float
) -> Table | Text:
    if not sessions:
        return Text("no session is open", style="dim")
    made = _table()
    made.add_column("session", no_wrap=True, style="bold")
    several = any(session.replica for session in sessions)
    if several:
        made.add_column("on", no_wrap=True)
    made.add_column("client", no_wrap=True)
    for title in ("steps", "steps/s", "uplink", "downlink", "idle"):
        made.add_column(title, justify="right", no_wrap=True)
    made.add_column("connected", no_wrap=True)
    for session in sessions:
        made.add_row(
            Text(plain(session.label)),
            *([Text(plain(session.replica))] if several else []),
            Text(_short(session.client or session.peer)),
            f"{session.steps:,}",
            _rate(session.steps, before.get(session.label), seconds),
            size(session.uplink_bytes),
            size(session.downlink_bytes),
            _duration(session.idle_s),
            "yes" if session.connected else "no",
        )
    return made


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))


def _rate(now: int, before: int | None, seconds: float) -> str:
    if before is None or seconds <= 0:
        return "-"
    return f"{max(0, now - before) / seconds:.1f}"


def _counted(numbers: dict[str, int]) -> str:
    found = sorted(numbers.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {n:,}" for reason, n in found) or "none"


def _so_far(now: ServerStatus) -> str:
    return (
        f"{len(now.sessions):,} open; {now.sessions_opened:,} opened, "
        f"{now.sessions_resumed:,} resumed; ended: "
        f"{_counted(now.sessions_closed)}"
    )


def _step_times(now: ServerStatus, before: ServerStatus | None) -> str:
    """What a step took since the last look; of all, if there was none."""

    def told(times: Times, then: Times) -> str:
        lately = times.since(then)
        shown = lately if lately.count else times
        mean_s, most_s = shown.mean_s, shown.within_s(0.95)
        if mean_s is None or most_s is None:
            return "-"
        return f"{_brief(mean_s)} (95% within {_brief(most_s)})"

    then = before or ServerStatus("")
    queue = told(now.queue_times, then.queue_times)
    compute = told(now.compute_times, then.compute_times)
    return f"waits {queue}, computes {compute}"


def _brief(seconds: float) -> str:
    """A short time.

    Example:
    >>> _brief(0.00042), _brief(0.035), _brief(2.104)
    ('0.42 ms', '35 ms', '2.1 s')
    """
    if seconds >= 1:
        return f"{seconds:.1f} s"
    ms = 1000 * seconds
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2g} ms"


def _moment(now: ServerStatus) -> str:
    if now.moment or not now.steps:
        return plain(str(now.moment))
    if any(one.status.moment for one in now.replicas):
        times = counted(now.averages, "time")
        return f"one for each replica, averaged {times}"
    return "one for each session"


def _cohort(cohort: CohortStatus) -> str:
    """In a line: who is here, and how the last round or step went."""
    here = ", ".join(map(str, cohort.present)) or "none"
    said = [
        f"{plain(cohort.mode)} {plain(cohort.name[:8])}",
        f"{len(cohort.present)} of {cohort.phones} phones here ({here})",
        "halves under masks" if cohort.secure else "halves in plain",
    ]
    if cohort.number >= 0:
        what = "round" if cohort.rounds else "step"
        said.append(f"{what} {cohort.number:,} took {cohort.last_s:.2f} s")
    if cohort.last_dropped:
        said.append(f"without {', '.join(map(str, cohort.last_dropped))}")
    return "; ".join(said)


def _checkpoint(now: ServerStatus) -> str:
    if now.checkpoint_age_s is None:
        return "none"
    took_s = now.checkpoint_times.mean_s
    took = "" if took_s is None else f"; one takes {_brief(took_s)}"
    return f"{_duration(now.checkpoint_age_s)} ago{took}"


def _short(name: str, width: int = 20) -> str:
    """A client's name, or its address, in what a row has room for."""
    name = plain(name.removeprefix("ipv4:").removeprefix("ipv6:"))
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _duration(seconds: float) -> str:
    """Seconds as people read them.

    Example:
    >>> _duration(3.2), _duration(7384)
    ('3 s', '2:03:04')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return str(timedelta(seconds=round(seconds)))
