"""`nh health`: one line and an exit status, for scripts and container health checks."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, no_statistics, settings_of
from nh.cli.terminal import tell
from nh.commands import Ping
from nh.config import Settings
from nh.errors import CommandTimeout, NhError, NotRunning
from nh.printable import counted

if TYPE_CHECKING:
    from nh.stats.reading import StatsReading

EPILOG = "The exit status is 0 if nh is well, 1 if it is not or does not run, 2 if a setting cannot be used."

REPLY_S = 2.0
"""nh may take so long to answer a ping."""


class Health(msgspec.Struct, frozen=True):
    """What `nh health` finds.

    Attributes:
        alive: whether nh works; while it starts or drains, it does.
        ready: whether it takes new calls.
        why: why it is not ready, or not alive; "" if it is both.
        shards, shards_up, calls: as last published.
        draining: whether new calls are refused.
        version: of the nh that runs; "": none runs.
        load_percent: use of the limit that is closest to be reached.
        at_limit: number of shards that refuse new calls because a limit is reached.
        limits: the names of these limits.
        store_fault: why calls are not stored now, although nh works; "": they are, or are not to be.
        group: the prefix under which nh has its calls on a server; "": on none.
        standby_since: wall clock since which nh is a standby, seconds since 1970; 0: it is none.
        standby_groups: of a standby: whose calls it follows, as in `nh stats --json`.
    """

    alive: bool
    ready: bool
    why: str = ""
    shards: int = 0
    shards_up: int = 0
    calls: int = 0
    draining: bool = False
    version: str = ""
    load_percent: int = 0
    at_limit: int = 0
    limits: tuple[str, ...] = ()
    store_fault: str = ""
    group: str = ""
    standby_since: float = 0.0
    standby_groups: tuple[dict[str, object], ...] = ()


def health(
    *,
    alive: Annotated[
        bool,
        typer.Option(
            "--alive", help="Ask whether nh works, also while it starts or drains.", show_default=False
        ),
    ] = False,
    group: Annotated[
        str, typer.Option(metavar="NAME", help="Fail unless nh has the calls of this prefix= of `state`.")
    ] = "",
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Say in one line whether nh takes new calls, and exit with 0 if it does.

    It reads the statistics, and has nh answer a ping within 2 s.
    """
    found = examine(settings_of(config, runtime_dir, rpc), group)
    if as_json:
        tell(msgspec.json.encode(found))
    else:
        well = f"ok: {found.shards_up} of {counted(found.shards, 'shard')} up, {counted(found.calls, 'call')}"
        if found.at_limit:
            refuse = "refuses" if found.at_limit == 1 else "refuse"
            well += f"; {found.at_limit} of them {refuse} new calls: {', '.join(found.limits)}"
        if found.store_fault:
            well += f"; calls are not stored: {found.store_fault}"
        tell(found.why or well)
    if not (found.alive if alive else found.ready):
        raise typer.Exit(1)


def examine(settings: Settings, group: str = "") -> Health:
    """The health of the nh with these settings, from its statistics and its answer to a ping.

    Args:
        settings: that lead to it.
        group: whose calls it is to have; see why_not_ready().
    """
    from nh.client import NativeClient  # noqa: PLC0415  other subcommands do without
    from nh.stats import read_once  # noqa: PLC0415
    from nh.stats.health import why_not_alive, why_not_ready  # noqa: PLC0415

    try:
        reading = read_once(settings.runtime_path)
    except NhError as exc:
        missing = isinstance(exc.__cause__, FileNotFoundError)
        return Health(False, False, str(no_statistics(settings.runtime_path) if missing else exc))
    why_dead = why_not_alive(reading)
    why = why_dead or why_not_ready(reading, group)
    if not why:
        try:
            with NativeClient(settings.rpc_addresses[0], timeout_s=REPLY_S) as client:
                client.request(Ping())
        except NotRunning as exc:
            why = why_dead = str(exc)
        except CommandTimeout:
            why = why_dead = (
                f"nh answers no ping within {REPLY_S:g} s: the supervisor is overloaded or hangs;"
                " `nh stats` shows whether it is silent"
            )
        except NhError as exc:
            why = why_dead = f"nh does not answer: {exc}"
    return _health(reading, alive=not why_dead, why=why)


def _health(reading: "StatsReading", *, alive: bool, why: str) -> Health:
    from nh.stats import ShardState  # noqa: PLC0415
    from nh.stats.fields import to_builtins  # noqa: PLC0415

    return Health(
        alive,
        not why,
        why,
        shards=len(reading.shards),
        shards_up=sum(shard.state is ShardState.UP for shard in reading.shards),
        calls=reading.totals.calls,
        draining=bool(reading.supervisor.draining),
        version=reading.version,
        load_percent=reading.totals.load_percent,
        at_limit=reading.totals.at_limit,
        limits=tuple(reading.limits),
        store_fault=reading.supervisor.store_fault,
        group=reading.supervisor.group,
        standby_since=reading.supervisor.standby_since,
        standby_groups=tuple(map(to_builtins, reading.supervisor.followed)),
    )
