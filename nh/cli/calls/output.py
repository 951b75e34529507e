"""Sends the commands of `nh calls` and prints the results, for people or as JSON."""

import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from nh.cli.calls.call_view import call_lines
from nh.cli.calls.ended import TITLES, ended_line, record_lines
from nh.cli.calls.list_view import Layout, call_text, layout_for, titles
from nh.cli.json_text import json_text
from nh.client import NativeClient
from nh.commands import MAX_LIST, CallOrder, ListCalls, ListEnded, ShowCall, ShowEnded
from nh.errors import NhError, UnknownCall
from nh.results import CallDetail, CallList, CallRecord, CallSummary


def find_call(client: NativeClient, call_id: bytes, *, ended: bool = False) -> CallDetail | CallRecord:
    """A call, or the record of one that has ended.

    Args:
        client: of the relay.
        call_id: its call-id.
        ended: only a call that has ended.

    Raises:
        UnknownCall: there is neither.
    """
    try:
        if not ended:
            return client.request(ShowCall(call_id))
    except UnknownCall as unknown:
        try:
            return client.request(ShowEnded(call_id))
        except NhError:
            raise unknown from None
    return client.request(ShowEnded(call_id))


def print_call(client: NativeClient, call_id: bytes, *, ended: bool, as_json: bool) -> None:
    """One call in full, or its record. Raises UnknownCall if there is neither."""
    call = find_call(client, call_id, ended=ended)
    if as_json:
        typer.echo(json_text(call))
        return
    console = Console()
    for line in record_lines(call) if isinstance(call, CallRecord) else call_lines(call):
        # whole ids and addresses, so that they can be copied: the terminal wraps what is too long
        console.print(line, soft_wrap=True)


def print_list(client: NativeClient, command: ListCalls, limit: int, as_json: bool) -> bool:
    """Calls, `limit` at most, as they come. Returns whether there are more.

    Args:
        client: of the relay.
        command: which calls, in which order.
        limit: 1 or more.
        as_json: a line of JSON a call.
    """
    more = False
    show = _print_as_json if as_json else _printer(Console())
    for page in _pages(client, command, limit):
        show(page.calls)
        more = page.more
    return more


def _print_as_json(calls: Iterable[CallSummary]) -> None:
    for call in calls:
        typer.echo(json_text(call))


def _printer(console: Console) -> Callable[[Sequence[CallSummary]], None]:
    """What prints page after page, with titles before the first; on a terminal before wider columns, too."""
    # a program that reads the list, such as grep, gets a call with each line
    width = console.width if console.is_terminal else None
    layout: Layout | None = None

    def show(calls: Sequence[CallSummary]) -> None:
        nonlocal layout
        wanted = layout_for(width, calls, *([layout.address] if layout else []))
        lines = [call_text(wanted, call) for call in calls]
        if layout is None or (wanted != layout and width is not None):
            lines.insert(0, titles(wanted))
        layout = wanted
        _print_lines(console, lines)

    return show


def _print_lines(console: Console, lines: Sequence[Text]) -> None:
    """Print lines as they are; rich takes three times as long for one after the other."""
    if lines:
        console.print(Text("\n").join(lines), soft_wrap=True)


def _pages(client: NativeClient, command: ListCalls, limit: int) -> Iterator[CallList]:
    """The pages of a list, one or more, with `limit` calls at most."""
    page = client.request(msgspec.structs.replace(command, limit=min(limit, MAX_LIST)))
    if page.more and len(page.calls) < limit and command.sort is not CallOrder.CALL_ID:
        yield _sorted_here(client, command, limit)  # nh sorts what fits into one page
        return
    yield page
    while page.next and (limit := limit - len(page.calls)) > 0:
        command = msgspec.structs.replace(command, after=page.next, limit=min(limit, MAX_LIST))
        page = client.request(command)
        yield page


def _sorted_here(client: NativeClient, command: ListCalls, limit: int) -> CallList:
    """One page, however many calls it has, in an order for which all calls have to be known."""
    unsorted = msgspec.structs.replace(command, sort=CallOrder.CALL_ID)
    ranked: list[tuple[tuple[float, bytes], CallSummary]] = []
    begun = time.monotonic()
    for page in _pages(client, unsorted, sys.maxsize):
        later = time.monotonic() - begun  # the calls of later pages are compared as they were at first
        for call in page.calls:
            then = msgspec.structs.replace(call, age_s=call.age_s - later, idle_s=call.idle_s - later)
            ranked.append((command.sort.rank(then), call))
    ranked.sort(key=operator.itemgetter(0))
    return CallList(tuple(call for _, call in ranked[:limit]), b"", more=len(ranked) > limit)


def print_ended(client: NativeClient, contains: bytes, limit: int, as_json: bool) -> bool:
    """Calls that have ended, the latest first, `limit` at most. Returns whether there are more.

    Args:
        client: of the relay.
        contains: only call-ids with these bytes in them; b"" for all.
        limit: 1 or more.
        as_json: a line of JSON a call.
    """
    console = Console()
    before = 0
    while limit > 0:
        page = client.request(ListEnded(contains, before, min(limit, MAX_LIST)))
        if as_json:
            for call in page.calls:
                typer.echo(json_text(call))
        else:
            _print_lines(console, [*([] if before else [TITLES]), *map(ended_line, page.calls)])
        before, limit = page.next, limit - len(page.calls)
        if not before:
            return False
    return True
