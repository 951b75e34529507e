"""`nh drain` and `nh undrain`: refuse new calls until the last one has ended, or take that back."""

from typing import Annotated

import typer

from nh.cli.json_text import json_text
from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, connect, read_seconds
from nh.cli.stats.quantities import duration
from nh.cli.terminal import tell
from nh.commands import MAX_DRAIN_S, Drain, Undrain
from nh.printable import counted
from nh.results import DrainState


def drain(
    *,
    limit_s: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=f"End after so long even if calls are left, such as 90s or 1h; 0 to {MAX_DRAIN_S} s "
            "(default: no limit)",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Refuse new calls, keep the others, and end nh after the last one.

    A second nh drain replaces the limit. SIGUSR1 to nh run does the same without a limit.
    """
    seconds = None if limit_s is None else read_seconds("--limit-s", limit_s, 0, MAX_DRAIN_S)
    with connect(config, runtime_dir, rpc) as client:
        _print(client.request(Drain(seconds)), as_json)


def undrain(
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Take nh drain back: nh accepts new calls again and does not end."""

    with connect(config, runtime_dir, rpc) as client:
        _print(client.request(Undrain()), as_json)


def _print(state: DrainState, as_json: bool) -> None:
    if as_json:
        tell(json_text(state))
        return
    calls = counted(state.calls, "call")
    if not state.draining:
        tell(f"not draining: new calls are taken; {calls} now")
    elif not state.calls:
        tell("draining: no call is left, nh ends now")
    elif state.limit_s is None:
        tell(f"draining: {calls} left, nh ends with the last one")
    else:
        tell(f"draining: {calls} left, nh ends with the last one, in {duration(state.limit_s)} at most")
