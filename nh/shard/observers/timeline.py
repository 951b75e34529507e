"""TimelineWriter: writes the timeline of each call (nh.calls.timeline), for views, log lines and records.

It costs a call a few appended values for each event, and no packet anything.
"""

import contextlib
import time
from typing import Final, cast

from nh.calls.call import Call
from nh.calls.call_event import MAX_DETAIL, MAX_TAG_BYTES, NO_CLIENT, CallEnd, CallEvent, Client, EventKind
from nh.calls.events import CallObserver, EndReason
from nh.calls.leg import Leg
from nh.calls.media_arrival import is_answered
from nh.calls.offer_answer.matching import tag_of_offerer
from nh.calls.session import Session
from nh.calls.sockets.group import SocketGroup
from nh.calls.table import CallTable
from nh.calls.timeline import CallTimeline
from nh.command_table import INFO
from nh.commands import Answer, CallCommand, DeleteAll, RelayCommand, TransactionKey
from nh.errors import NhError, UnknownCall

_CLOSING: Final = frozenset({"close", "delete"})
"""The families of commands that end calls."""

_AGREEING: Final = frozenset({"answer", "activate"})
"""The families of commands after which both ends have agreed on media, or on a hold."""

_WHY: Final = {
    EndReason.EXPIRED: CallEnd.EXPIRED,
    EndReason.HOLD: CallEnd.HOLD,
    EndReason.CLOSED: CallEnd.CLOSED,
}


