"""Calls that have ended: their records, and the results of ListEnded and ShowEnded."""

import builtins  # of classes with a field named bytes, see tests/test_annotations.py
from datetime import datetime

import msgspec

from nh.calls.call_event import CallEvent, Client
from nh.results.calls import CallDetail, LegDetail, SessionDetail


class LegRecord(LegDetail, frozen=True, omit_defaults=True):
    """A LegDetail whose bytes leave out what has its default; they are read as those of a LegDetail."""


class SessionRecord(SessionDetail, frozen=True, kw_only=True, omit_defaults=True):
    """A session that has ended; all is as of its end.

    Attributes:
        ended: wall-clock seconds of its end.
        reason: nh.calls.events.EndReason: closed, expired, hold or replaced.
    """

    ended: float
    reason: str


class CallRecord(msgspec.Struct, frozen=True, tag="call_record"):
    """The record of a call that has ended (docs/reference/records.md).

    `call_id` and `begin` together identify it: a call-id may come again.

    Attributes:
        shard: number of its last shard.
        client: who sent the first command.
        begin, end: UTC.
        duration_s: how long the call was there, whatever was done to the wall clock meanwhile.
        reason: nh.calls.call_event.CallEnd.
        ended_by: whose command ended it; None: no command did.
        tags: of its ends, shortened to nh.calls.call_event.MAX_TAG_BYTES.
        packets, bytes: received in all sessions.
        sessions: in the order of their ends.
        sessions_left_out: how many earlier ones are not in `sessions`, or were too long for the record.
        events: in their order.
        events_left_out: how many are missing, behind the first nh.calls.timeline.FIRST_EVENTS.
    """

    call_id: builtins.bytes
    shard: int
    client: Client
    begin: datetime
    end: datetime
    duration_s: float
    reason: str
    ended_by: Client | None
    tags: tuple[builtins.bytes, ...]
    packets: int
    bytes: int
    sessions: tuple[SessionRecord, ...] = ()
    sessions_left_out: int = 0
    events: tuple[CallEvent, ...] = ()
    events_left_out: int = 0

    def as_call(self) -> CallDetail:
        """The call as ShowCall showed it last, for verdicts and views."""
        return CallDetail(
            call_id=self.call_id,
            shard=self.shard,
            age_s=self.duration_s,
            idle_s=0.0,
            groups=(),
            sessions=self.sessions,
            client=self.client,
            events=self.events,
            events_left_out=self.events_left_out,
        )


class EndedCall(msgspec.Struct, frozen=True):
    """One call of a list of calls that have ended; see CallRecord for the fields."""

    call_id: builtins.bytes
    shard: int
    client: Client
    begin: datetime
    end: datetime
    duration_s: float
    reason: str
    ended_by: Client | None
    packets: int
    bytes: int


class EndedCalls(msgspec.Struct, frozen=True, tag="ended_calls"):
    """A page of calls that have ended, the latest first.

    Attributes:
        next: for `before` of the next page's request; 0 on the last page.
    """

    calls: tuple[EndedCall, ...]
    next: int = 0
