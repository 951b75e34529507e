"""Recorder: makes the record of each call when it ends (nh.results.records).

A session is described when it ends, and its description waits in the timeline of its call. So a record has
the sessions that ended long before the call, also those that ended in a process that has died since.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

from nh.calls.call_event import CallEnd, CallEvent, EventKind
from nh.calls.events import CallObserver, EndReason
from nh.calls.session import Session
from nh.calls.table import CallTable
from nh.calls.timeline import CallTimeline
from nh.results import CallRecord, SessionRecord
from nh.shard.views.call_details import describe_ended

MAX_TAGS: Final = 16
"""Most tags of a record."""

_encoder: Final = msgspec.msgpack.Encoder()


class Recorder(CallObserver):
    """Records the calls of one table; behind the TimelineWriter among the observers.

    Args:
        table: the calls.
        shard: the shard's number.
    """

    def __init__(self, table: CallTable, shard: int) -> None:
        self._table = table
        self._shard = shard
        self._records: dict[bytes, bytes] = {}

    def take(self, call_id: bytes) -> bytes:
        """The record of a call that has just ended, in msgpack, once; b"" if there is none."""
        return self._records.pop(call_id, b"")

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        call = self._table.find_call(call_id)
        if call is None:
            return
        now = time.monotonic()
        session.note(now=now)  # for `idle_s`
        detail = describe_ended(call, session, reason, wall_offset_s=time.time() - now, now=now)
        call.timeline.add_ended(_encoder.encode(detail))

    def call_ended(self, call_id: bytes, timeline: CallTimeline) -> None:
        """See CallObserver."""
        self._records[call_id] = self._encode(call_id, timeline, timeline.end)

    def call_lost(self, call_id: bytes, timeline: CallTimeline | None) -> None:
        """A call that another process had cannot be restored.

        Args:
            call_id: the call.
            timeline: of its snapshot; None: that cannot be read.
        """
        now = time.time()
        timeline = timeline or CallTimeline(begin=now)
        timeline.add(CallEvent(now, EventKind.ENDED, detail=CallEnd.LOST))
        self._records[call_id] = self._encode(call_id, timeline, CallEnd.LOST)

    def _encode(self, call_id: bytes, timeline: CallTimeline, end: CallEnd | None) -> bytes:
        events = timeline.events
        ended_at = events[-1].at
        record = CallRecord(
            call_id=call_id,
            shard=self._shard,
            client=timeline.client,
            begin=_utc(timeline.begin),
            end=_utc(ended_at),
            duration_s=round(timeline.lasted_s(now=time.monotonic(), wall=ended_at), 3),
            reason=end or CallEnd.CLOSED,
            ended_by=timeline.closer if end is CallEnd.CLOSED else None,
            tags=_tags(events),
            packets=timeline.packets,
            bytes=timeline.size,
            # they are encoded already
            sessions=cast("tuple[SessionRecord, ...]", tuple(map(msgspec.Raw, timeline.ended))),
            sessions_left_out=timeline.ended_left_out,
            events=tuple(events),
            events_left_out=timeline.events_left_out,
        )
        return _encoder.encode(record)


def _tags(events: Sequence[CallEvent]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(event.tag for event in events if event.tag))[:MAX_TAGS]


def _utc(seconds: float) -> datetime:
    """Wall-clock seconds, in whole milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)