class TimelineWriter(CallObserver):
    """Keeps the timelines of the calls of one table.

    Args:
        table: the calls.

    Attributes:
        end_reason: why calls end from now on, whatever ends them; None: as the events say.
    """

    def __init__(self, table: CallTable) -> None:
        self.end_reason: CallEnd | None = None
        self._table = table
        self._client: Client | None = None  # of the command that is being carried out
        self._event: CallEvent | None = None
        self._call_id = b""

    # --- commands ---------------------------------------------------------------------------------

    def begin_command(self, command: RelayCommand, client: Client) -> None:
        """A command that may change calls is about to be carried out; others are left out."""
        info = INFO[type(command)]
        if not info.changes_call:
            if type(command) is DeleteAll:
                self._client = client
            return
        command = cast("CallCommand", command)
        self._client = client
        self._call_id = command.call_id
        call = self._table.find_call(command.call_id)
        self._event = event = CallEvent(self._time(), info.counters, _tag_of(command, call)[:MAX_TAG_BYTES])
        if call is not None:
            call.timeline.add(event)
            if call.timeline.rare is not None or info.counters in _CLOSING:
                call.timeline.closer = self._client if info.counters in _CLOSING else None

    def command_failed(self, error: NhError) -> None:
        """The command was refused, or failed."""
        call = self._table.find_call(self._call_id) if self._event is not None else None
        if call is not None and self._event is not None:
            event = self._event
            failed = CallEvent(event.at, event.event, event.tag, detail=error.code)
            call.timeline.replace_latest(event, failed)

    def end_command(self) -> None:
        """The command is carried out, or refused; its call may be changed."""
        call = self._table.find_call(self._call_id) if self._event is not None else None
        if call is not None and self._event is not None:
            if self._event.event in _AGREEING:
                self._note_hold(call)
            if call.timeline.rare is not None and call.timeline.ended:
                call.timeline.trim()
        self._client = self._event = None

    def _note_hold(self, call: Call) -> None:
        on_hold = any(_is_held(call, session) for session in call.running)
        if on_hold is not call.timeline.on_hold:
            call.timeline.on_hold = on_hold
            self._add(call.timeline, EventKind.HOLD if on_hold else EventKind.RESUMED)

    # --- events -----------------------------------------------------------------------------------

    def call_begun(self, _call_id: bytes, timeline: CallTimeline) -> None:
        """See CallObserver."""
        timeline.open(self._client or NO_CLIENT, self._time())
        if self._event is not None:
            timeline.add(self._event)

    def source_changed(self, call_id: bytes, leg: Leg) -> None:
        """See CallObserver. A source that is learned again and turns out the same is no event."""
        timeline = self._timeline(call_id) if leg.source is not None else None
        if timeline is None:
            return
        port, source = leg.socket.port, str(leg.source)
        latest = timeline.find_latest(port, source)
        if leg.latched and (latest is None or latest.event != EventKind.LATCHED):
            self._add(timeline, EventKind.LATCHED, port=port, detail=source)
        elif latest is None:
            self._add(timeline, EventKind.SOURCE, port=port, detail=source)

    def path_changed(self, call_id: bytes, leg: Leg) -> None:
        """See CallObserver."""
        timeline = self._timeline(call_id)
        if timeline is not None:
            kind = EventKind.KERNEL if leg.offload is not None else EventKind.USER_SPACE
            self._add(timeline, kind, port=leg.socket.port, detail=leg.not_offloaded)

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        timeline = self._timeline(call_id)
        if timeline is None:
            return
        self._add(timeline, EventKind.SESSION_ENDED, tag=session.group_to.id, detail=reason)
        for leg in session.legs:
            if leg.packets:
                timeline.packets += leg.packets
                timeline.size += leg.bytes
        why = _WHY.get(reason)
        if why is not None:
            timeline.latest_end = why

    def group_unused(self, call_id: bytes, _group: SocketGroup) -> None:
        """See CallObserver."""
        timeline = self._timeline(call_id)
        if timeline is not None:
            timeline.latest_end = timeline.latest_end or CallEnd.UNUSED

    def call_ended(self, _call_id: bytes, timeline: CallTimeline) -> None:
        """See CallObserver."""
        if self.end_reason is not None:
            timeline.end, timeline.closer = self.end_reason, None
        elif self._client is not None:
            # an offer that finds no ports ends the call that it began
            closes = self._event is None or self._event.event in _CLOSING
            timeline.end = CallEnd.CLOSED if closes else CallEnd.LIMIT
            timeline.closer = self._client
        else:
            timeline.end = timeline.latest_end or CallEnd.UNUSED
            if timeline.end is CallEnd.CLOSED and timeline.closer is None:
                timeline.end = CallEnd.UNUSED  # the media of an offer that was not answered in time
            if timeline.end is not CallEnd.CLOSED:
                timeline.closer = None
        self._add(timeline, EventKind.ENDED, detail=timeline.end)

    def _time(self) -> float:
        """Now, in whole milliseconds; all that a command does happens at its begin."""
        return self._event.at if self._event is not None else int(time.time() * 1000) / 1000

    def _timeline(self, call_id: bytes) -> CallTimeline | None:
        call = self._table.find_call(call_id)
        return None if call is None else call.timeline

    def _add(
        self, timeline: CallTimeline, event: EventKind, *, tag: bytes = b"", port: int = 0, detail: str = ""
    ) -> None:
        timeline.add(CallEvent(self._time(), event, tag[:MAX_TAG_BYTES], port, detail[:MAX_DETAIL]))


def _is_held(call: Call, session: Session) -> bool:
    """Whether both ends have agreed that no medium of the session is wanted by both."""
    if not session.on_hold or session.replaced_at is not None:
        return False
    # ng's offer makes the session; without the answer one end wants nothing yet
    return call.offers is None or is_answered(0, session)


def _tag_of(command: CallCommand, call: Call | None) -> bytes:
    """The tag of the end that a command is about; b"": of none."""
    if isinstance(command, Answer) and call is not None and call.offers is not None:
        with contextlib.suppress(UnknownCall):  # which carrying it out raises again
            return tag_of_offerer(call.offers.participants, command.from_tag, command.to_tag)
    key = getattr(command, "key", None)
    tag: bytes = key.id_from if isinstance(key, TransactionKey) else getattr(command, "from_tag", b"")
    return tag
