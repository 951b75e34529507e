"""The account of one stream, one direction of one call: what was sent, and what became of it.

Every packet has a number, so that each is known to be in, lost, twice or late, exactly. What was under way
while a re-INVITE moved the call to other ports is kept apart: whether such a packet arrives says little about
the relay's forwarding. Pure: knows no sockets, clocks or packets; times come in as nanoseconds.
"""

import bisect

import msgspec

from tools.rtpload.streams.histogram import MAX_NS, SUB_BITS, Histogram

_MANY_MISSING = 2000
_WINDOW = 1000
"""What is missing this many packets behind the newest is given up, once many are missing."""


class Account(msgspec.Struct):
    """What became of the packets of streams.

    Args:
        sent: packets that the kernel took.
        received: different ones that arrived at the right end.
        lost: sent, not received, and not excused by one of the next two.
        lost_moving: lost while a re-INVITE was under way.
        dropped_here: arrived, but the generator's own socket was full.
        duplicates: arrivals of packets that had arrived before.
        reordered: packets that arrived behind a later one.
        damaged: packets of the stream with a number that was never sent.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    lost_moving: int = 0
    dropped_here: int = 0
    duplicates: int = 0
    reordered: int = 0
    damaged: int = 0

    def add(self, other: "Account") -> None:
        """Add the figures of `other`."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))

    @property
    def loss(self) -> float:
        """Share of the packets that were lost, 0 to 1."""
        return self.lost / self.sent if self.sent else 0.0


class Stream:
    """One stream.

    Args:
        number: its identity in its packets.
        latencies: where latencies are counted; shared with others.

    Attributes:
        number: its identity in its packets.
        sent: packets that the kernel took, which is the number of the next one; the sender counts it.
        received: different packets that arrived.
        damaged: packets with a number that was never sent, and those that the receiver cannot read.
        jitter_ns: RFC 3550's jitter.
    """

    __slots__ = (
        "_counts",
        "_duplicates",
        "_given_up",
        "_given_up_moving",
        "_missing",
        "_moves",
        "_next",
        "_reordered",
        "_transit",
        "damaged",
        "jitter_ns",
        "number",
        "received",
        "sent",
    )

    def __init__(self, number: int, latencies: Histogram) -> None:
        self.number = number
        self.sent = 0
        self.received = 0
        self.damaged = 0
        self.jitter_ns = 0.0
        self._counts = latencies.counts
        self._next = 0
        self._missing: set[int] = set()
        self._duplicates = 0
        self._reordered = 0
        self._transit: int | None = None
        self._moves: list[range] = []
        self._given_up = 0
        self._given_up_moving = 0

    def take(self, number: int, latency_ns: int) -> None:
        """Packet `number` arrived, `latency_ns` after it was sent."""
        expected = self._next
        if number == expected and number < self.sent:
            self._next = number + 1
        elif not self._accept(number):
            return
        self.received += 1
        if not 0 <= latency_ns <= MAX_NS:
            latency_ns = min(max(latency_ns, 0), MAX_NS)
        shift = latency_ns.bit_length() - SUB_BITS
        self._counts[latency_ns if shift <= 0 else (shift << (SUB_BITS - 1)) + (latency_ns >> shift)] += 1
        # RFC 3550 A.8, with the time when the packet was really sent: the generator's own lateness is not
        # in it
        if self._transit is not None:
            self.jitter_ns += (abs(latency_ns - self._transit) - self.jitter_ns) / 16
        self._transit = latency_ns

    @property
    def expected(self) -> int:
        """How many packets the newest that arrived shows to have been sent."""
        return self._next

    @property
    def complete(self) -> bool:
        """Whether everything that was sent is in."""
        return not self._missing and self._next == self.sent

    def begin_move(self) -> None:
        """A re-INVITE begins: what is under way now, and what is sent until `end_move`, is kept apart."""
        self._moves.append(range(self._next, 2**32))

    def end_move(self) -> None:
        """The new ports are in use from the next packet on."""
        self._moves[-1] = range(self._moves[-1].start, self.sent)

    def close(self, dropped_here: int = 0) -> Account:
        """The account at the end.

        Args:
            dropped_here: how many of its packets the generator itself could not take.
        """
        missing = [*self._missing, *range(self._next, self.sent)]
        moving = self._given_up_moving + sum(map(self._is_moving, missing))
        lost = self._given_up + len(missing) - (moving - self._given_up_moving)
        excused = min(dropped_here, lost)
        return Account(
            sent=self.sent,
            received=self.received,
            lost=lost - excused,
            lost_moving=moving,
            dropped_here=dropped_here,
            duplicates=self._duplicates,
            reordered=self._reordered,
            damaged=self.damaged,
        )

    def _accept(self, number: int) -> bool:
        """Account for a packet that is not the next one; whether it is new."""
        if number >= self.sent:
            self.damaged += 1
            return False
        if number > self._next:
            self._missing.update(range(self._next, number))
            self._next = number + 1
            if len(self._missing) > _MANY_MISSING:
                self._give_up(number - _WINDOW)
            return True
        if number in self._missing:
            self._missing.remove(number)
            self._reordered += 1
            return True
        self._duplicates += 1
        return False

    def _give_up(self, older_than: int) -> None:
        old = [number for number in self._missing if number < older_than]
        moving = sum(map(self._is_moving, old))
        self._given_up += len(old) - moving
        self._given_up_moving += moving
        self._missing.difference_update(old)

    def _is_moving(self, number: int) -> bool:
        # moves begin where the one before ended or later: only the last that began before can have it
        index = bisect.bisect_right(self._moves, number, key=lambda move: move.start) - 1
        return index >= 0 and number in self._moves[index]
