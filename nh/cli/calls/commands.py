"""`nh calls` and `nh close`: list calls, show one in full, end one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from nh.cli.calls.callid import json_text, read_id
from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, connect, read_number, settings_of
from nh.errors import NhError, UnknownCall
from nh.printable import show_id

_ID_HELP: Final = r"as nh calls shows it (\xNN is a byte, \\ a backslash); behind -- if it begins with -"
COMPLETION_S: Final = 1.0
"""nh may take so long to answer the shell."""

MOST_COMPLETED: Final = 200


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
    from nh.commands import ListCalls  # noqa: PLC0415

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
        typer.Option(metavar="TEXT", help="List only calls whose call-id contains this.", show_default=False),
    ] = "",
    limit: Annotated[str, typer.Option(metavar="N", help="Most calls to list; 1 or more.")] = "100",
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """List calls in the order of their call-ids, or show one in full.

    Packets and bytes are those received. --json prints a line of JSON for each call.
    """
    most = read_number("limit", limit, 1)
    from nh.cli.calls import output as calls_output  # noqa: PLC0415  rich takes a while to import

    wanted, pattern = read_id(call_id or ""), read_id(contains)
    with naming(wanted), connect(config, runtime_dir, rpc) as client:
        if call_id is not None:
            calls_output.print_call(client, wanted, as_json)
        elif calls_output.print_list(client, pattern, most, as_json):
            typer.echo(f"nh: there are more than {most} calls; see --limit and --contains", err=True)


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
