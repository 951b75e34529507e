"""`nh calls` and `nh close`: list calls, show one in full, end one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from nh.cli.calls.callid import json_text, read_id
from nh.cli.options import (
    AsJson,
    ConfigFile,
    RpcAddress,
    RuntimeDir,
    completing,
    connect,
    read_number,
    settings_of,
)
from nh.commands import CallOrder, ListCalls
from nh.errors import ConfigError, MalformedRequest, NhError, UnknownCall
from nh.printable import show_id
from nh.wire.fields import make_network, make_order

_ID_HELP: Final = r"as nh calls shows it (\xNN is a byte, \\ a backslash); behind -- if it begins with -"
COMPLETION_S: Final = 1.0
"""nh may take so long to answer the shell."""

MOST_COMPLETED: Final = 200

_WHICH: Final = "Which calls"


@contextmanager
def naming(call_id: bytes) -> Iterator[None]:
    """Let the error of an unknown call name it."""
    try:
        yield
    except UnknownCall as exc:
        raise UnknownCall(f"no call '{show_id(call_id)}' here; `nh calls` lists them") from exc


def complete_call_id(ctx: typer.Context, incomplete: str) -> list[str]:
    """The call-ids that begin with what was typed, for the shell; none if nh cannot be asked now."""
    from nh.client import NativeClient  # noqa: PLC0415

    try:
        begun = read_id(incomplete)
        settings = settings_of(*(ctx.params.get(name) for name in ("config", "runtime_dir", "rpc")))
        with NativeClient(settings.rpc_addresses[0], timeout_s=COMPLETION_S) as client:
            page = client.request(ListCalls(contains=begun, limit=MOST_COMPLETED))
    except (NhError, OSError):
        return []
    return [show_id(call.call_id) for call in page.calls if call.call_id.startswith(begun)]


CallId = Annotated[
    str,
    typer.Argument(
        metavar="CALL-ID",
        help=f"The call, {_ID_HELP}.",
        show_default=False,
        autocompletion=complete_call_id,
    ),
]


def calls(
    call_id: Annotated[
        str | None,
        typer.Argument(
            metavar="CALL-ID",
            help=f"Show this call in full; {_ID_HELP}.",
            show_default=False,
            autocompletion=complete_call_id,
        ),
    ] = None,
    *,
    contains: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="List only calls whose call-id contains this.",
            show_default=False,
            rich_help_panel=_WHICH,
        ),
    ] = "",
    one_way: Annotated[
        bool,
        typer.Option("--one-way", help="List calls with media from one end only.", rich_help_panel=_WHICH),
    ] = False,
    silent: Annotated[
        bool,
        typer.Option(
            "--silent",
            help="List calls without media; with --one-way: these and those.",
            rich_help_panel=_WHICH,
        ),
    ] = False,
    address: Annotated[
        str,
        typer.Option(
            metavar="IP[/LEN]",
            help="List only calls with an end at this address, or in this network.",
            show_default=False,
            rich_help_panel=_WHICH,
        ),
    ] = "",
    sort: Annotated[
        str,
        typer.Option(
            metavar="ORDER",
            help=f"The order: {', '.join(CallOrder)}; what is oldest, longest, most, worst comes first.",
            autocompletion=completing(CallOrder),
            rich_help_panel=_WHICH,
        ),
    ] = CallOrder.CALL_ID.value,
    ended: Annotated[
        bool,
        typer.Option(
            "--ended",
            help="List calls that have ended, the latest first; with CALL-ID, show the record of that one.",
            rich_help_panel=_WHICH,
        ),
    ] = False,
    limit: Annotated[
        str, typer.Option(metavar="N", help="Most calls to list; 1 or more.", rich_help_panel=_WHICH)
    ] = "100",
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """List calls, or show one in full; of one that has ended, its record.

    A line shows for each end its address, its codec, the loss before the relay, and the MOS. --json prints a
    line of JSON for each call.
    """
    from nh.cli.calls import output as calls_output  # noqa: PLC0415  rich takes a while to import

    most, command = read_number("limit", limit, 1), _list_command(contains, one_way, silent, address, sort)
    wanted = read_id(call_id or "")
    if call_id is not None and command != ListCalls():
        raise ConfigError(
            "command line: CALL-ID shows one call: the options that select calls are for a list"
        )
    if ended and command != ListCalls(command.contains):
        raise ConfigError(
            "command line: --ended takes --contains and --limit: other options are for calls that go on"
        )
    with naming(wanted), connect(config, runtime_dir, rpc) as client:
        if call_id is not None:
            calls_output.print_call(client, wanted, ended=ended, as_json=as_json)
            return
        if ended:
            more = calls_output.print_ended(client, command.contains, most, as_json)
        else:
            more = calls_output.print_list(client, command, most, as_json)
        if more:
            there = "is more than 1 call" if most == 1 else f"are more than {most} calls"
            typer.echo(f"nh: there {there}; see --limit", err=True)


def _list_command(contains: str, one_way: bool, silent: bool, address: str, sort: str) -> ListCalls:
    """What to list. Raises ConfigError for a value that cannot be used."""
    try:
        network, order = make_network(address, where="--address"), make_order(sort, where="--sort")
    except MalformedRequest as exc:
        raise ConfigError(f"command line: {exc}") from exc
    return ListCalls(read_id(contains), one_way=one_way, silent=silent, address=network, sort=order)


def close(
    call_id: CallId,
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """End a call: nh ends its sessions and frees its ports. Phones and proxy are not notified."""
    from nh.commands import CloseCall  # noqa: PLC0415

    wanted = read_id(call_id)
    with naming(wanted), connect(config, runtime_dir, rpc) as client:
        closed = client.request(CloseCall(wanted)).sessions
    if as_json:
        typer.echo(json_text({"call_id": wanted, "closed": closed}))
    elif closed:
        typer.echo(f"closed {show_id(wanted)}: {closed} {'session' if closed == 1 else 'sessions'} ended")
    else:
        typer.echo(f"closed {show_id(wanted)}: no session was active, its ports are free")
