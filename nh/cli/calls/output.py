"""Sends the commands of `nh calls` and prints the results, for people or as JSON."""

import operator
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from nh.calls.media_state import MediaState
from nh.cli.calls.call_view import call_lines
from nh.cli.calls.callid import json_text
from nh.cli.calls.ended import TITLES, ended_line, record_lines
from nh.cli.stats.quantities import count, duration
from nh.client import NativeClient
from nh.commands import MAX_LIST, CallOrder, ListCalls, ListEnded, ShowCall, ShowEnded
from nh.errors import NhError, UnknownCall
from nh.printable import show_id, show_text
from nh.results import CallDetail, CallList, CallRecord, CallSummary, EndSummary

_WIDE: Final = 150
"""From this width on a call is one line; in a narrower terminal its ends are in a second line."""

_CALL: Final = "{:<8} {:>6} {:>6} {:>7}"
_END: Final = "{:<21} {:<6.6} {:>5} {:>3}"

_CALL_TITLES: Final = _CALL.format("media", "age", "idle", "packets")
_END_TITLES: Final = "  ".join(_END.format(side, "codec", "loss", "MOS") for side in ("from", "to"))
_STATES: Final = {
    MediaState.FLOWING: "green",
    MediaState.ONE_WAY: "red",
    MediaState.SILENT: "red",
    MediaState.HOLD: "yellow",
    MediaState.WAITING: "yellow",
}


def find_call(client: NativeClient, call_id: bytes, *, ended: bool = False) -> CallDetail | CallRecord:
    """A call, or the record of one that has ended.

    Args:
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
        command: which calls, in which order.
        limit: 1 or more.
        as_json: a line of JSON a call.
    """
    console = Console()
    # a program that reads the list, such as grep, gets a call with each line
    lines = lines_for(console.width if console.is_terminal else _WIDE)
    titled = as_json
    more = False
    for page in _pages(client, command, limit):
        if not titled:
            console.print(lines(None), soft_wrap=True)
            titled = True
        for call in page.calls:
            if as_json:
                typer.echo(json_text(call))
            else:
                console.print(lines(call), soft_wrap=True)
        more = page.more
    return more


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
        contains: only call-ids with these bytes in them; b"" for all.
        limit: 1 or more.
        as_json: a line of JSON a call.
    """
    console = Console()
    before = 0
    while limit > 0:
        page = client.request(ListEnded(contains, before, min(limit, MAX_LIST)))
        if not before and not as_json:
            console.print(TITLES, soft_wrap=True)
        for call in page.calls:
            if as_json:
                typer.echo(json_text(call))
            else:
                console.print(ended_line(call), soft_wrap=True)
        before, limit = page.next, limit - len(page.calls)
        if not before:
            return False
    return True


def lines_for(width: int) -> Callable[[CallSummary | None], Text]:
    """What makes a call into text for a terminal of this width, and None into the titles."""
    return _wide if width >= _WIDE else _narrow


def _wide(call: CallSummary | None) -> Text:
    """A call in one line, None: the titles. The call-id is last and whole, to be copied into `nh close`."""
    if call is None:
        return Text(f"{_CALL_TITLES}  {_END_TITLES}  call-id", style="bold")
    return Text("  ").join((_about(call), _ends(call), Text(show_id(call.call_id))))


def _narrow(call: CallSummary | None) -> Text:
    """A call in two lines, of which the second has 80 columns with IPv4; None: the titles."""
    if call is None:
        return Text(f"{_CALL_TITLES}  call-id\n  {_END_TITLES}", style="bold")
    text = _about(call).append("  ").append(show_id(call.call_id))
    return text if call.from_ is None else text.append("\n  ").append(_ends(call))


def _about(call: CallSummary) -> Text:
    times = (duration(call.age_s), duration(call.idle_s), count(call.packets))
    text = Text(_CALL.format(call.state, *times))
    text.stylize(_STATES[call.state], 0, len(call.state))
    return text


def _ends(call: CallSummary) -> Text:
    return Text(f"{_end(call.from_)}  {_end(call.to)}")


def _end(end: EndSummary | None) -> str:
    if end is None:
        return _END.format("-", "", "", "")
    loss = "" if end.loss_ratio is None else f"{end.loss_ratio:.{int(end.loss_ratio < 0.0995)}%}"
    mos = "" if end.mos is None else f"{end.mos:.1f}"
    return _END.format(end.address or "-", show_text(end.encoding), loss, mos)
