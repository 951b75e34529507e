"""One line of `nh calls` for each call. Pure rendering.

The call-id comes last and is never cut: an operator copies it into `nh close`.
"""

from typing import Final

from rich.text import Text

from nh.cli.calls.callid import show_id
from nh.cli.stats import quantities as q
from nh.results import CallSummary

_COLUMNS: Final = "{:>5} {:>6} {:>6} {:>4} {:>5} {:>7} {:>6}  {}"

LIST_HEADER: Final = Text(
    _COLUMNS.format("shard", "age", "idle", "sess", "socks", "packets", "bytes", "call-id"), style="bold"
)


def list_line(call: CallSummary) -> Text:
    """The line of one call."""
    return Text(
        _COLUMNS.format(
            call.shard,
            q.duration(call.age_s),
            q.duration(call.idle_s),
            q.count(call.sessions),
            q.count(call.sockets),
            q.count(call.packets),
            q.size(call.bytes),
            show_id(call.call_id),
        )
    )
