"""`nh upgrade` and `nh shards`: replace the code, settings or shards of a running nh, and lose no call."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from nh.cli.json_text import json_text
from nh.cli.options import (
    AsJson,
    ConfigFile,
    RpcAddress,
    RuntimeDir,
    connect_to,
    read_number,
    settings_of,
)
from nh.cli.terminal import outlived, tell
from nh.commands import GetStats, Upgrade
from nh.config import Settings
from nh.errors import NhError, Unavailable
from nh.printable import counted

if TYPE_CHECKING:
    from nh.client import NativeClient

ASK_S: Final = 75.0
"""How long nh may take to check whether the installed code can take over: longer than it waits for that."""

DONE_S: Final = 60.0
"""How long the new nh may take to serve, and to answer a request."""

ENDED_S: Final = 10.0
"""An nh that has ended may be started again so much later, by its service manager."""

POLL_S: Final = 0.1

SILENT_S: Final = 5.0
"""After so many seconds a command says what it waits for; other commands wait no longer for a reply."""


class Upgraded(msgspec.Struct, frozen=True):
    """The outcome of an upgrade.

    Args:
        version: of the nh that runs now.
        shards: how many shards it has.
        calls: how many calls it has.
        took_s: seconds since the command began.
    """

    version: str
    shards: int
    calls: int
    took_s: float


def upgrade(
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Replace the running nh by the installed one, with the current settings; calls go on.

    If the installed nh cannot take over, it says why, and the running one stays. SIGUSR2 to nh run does the
    same.
    """
    _upgrade(settings_of(config, runtime_dir, rpc), None, as_json)


def shards(
    *,
    number: Annotated[str, typer.Argument(metavar="N", help="How many shards, 1 to 256")],
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Change the number of shards; a call stays on its shard, as long as that shard stays.

    The number holds until nh is restarted. To make it last, change the settings too.
    """
    wanted = read_number("shards", number, 1, 256)
    _upgrade(settings_of(config, runtime_dir, rpc), wanted, as_json)


def _upgrade(settings: Settings, number: int | None, as_json: bool) -> None:
    began = time.monotonic()
    with connect_to(settings, timeout_s=ASK_S) as client:
        with announced_wait("a reply of nh; `nh doctor` says whether it hangs"):
            before = _started(client)
        with announced_wait("nh, which lets the installed code check the settings"):
            version = client.request(Upgrade(number)).version
    if not as_json:
        tell(f"nh {version} takes over …", err=True)
    with (
        outlived("the upgrade goes on, and `nh health` says when the new nh serves"),
        announced_wait("the new nh to serve; its log says what it does"),
    ):
        values = wait_for_successor(settings.rpc_addresses[0], before, settings.runtime_path)
    totals, found = values["totals"], values["shards"]
    assert isinstance(totals, dict)
    assert isinstance(found, list)
    done = Upgraded(version, len(found), int(totals["calls"]), round(time.monotonic() - began, 3))
    if as_json:
        tell(json_text(done))
    else:
        goes = f"{counted(done.calls, 'call')} {'goes' if done.calls == 1 else 'go'}"
        count = counted(done.shards, "shard")
        tell(f"nh {done.version} runs with {count}; {goes} on; {done.took_s:.1f} s")


@contextmanager
def announced_wait(what: str) -> Iterator[None]:
    """Say on standard error what a block waits for, if it takes longer than SILENT_S."""
    timer = threading.Timer(SILENT_S, tell, (f"waiting for {what}",), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _started(client: "NativeClient") -> object:
    supervisor = client.request(GetStats()).values["supervisor"]
    assert isinstance(supervisor, dict)
    return supervisor["started"]


def wait_for_successor(
    address: str,
    before: object,
    runtime_path: Path,
    *,
    patience_s: float = DONE_S,
    ended_s: float = ENDED_S,
) -> dict[str, object]:
    """The statistics of the next supervisor, as soon as it serves.

    Args:
        address: where both serve RPC.
        before: when the present supervisor started, by its statistics.
        runtime_path: of both.
        patience_s: seconds after which it is given up.
        ended_s: the same where the process has ended, which can be told on the host of nh alone.

    Raises:
        Unavailable: none serves in time.
    """
    from nh.client import NativeClient  # noqa: PLC0415  clients take a while to import
    from nh.supervisor.running_nh import running_pid  # noqa: PLC0415  as above

    deadline = time.monotonic() + patience_s
    runs_here = running_pid(runtime_path) is not None
    ran_at = time.monotonic()
    while True:
        why = f"the old nh still serves after {patience_s:g} s; its log says why. No call has ended"
        try:
            with NativeClient(address, timeout_s=DONE_S) as client:
                values = client.request(GetStats()).values
                supervisor = values["supervisor"]
                if isinstance(supervisor, dict) and supervisor["started"] != before:
                    return values
        except NhError as exc:
            why = (
                f"the new nh does not answer ({exc}); its log says why. Calls go on in the old shards:"
                " start nh again"
            )
            if not runs_here or running_pid(runtime_path) is not None:
                ran_at = time.monotonic()
            elif time.monotonic() >= ran_at + ended_s:
                raise Unavailable(
                    "the new nh has ended; its log says why. Calls go on in the old shards: start nh again"
                ) from exc
        if time.monotonic() > deadline:
            raise Unavailable(why)
        time.sleep(POLL_S)
