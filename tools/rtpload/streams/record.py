"""One stream packet by packet: which were lost, which came twice, and how long nothing came.

Beside the account (stream.py), which only counts. A gap is the time between two arrivals, less what the
sender itself was late: a generator that had to wait for a CPU does not make the relay's gaps longer, and a
stream on hold has none. Pure: times come in as nanoseconds of the monotonic clock.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

LONG_GAP_PACKETS: Final = 2
"""Gaps of more packet times than this are listed one by one."""

MAX_LISTED: Final = 1000
"""Longest list of gaps or doubled packets of a stream; the counts go on."""


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """Packets in a row that were lost.

    Args:
        first, last: their numbers.
        sent_ns: when the first of them was sent, as the stream paces; 0 if nothing of it ever came.
    """

    first: int
    last: int
    sent_ns: int

    @property
    def packets(self) -> int:
        """How many."""
        return self.last - self.first + 1


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """A time in which nothing came.

    Args:
        began_ns: when the packet before it arrived.
        length_ns: how long it was, without the sender's own lateness.
    """

    began_ns: int
    length_ns: int


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stream.

    Args:
        call: number of the call.
        medium: which of the call's, 0 or, for the video beside audio, 1.
        sender: caller or callee.
        media: RTP; else RTCP.
        sent, received: packets; different ones that arrived.
        dropped_here: packets that the generator's own socket had no room for; they are in `holes`.
        holes: what was lost.
        doubled: numbers of packets that came again, once for each time.
        longest: the longest gap; None for RTCP, whose times are random, and for fewer than two packets.
        gaps: all that were long.
    """

    call: int
    medium: int = 0
    sender: str
    media: bool
    sent: int
    received: int
    dropped_here: int
    holes: tuple[Hole, ...]
    doubled: tuple[int, ...]
    longest: Gap | None
    gaps: tuple[Gap, ...]

    @property
    def lost(self) -> int:
        """How many packets were lost."""
        return sum(hole.packets for hole in self.holes)

    def __str__(self) -> str:
        kind = ("video " if self.medium else "") + ("RTP" if self.media else "RTCP")
        return f"call {self.call}, {kind} of its {self.sender}"


class _Anchor(NamedTuple):
    """A packet of which it is known when it was sent."""

    number: int
    sent_ns: int


class Recorder:
    """Notes the arrivals of one stream.

    Args:
        interval_ns: its packet time; 0 for a stream that has none.
    """

    __slots__ = (
        "_anchors",
        "_arrived_ns",
        "_doubled",
        "_gaps",
        "_interval_ns",
        "_last",
        "_longest",
        "_missing",
    )

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._last = _Anchor(-1, 0)  # the newest packet
        self._arrived_ns = 0  # when it came
        self._missing: dict[int, None] = {}
        self._anchors: list[_Anchor] = []  # the packet before each hole
        self._doubled: list[int] = []
        self._longest = Gap(0, 0)
        self._gaps: list[Gap] = []

    def note(self, number: int, sent_ns: int, arrived_ns: int) -> None:
        """Packet `number`, sent at `sent_ns`, arrived."""
        step = number - self._last.number
        if step <= 0:
            self._note_late(number)
            return
        if step > 1:
            begun = self._last.number >= 0
            self._anchors.append(self._last if begun else _Anchor(-1, sent_ns - step * self._interval_ns))
            self._missing.update(dict.fromkeys(range(self._last.number + 1, number)))
        if self._interval_ns and self._arrived_ns:
            self._measure(arrived_ns, sent_ns - self._last.sent_ns - step * self._interval_ns)
        self._last = _Anchor(number, sent_ns)
        self._arrived_ns = arrived_ns

    def close(self, *, call: int, medium: int = 0, sender: str, sent: int, dropped_here: int) -> StreamRecord:
        """The record at the end; for the arguments see StreamRecord."""
        if self._last.number + 1 < sent:
            self._anchors.append(self._last)
            self._missing.update(dict.fromkeys(range(self._last.number + 1, sent)))
        return StreamRecord(
            call=call,
            medium=medium,
            sender=sender,
            media=bool(self._interval_ns),
            sent=sent,
            received=sent - len(self._missing),
            dropped_here=dropped_here,
            holes=tuple(self._holes()),
            doubled=tuple(self._doubled),
            longest=self._longest if self._longest.length_ns else None,
            gaps=tuple(self._gaps),
        )

    def _note_late(self, number: int) -> None:
        if number in self._missing:
            del self._missing[number]
        elif len(self._doubled) < MAX_LISTED:
            self._doubled.append(number)

    def _measure(self, arrived_ns: int, late_ns: int) -> None:
        length_ns = arrived_ns - self._arrived_ns - max(0, late_ns)
        if length_ns > self._longest.length_ns:
            self._longest = Gap(self._arrived_ns, length_ns)
        if length_ns > LONG_GAP_PACKETS * self._interval_ns and len(self._gaps) < MAX_LISTED:
            self._gaps.append(Gap(self._arrived_ns, length_ns))

    def _holes(self) -> Iterator[Hole]:
        for first, last in _runs(sorted(self._missing)):
            before = max(
                (anchor for anchor in self._anchors if anchor.number < first), default=_Anchor(-1, 0)
            )
            known = before.sent_ns != 0
            yield Hole(
                first, last, before.sent_ns + (first - before.number) * self._interval_ns if known else 0
            )


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers in a row."""
    for _, group in itertools.groupby(enumerate(numbers), lambda entry: entry[1] - entry[0]):
        run = [number for _, number in group]
        yield run[0], run[-1]
