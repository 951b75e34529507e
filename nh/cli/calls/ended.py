"""Calls that have ended, as `nh calls --ended` lists them and `nh calls CALL-ID` shows one. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.text import Text

from nh.calls.call_event import Client
from nh.cli.calls.call_view import call_lines
from nh.cli.stats.quantities import count, duration
from nh.printable import show_id, show_text
from nh.results import CallRecord, EndedCall
from nh.verdict import Ending

_COLUMNS: Final = "{:<19} {:>6} {:<8} {:>7} {:<9}"

TITLES: Final = Text(
    _COLUMNS.format("ended", "lasted", "reason", "packets", "by") + "  call-id", style="bold"
)


def ended_line(call: EndedCall) -> Text:
    """A call in one line. The call-id is last and whole, to be copied into `nh why`."""
    by = call.ended_by.protocol if call.ended_by is not None else ""
    columns = _COLUMNS.format(
        _time(call.end), duration(call.duration_s), call.reason, count(call.packets), by
    )
    return Text(f"{columns}  {show_id(call.call_id)}")


def record_lines(record: CallRecord) -> Iterator[Text]:
    """The record of a call, line by line: as the call was at its end, and what led to it."""
    lines = call_lines(record.as_call())
    yield next(lines)
    next(lines)  # its age
    yield Text(f"  began {_time(record.begin)}: {_client(record.client)}")
    yield Text(f"  {how_it_ended(record)}", style="yellow")
    if record.sessions_left_out:
        yield Text(f"  {record.sessions_left_out} earlier sessions are not shown", style="dim")
    yield from lines


def how_it_ended(ended: CallRecord | Ending) -> str:
    """When a call ended, and why and by whom."""
    by = f" by {_client(ended.ended_by)}" if ended.ended_by is not None else ""
    return f"ended {_time(ended.end)}, after {duration(ended.duration_s)}: {ended.reason}{by}"


def _time(when: datetime) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _client(client: Client) -> str:
    return show_text(str(client))
