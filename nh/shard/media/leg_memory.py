"""Memory of legs: counters that a successor goes on with, written in place, without a message or a snapshot.

Each leg has a part of a place in memory that outlives the process (nh.ipc.counter_file), as each flow in the
kernel has one. It has what packets change in any leg: the counters, the time of the last packet, and the
latest RTP stream in the kernel program's form. The leg of RTCP has no streams, and shares the place of its
end's RTP.

A place says whose it is by what a snapshot has, too: the number of the session, the port and the index of the
leg. Shards number their sessions apart, but another number of shards may have brought two of one number to
one shard.

A kill may hit the middle of a write. So what is written goes to one place for all first, and then, when that
is whole, to the leg's own: a successor that finds it whole completes the copy.

A successor of another version, which may run until `nh upgrade`, begins anew where places have another form.
"""

import mmap
import zlib
from struct import Struct
from typing import Final

from nh.calls.leg import Leg
from nh.calls.rtp.stream_state import StreamFields
from nh.calls.session import Session
from nh.fastpath.layout import NO_STREAM

_PLACE_BYTES: Final = 128

_OWNER_BYTES: Final = 16

_OWNER: Final = Struct(f"=QQ{_PLACE_BYTES - _OWNER_BYTES}x")
"""Number of the session, port and index of the leg. To write them clears the rest of the place first."""

_RTP: Final = Struct("=QQQdQQQIIIIIIIHBB")
"""A number that changes with what a place has no room for (drops, further streams, messages of ICMP),
packets, bytes, time of the last packet, the stream."""

_RTCP: Final = Struct("=IIQd")
"""The same of RTCP."""

_RTP_AT: Final = _OWNER_BYTES
_RTCP_AT: Final = _RTP_AT + _RTP.size
"""Where both are in a place."""

_SIZES: Final = {_RTP_AT: _RTP.size, _RTCP_AT: _RTCP.size}

_END: Final = 0
_WRITTEN: Final = 1
_FORMAT: Final = _PLACE_BYTES // 8 - 1
"""Words of place 0: how many places were ever used, the byte of the memory to which what is in place 1 is to
be copied (0: to none), and what form all have."""

_BEING_WRITTEN: Final = 1
"""The place for what is being written."""

_FIRST: Final = 2
"""The first place of a leg."""

_OWN_FORMAT: Final = zlib.crc32(f"{_PLACE_BYTES} {_OWNER.format} {_RTP.format} {_RTCP.format}".encode())

_U32: Final = 2**32 - 1


