"""Sends the commands of `nh calls` and prints the results, for people or as JSON."""

from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from nh.cli.calls.call_view import call_lines
from nh.cli.calls.callid import json_text
from nh.cli.stats.quantities import count, duration, size
from nh.client import NativeClient
from nh.commands import MAX_LIST, ListCalls, ShowCall
from nh.printable import show_id
from nh.results import CallSummary

_COLUMNS: Final = "{:>5} {:>6} {:>6} {:>4} {:>5} {:>7} {:>6}  {}"

_LIST_HEADER: Final = Text(
    _COLUMNS.format("shard", "age", "idle", "sess", "socks", "packets", "bytes", "call-id"), style="bold"
)


def print_call(client: NativeClient, call_id: bytes, as_json: bool) -> None:
    """One call in full. Raises UnknownCall if there is none."""
    detail = client.request(ShowCall(call_id))
    if as_json:
        typer.echo(json_text(detail))
        return
    console = Console()
    for line in call_lines(detail):
        # whole ids and addresses, so that they can be copied: the terminal wraps what is too long
        console.print(line, soft_wrap=True)


def print_list(client: NativeClient, contains: bytes, limit: int, as_json: bool) -> bool:
    """Calls, `limit` at most, page by page. Returns whether there are more.

    Args:
        contains: only call-ids with these bytes in them; b"" for all.
        limit: 1 or more.
        as_json: a line of JSON a call.
    """
    console = Console()
    after, left = b"", limit
    while left > 0:
        page = client.request(ListCalls(contains, after, min(left, MAX_LIST)))
        if left == limit and not as_json:
            console.print(_LIST_HEADER, soft_wrap=True)
        for call in page.calls:
            if as_json:
                typer.echo(json_text(call))
            else:
                console.print(_list_line(call), soft_wrap=True)
        after, left = page.next, left - len(page.calls)
        if not after:
            return False
    return True


def _list_line(call: CallSummary) -> Text:
    """One call. The call-id comes last and is never cut, so that it can be copied into `nh close`."""
    return Text(
        _COLUMNS.format(
            call.shard,
            duration(call.age_s),
            duration(call.idle_s),
            count(call.sessions),
            count(call.sockets),
            count(call.packets),
            size(call.bytes),
            show_id(call.call_id),
        )
    )
