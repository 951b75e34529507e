"""`nh calls` and `nh close`: list calls, show one in full, end some."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from nh.cli.calls.call_id import read_id
from nh.cli.calls.selection import (
    Address,
    Contains,
    Ended,
    Limit,
    OneWay,
    Silent,
    Sort,
    list_command,
)
from nh.cli.json_text import json_text
from nh.cli.options import (
    AsJson,
    ConfigFile,
    RpcAddress,
    RuntimeDir,
    connect,
    read_number,
    settings_of,
)
from nh.cli.terminal import tell
from nh.commands import CallOrder, ListCalls
from nh.errors import ConfigError, NhError, UnknownCall
from nh.printable import counted, show_id

if TYPE_CHECKING:
    from nh.results import Failure

_ID_HELP: Final = r"as nh calls shows it (\xNN is a byte, \\ a backslash); behind -- if it begins with -"

COMPLETION_S: Final = 1.0
"""nh may take so long to answer the shell."""

MAX_COMPLETED: Final = 200

_HARMLESS: Final = re.compile(r"[\w.:@%+,/][\w.:@%+=,/-]*")
"""What a shell takes as it is (zsh replaces =ls by the path of ls), and nh as no option."""


@contextmanager
def naming(call_id: bytes) -> Iterator[None]:
    """Let the error of an unknown call name it."""
    try:
        yield
    except UnknownCall as exc:
        raise UnknownCall(_unknown(call_id)) from exc


def _unknown(call_id: bytes) -> str:
    return f"no call '{show_id(call_id)}' here; `nh calls` lists them"


def complete_call_id(ctx: typer.Context, incomplete: str) -> list[str]:
    """The call-ids that begin with what was typed, for the shell; none if nh cannot be asked now.

    Phones choose call-ids, and bash puts what is completed into the line as it is: `reboot` between backticks
    is a call-id of RFC 3261, and would be executed. So those with characters that mean something to a shell
    are left out.
    """
    from nh.client import NativeClient  # noqa: PLC0415

    try:
        begun = read_id(incomplete)
        settings = settings_of(*(ctx.params.get(name) for name in ("config", "runtime_dir", "rpc")))
        with NativeClient(settings.rpc_addresses[0], timeout_s=COMPLETION_S) as client:
            page = client.request(ListCalls(contains=begun, limit=MAX_COMPLETED))
    except (NhError, OSError):
        return []
    shown = [show_id(call.call_id) for call in page.calls if call.call_id.startswith(begun)]
    return [each for each in shown if _HARMLESS.fullmatch(each)]


def _call_id_argument(what: str) -> Any:
    return typer.Argument(
        metavar="CALL-ID",
        help=f"{what} {_ID_HELP}.",
        show_default=False,
        autocompletion=complete_call_id,
    )


CallId = Annotated[str, _call_id_argument("The call,")]


def calls(
    call_id: Annotated[str | None, _call_id_argument("Show this call in full;")] = None,
    *,
    contains: Contains = "",
    one_way: OneWay = False,
    silent: Silent = False,
    address: Address = "",
    sort: Sort = CallOrder.CALL_ID.value,
    ended: Ended = False,
    limit: Limit = "100",
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

    most, command = read_number("--limit", limit, 1), list_command(contains, one_way, silent, address, sort)
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


def close(
    call_ids: Annotated[list[str], _call_id_argument("The calls, each")],
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """End calls: nh ends their sessions and frees their ports. Phones and proxy are not notified.

    Where nh cannot end one of several calls, it ends the others, and the exit status is 1.
    """
    from nh.commands import CloseCall  # noqa: PLC0415
    from nh.results import Closed  # noqa: PLC0415

    wanted = [read_id(each) for each in call_ids]
    failed = False
    with connect(config, runtime_dir, rpc) as client:
        for call_id in wanted:
            (result,) = client.request_all([CloseCall(call_id)])
            if isinstance(result, Closed):
                _tell_closed(call_id, result.sessions, as_json)
            else:
                tell(f"nh: {_why_not_closed(call_id, cast('Failure', result))}", err=True)
                failed = True
    if failed:
        raise typer.Exit(1)


def _why_not_closed(call_id: bytes, failure: "Failure") -> str:
    if failure.code == UnknownCall.code:
        return _unknown(call_id)
    return f"call '{show_id(call_id)}': {failure.message}"


def _tell_closed(call_id: bytes, closed: int, as_json: bool) -> None:
    if as_json:
        tell(json_text({"call_id": call_id, "closed": closed}))
    elif closed:
        tell(f"closed {show_id(call_id)}: {counted(closed, 'session')} ended")
    else:
        tell(f"closed {show_id(call_id)}: no session was active, its ports are free")