class LegMemory:
    """The places of one shard's legs.

    Args:
        memory: the shard's own; zeroes, or what the process before left.

    Attributes:
        known_session: the highest number of a session of which the process before left counters. A new
            session needs a higher one, or it goes on from the counters of one that is not restored (yet).
        missing: how many legs were given no place, because all were in use.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._bytes = memoryview(memory)
        self._words = self._bytes.cast("Q")
        self._places = len(memory) // _PLACE_BYTES
        self.missing = 0
        self._free: list[int] = []
        self._left: dict[tuple[int, int], int] = {}  # those of the process before, by their owners
        if self._words[_FORMAT] != _OWN_FORMAT:
            if self._words[_FORMAT]:  # a process of another version was before
                memory.madvise(mmap.MADV_REMOVE)
            self._words[_FORMAT] = _OWN_FORMAT
        self._complete_copy()
        self._end = min(max(_FIRST, self._words[_END]), self._places)
        for place in range(self._end - 1, _FIRST - 1, -1):
            session, index = _OWNER.unpack_from(memory, place * _PLACE_BYTES)
            if session:
                self._left[session, index] = place
            else:
                self._free.append(place)
        self.known_session = max((session for session, _ in self._left), default=0)

    def begin(self, session: Session) -> None:
        """Give each leg of a session a place: the one that it had in the process before, with what is there,
        or a new one. If all are in use, a leg has none."""
        may_be_left = bool(self._left)
        for index, leg in enumerate(session.legs):
            leg.place = self._place_of(session, leg, index) if leg.rtp is None else leg.rtp.place
            if not leg.place:
                self.missing += 1
            elif may_be_left:
                self._load(leg)

    def _place_of(self, session: Session, leg: Leg, index: int) -> int:
        owner = (session.id, leg.socket.port << 32 | index)
        left = self._left.pop(owner, 0)
        if left:
            return left
        place = self._take()
        if place:
            _OWNER.pack_into(self._memory, place * _PLACE_BYTES, *owner)
        return place

    def end(self, session: Session) -> None:
        """Free the places of a session's legs."""
        for leg in session.legs:
            if leg.place and leg.rtp is None:
                self._clear(leg.place)
                self._free.append(leg.place)
            leg.place = 0

    def save(self, leg: Leg) -> bool:
        """Write the counters of a leg to its place.

        Returns:
            Whether a successor needs no more than that; False: it needs a snapshot.
        """
        if not leg.place:
            return False
        others = leg.unreachable & _U32
        if leg.drops is not None:
            others = others + sum(leg.drops) & _U32
        known = self._write_rtp(leg, others) if leg.rtp is None else self._write_rtcp(leg, others)
        return known and leg.security is None and leg.egress.security is None

    def _write_rtp(self, leg: Leg, others: int) -> bool:
        """Write the counters of a leg that is not of RTCP; returns whether `others` are as before."""
        meter = leg.meter
        stream = meter.latest if meter is not None else None
        if meter is not None:
            others |= len(meter.streams) + meter.next_stream << 32
        _RTP.pack_into(
            self._memory,
            _BEING_WRITTEN * _PLACE_BYTES + _RTP_AT,
            others,
            leg.packets,
            leg.bytes,
            leg.last_seen or 0.0,
            *(NO_STREAM if stream is None else stream.to_fields()),
        )
        at = leg.place * _PLACE_BYTES + _RTP_AT
        known = self._words[at // 8] == others
        self._copy(at)
        return known

    def _write_rtcp(self, leg: Leg, others: int) -> bool:
        """The same for a leg of RTCP."""
        values = (others, leg.packets & _U32, leg.bytes, leg.last_seen or 0.0)
        _RTCP.pack_into(self._memory, _BEING_WRITTEN * _PLACE_BYTES + _RTCP_AT, *values)
        at = leg.place * _PLACE_BYTES + _RTCP_AT
        known = _RTCP.unpack_from(self._memory, at)[0] == others
        self._copy(at)
        return bool(known)

    def _copy(self, at: int) -> None:
        """Copy what has been written for one part of a place to it, by its byte."""
        self._words[_WRITTEN] = at
        self._complete_copy()

    def close(self) -> None:
        """Let go of the memory; what is in it stays."""
        self._words.release()
        self._bytes.release()
        self._memory.close()

    def _take(self) -> int:
        """A place that is free; 0: there is none."""
        if self._free:
            return self._free.pop()
        if self._end < self._places:
            place, self._end = self._end, self._end + 1
            self._words[_END] = self._end
            return place
        if self._left:  # of a session that was not restored
            _, place = self._left.popitem()
            self._clear(place)
            return place
        return 0

    def _clear(self, place: int) -> None:
        _OWNER.pack_into(self._memory, place * _PLACE_BYTES, 0, 0)

    def _complete_copy(self) -> None:
        place, part = divmod(self._words[_WRITTEN], _PLACE_BYTES)
        if _FIRST <= place < self._places and part in _SIZES:
            at, written, size = (
                place * _PLACE_BYTES + part,
                _BEING_WRITTEN * _PLACE_BYTES + part,
                _SIZES[part],
            )
            self._bytes[at : at + size] = self._bytes[written : written + size]
        self._words[_WRITTEN] = 0

    def _load(self, leg: Leg) -> None:
        """Go on from what is at the place of a leg, if that is later than what the leg knows."""
        start = leg.place * _PLACE_BYTES
        if leg.rtp is None:
            _, packets, size, last_seen, *values = _RTP.unpack_from(self._memory, start + _RTP_AT)
        else:
            _, packets, size, last_seen = _RTCP.unpack_from(self._memory, start + _RTCP_AT)
            values = [*NO_STREAM]
        if packets <= leg.packets:
            return
        leg.packets, leg.bytes = packets, size
        leg.last_seen = max(last_seen, leg.last_seen or 0.0)
        fields = StreamFields._make(values)
        meter = leg.find_meter()
        if meter is not None and fields.used:
            meter.go_on_from(fields)
