"""Snapshots of timelines of calls."""

from typing import Annotated

import msgspec

from nh.calls.call_event import LATEST, NO_CLIENT, CallEnd, Client, Wall
from nh.calls.snapshots.values import Count, require
from nh.calls.timeline import MAX_ENDED, NO_EVENTS, CallTimeline, unpack_events
from nh.errors import SnapshotUnreadable
from nh.reasons import decode_fault


class TimelineSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A timeline; see CallTimeline for the attributes."""

    begin: Wall = 0.0
    client: Client = NO_CLIENT
    packed_events: msgspec.Raw = msgspec.Raw(NO_EVENTS)
    events_left_out: Count = 0
    packets: Count = 0
    size: Count = 0
    ended: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=MAX_ENDED)] = ()
    ended_left_out: Count = 0
    on_hold: bool = False
    closer: Client | None = None
    latest_end: CallEnd | None = None
    end: CallEnd | None = None

    @classmethod
    def take(cls, timeline: CallTimeline) -> "TimelineSnapshot":
        """The snapshot of a timeline."""
        rare = () if timeline.rare is None else [getattr(timeline, name) for name in _RARE]
        return cls(timeline.begin, timeline.client, msgspec.Raw(timeline.packed_events), *rare)

    def rebuild(self) -> CallTimeline:
        """The timeline.

        Raises:
            SnapshotUnreadable: its events are none.
        """
        packed = bytes(self.packed_events)
        try:
            events = unpack_events(packed, self.begin)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise SnapshotUnreadable(decode_fault(exc, "timeline")) from exc
        # the begin and the milliseconds since may both be in range, and their sum may not
        require(all(abs(each.at) <= LATEST for each in events), "an event is at no time")
        timeline = CallTimeline(self.begin)
        if not timeline.take_packed(packed):
            timeline.set_events(events)
        timeline.client = self.client
        rare = msgspec.structs.astuple(self)[_RARE_FROM:]
        if rare != _NOTHING_RARE:  # a restore has thousands of timelines, most of them without
            for name, value in zip(_RARE, rare, strict=True):
                setattr(timeline, name, value)
        return timeline


_RARE_FROM = 3
_RARE = TimelineSnapshot.__struct_fields__[_RARE_FROM:]
_NOTHING_RARE = msgspec.structs.astuple(TimelineSnapshot())[_RARE_FROM:]
