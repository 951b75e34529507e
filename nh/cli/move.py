"""`nh move`: a host gives all its calls to a standby at once, without losing a packet."""

import time
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from nh.cli.json_text import json_text
from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, connect_to, settings_of
from nh.cli.terminal import outlived, tell
from nh.commands import Demote
from nh.config import Settings
from nh.errors import Refused, StatsUnavailable, Unavailable
from nh.printable import counted

if TYPE_CHECKING:
    from nh.client import NativeClient
    from nh.results import Demoting
    from nh.stats.reading import StatsReading

EPILOG = (
    "Run it on the host that is to be empty. The standby has every call, and has bound the ports, before the "
    "address moves: by keepalived, or by on_promote of the standby. This host relays meanwhile, for the "
    "length of the lease. Then it is a standby itself if its settings say so; otherwise nh ends."
)

REPLY_S: Final = 10.0
"""How long a relay may take for a command."""

PASSING_S: Final = 3.0
"""Obstacles may pass: a standby is known two seconds after its start, a shard that died is back sooner."""

GIVEN_S: Final = 30.0
"""Saving and writing all calls, and taking them, takes no longer, or there is no move."""

OVER_S: Final = 90.0
"""The longest lease is a minute."""

POLL_S: Final = 0.05

SOME_UNSAVED: Final = 3
"""Exit status: the standby has the calls, some of them as they were saved before."""


class Moved(msgspec.Struct, frozen=True):
    """What came of a move.

    Attributes:
        to: the standby that has the calls now.
        calls: how many calls were moved.
        standby: whether this relay is a standby now; otherwise it has ended.
        took_s: seconds since the command began.
        unsaved: call-ids of calls that nh could not save, and that the standby has as they were saved before;
            of many the first ones and `…`; "": there are none.
    """

    to: str
    calls: int
    standby: bool
    took_s: float
    unsaved: str


def move(
    *,
    to: Annotated[
        str,
        typer.Option("--to", metavar="HOST", help="The standby that gets the calls (default: the only one)"),
    ] = "",
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Give all calls of this host to a standby, without losing a packet, and wait until that is done."""
    from nh.stats import read_once  # noqa: PLC0415  it takes a while to import

    settings = settings_of(config, runtime_dir, rpc)
    began = time.monotonic()
    with connect_to(settings, timeout_s=REPLY_S) as client:
        before = read_once(settings.runtime_path)
        moving = _begin(client, to)
    calls = before.totals.calls

    def progress(text: str) -> None:
        if not as_json:
            tell(text, err=True)

    progress(
        f"{counted(calls, 'call')} to {moving.to}, which has {moving.calls} of them warm: saved and written …"
    )
    with outlived("the move goes on, and `nh health` on both hosts says where the calls are"):
        unsaved = _wait_until_given(settings, before.supervisor.pid, moving.to)
        progress(
            f"{moving.to} has the calls and binds the ports; this host relays until the address has moved …"
        )
        standby = _wait_until_over(settings, before.supervisor.pid, moving.to)
    done = Moved(moving.to, calls, standby, round(time.monotonic() - began, 3), unsaved)
    if as_json:
        tell(json_text(done))
    else:
        _print(done)
    if unsaved:
        raise typer.Exit(SOME_UNSAVED)


def _print(done: Moved) -> None:
    now = "is a standby now" if done.standby else "has ended"
    tell(f"moved {counted(done.calls, 'call')} to {done.to}; nh on this host {now}; {done.took_s:.1f} s")
    if done.unsaved:
        tell(
            f"{done.to} has these calls as they were saved before, or not at all, because of a bug in nh,"
            f" which the log of this host has: {done.unsaved}",
            err=True,
        )


def _begin(client: "NativeClient", to: str) -> "Demoting":
    """Have the move begin; raises Refused if that is not possible within PASSING_S."""
    deadline = time.monotonic() + PASSING_S
    while True:
        try:
            return client.request(Demote(to))
        except Refused:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)


def _wait_until_given(settings: Settings, pid: int, to: str) -> str:
    """Wait until the standby has the calls; returns those that could not be saved, see Moved.

    Args:
        settings, pid, to: see _wait_until_over().

    Raises:
        Unavailable: they stay here, or it is not known where they are.
    """
    deadline = time.monotonic() + GIVEN_S
    while (reading := _read(settings)) is not None:
        if reading.supervisor.pid != pid:
            raise Unavailable(
                f"nh on this host was killed and started anew before it said whether {to} has the calls; ask"
                " `nh health` on both hosts"
            )
        if not reading.supervisor.serving:
            return reading.supervisor.handover_unsaved
        if not reading.supervisor.handing_over:
            why = reading.supervisor.handover_fault
            raise Unavailable(f"the calls stay here, and this host relays on: {why}")
        if time.monotonic() > deadline:
            raise Unavailable(
                f"nh on this host does not say within {GIVEN_S:g} s whether {to} has the calls; its log says"
                " why"
            )
        time.sleep(POLL_S)
    return ""


def _wait_until_over(settings: Settings, pid: int, to: str) -> bool:
    """Wait until this relay relays no more; returns whether it is a standby then, and has not ended.

    Args:
        settings: of this host's nh.
        pid: of its supervisor, which stays when it becomes a standby.
        to: the standby that has the calls.
    """
    deadline = time.monotonic() + OVER_S
    while time.monotonic() < deadline:
        reading = _read(settings)
        if reading is None:
            if _has_ended(pid):
                return False
        elif reading.supervisor.standby:
            return True
        elif reading.supervisor.serving:
            raise Unavailable(f"{to} had the calls and has died since: this host has them again")
        time.sleep(POLL_S)
    raise Unavailable(
        f"this host still relays after {OVER_S:g} s, although {to} has the calls; its log says why"
    )


def _has_ended(pid: int) -> bool:
    import psutil  # noqa: PLC0415  as above

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _read(settings: Settings) -> "StatsReading | None":
    """The statistics of this host's nh; None: none runs now."""
    from nh.stats import read_once  # noqa: PLC0415  as above

    try:
        return read_once(settings.runtime_path)
    except StatsUnavailable:
        return None
