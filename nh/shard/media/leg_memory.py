"""Memory of legs: counters that a successor goes on with, written in place, without a message or a snapshot.

Each leg has a place in memory that outlives the process (nh.ipc.counter_file), as each flow in the kernel has
one. A place has what packets change in any leg: the counters, the time of the last packet, and the latest RTP
stream in the kernel program's form. It says whose it is by what a snapshot has, too: the number of the
session, the port and the index of the leg. Shards number their sessions apart, but another number of shards
may have brought two of one number to one shard.

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

_OWNER: Final = Struct(f"=QQ{_PLACE_BYTES - 16}x")
"""Number of the session, port and index of the leg. To write them clears the rest of the place first."""

_COUNTERS: Final = Struct("=QQdQQQQIIIIIIIHBB")
"""Packets, bytes, time of the last packet, a number that changes with what a place has no room for (drops,
further streams, messages of ICMP), the stream."""

_BODY: Final = slice(16, 16 + _COUNTERS.size)
_WORDS: Final = _PLACE_BYTES // 8
_OTHERS: Final = 5
"""Word of a place with the number of _COUNTERS."""

_END: Final = 0
_WRITTEN: Final = 1
_FORMAT: Final = _WORDS - 1
"""Words of place 0, which no leg has: how many places were ever used, the place to which the body beside them
is to be copied, and what form all have."""

_OWN_FORMAT: Final = zlib.crc32(f"{_PLACE_BYTES} {_OWNER.format} {_COUNTERS.format}".encode())


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
        self._end = min(max(1, self._words[_END]), self._places)
        for place in range(self._end - 1, 0, -1):
            session, index = _OWNER.unpack_from(memory, place * _PLACE_BYTES)
            if session:
                self._left[session, index] = place
            else:
                self._free.append(place)
        self.known_session = max((session for session, _ in self._left), default=0)

    def begin(self, session: Session) -> None:
        """Give each leg of a session a place: the one that it had in the process before, with what is there,
        or a new one. If all are in use, a leg has none."""
        for index, leg in enumerate(session.legs):
            owner = (session.id, leg.socket.local.port << 32 | index)
            left = self._left.pop(owner, 0)
            leg.place = left or self._take()
            self.missing += not leg.place
            if left:
                self._load(leg)
            elif leg.place:
                _OWNER.pack_into(self._memory, leg.place * _PLACE_BYTES, *owner)

    def end(self, session: Session) -> None:
        """Free the places of a session's legs."""
        for leg in session.legs:
            if leg.place:
                self._clear(leg.place)
                self._free.append(leg.place)
                leg.place = 0

    def save(self, leg: Leg) -> bool:
        """Write the counters of a leg to its place.

        Returns:
            Whether a successor needs no more than that; False: it needs a snapshot.
        """
        place = leg.place
        if not place:
            return False
        meter = leg.meter
        stream = meter.latest if meter is not None else None
        others = leg.unreachable & 0xFFFF_FFFF
        if leg.drops is not None:
            others = others + sum(leg.drops) & 0xFFFF_FFFF
        if meter is not None:
            others |= len(meter.streams) + meter.next_stream << 32
        _COUNTERS.pack_into(
            self._memory,
            _BODY.start,
            leg.packets,
            leg.bytes,
            leg.last_seen or 0.0,
            others,
            *(NO_STREAM if stream is None else stream.to_fields()),
        )
        words, start = self._words, place * _PLACE_BYTES
        known = words[place * _WORDS + _OTHERS] == others
        words[_WRITTEN] = place
        self._bytes[start + _BODY.start : start + _BODY.stop] = self._bytes[_BODY]
        words[_WRITTEN] = 0
        return known and leg.security is None and leg.egress.security is None

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
        place = self._words[_WRITTEN]
        if 0 < place < self._places:
            start = place * _PLACE_BYTES
            self._bytes[start + _BODY.start : start + _BODY.stop] = self._bytes[_BODY]
        self._words[_WRITTEN] = 0

    def _load(self, leg: Leg) -> None:
        """Go on from what is at the place of a leg, if that is later than what the leg knows."""
        start = leg.place * _PLACE_BYTES + _BODY.start
        packets, size, last_seen, _, *values = _COUNTERS.unpack_from(self._memory, start)
        if packets <= leg.packets:
            return
        leg.packets, leg.bytes = packets, size
        leg.last_seen = max(last_seen, leg.last_seen or 0.0)
        fields = StreamFields._make(values)
        meter = leg.find_meter()
        if meter is not None and fields.used:
            meter.go_on_from(fields)
