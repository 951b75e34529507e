"""Calls as `nh calls` lists them, one to three lines each, whichever fits into the terminal. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec
from rich.text import Text

from nh.calls.media_state import MediaState
from nh.cli.stats.quantities import count, duration
from nh.printable import show_id, show_text
from nh.results import CallSummary, EndSummary

_CALL: Final = "{:<8} {:>6} {:>6} {:>7}"
_END: Final = "{:<{}} {:<6.6} {:>5} {:>3}"

_CALL_TITLES: Final = _CALL.format("media", "age", "idle", "packets")
_STATES: Final = {
    MediaState.FLOWING: "green",
    MediaState.ONE_WAY: "red",
    MediaState.SILENT: "red",
    MediaState.HOLD: "yellow",
    MediaState.WAITING: "yellow",
}

_IPV4: Final = len("255.255.255.255:65535")
_CALL_ID: Final = 38
"""Columns for the call-id: most have no more."""


class Layout(msgspec.Struct, frozen=True):
    """How a list is laid out.

    Attributes:
        lines: of a call: 1; 2, with the ends in the second; 3, with one end in each of the others.
        address: columns of an address with its port.
    """

    lines: int = 1
    address: int = _IPV4


def layout_for(width: int | None, calls: Iterable[CallSummary], least: int = _IPV4) -> Layout:
    """The layout for some calls.

    Args:
        width: columns of the terminal; None: a program reads the list, and each call is one line.
        calls: those that are shown.
        least: the columns that addresses have at least.
    """
    ends = (end for call in calls for end in (call.from_, call.to) if end is not None)
    address = max((least, *(len(end.address or "") for end in ends)))
    beside = len(_END.format("", 0, "", "", ""))
    both = 2 * (address + beside) + len("  ") * 2
    if width is None or width >= len(_CALL_TITLES) + both + len("  ") + _CALL_ID:
        return Layout(1, address)
    if width >= both:
        return Layout(2, address)
    fits = width - len("  ") - beside
    # what is longer than a line shifts what is behind it, and no other line
    return Layout(3, max(_IPV4, min(address, fits)))


def titles(layout: Layout) -> Text:
    """The titles of the columns."""
    ends = [_END.format(side, layout.address, "codec", "loss", "MOS") for side in ("from", "to")]
    return Text(_laid_out(layout, _CALL_TITLES, ends, "call-id"), style="bold")


def call_text(layout: Layout, call: CallSummary) -> Text:
    """A call. The call-id is the last of its line and whole, to be copied into `nh close`."""
    about = _CALL.format(call.state, duration(call.age_s), duration(call.idle_s), count(call.packets))
    offered = layout.lines == 1 or call.from_ is not None
    ends = [_end(layout, end) for end in (call.from_, call.to)] if offered else []
    text = Text(_laid_out(layout, about, ends, show_id(call.call_id)))
    text.stylize(_STATES[call.state], 0, len(call.state))
    return text


def _laid_out(layout: Layout, about: str, ends: list[str], call_id: str) -> str:
    match layout.lines:
        case 1:
            return "  ".join((about, *ends, call_id))
        case 2:
            below = ["  ".join(ends)] if ends else []
        case _:
            below = ends
    return "\n  ".join((f"{about}  {call_id}", *map(str.rstrip, below)))


def _end(layout: Layout, end: EndSummary | None) -> str:
    if end is None:
        return _END.format("-", layout.address, "", "", "")
    loss = "" if end.loss_ratio is None else f"{end.loss_ratio:.{int(end.loss_ratio < 0.0995)}%}"
    mos = "" if end.mos is None else f"{end.mos:.1f}"
    return _END.format(end.address or "-", layout.address, show_text(end.encoding), loss, mos)
