"""The index of a packet, and which indexes of a stream have been seen (RFC 3711 3.3.1, 3.3.2).

The same window is used in both directions. A receiver refuses replays. A sender refuses a second packet with
an index that it has used: another payload with the same key stream would give both away, and with AES-GCM the
authentication key, too.
"""

from typing import Final

WINDOW_PACKETS: Final = 128
"""How far behind the highest index a packet may be."""

MAX_INDEX: Final = 2**48 - 1

CHECKPOINT_PACKETS: Final = 2**14
"""A successor guesses right while what it knows is less than 2^15 packets old."""

_SEEN_MASK: Final = (1 << WINDOW_PACKETS) - 1


class PacketWindow:
    """What is known of one stream of one key.

    Args:
        highest: highest index seen; -1: none.
        seen: bit k: the index `highest` - k was seen.
        restored: an earlier process began the stream, and may have used indexes after `highest`.

    Attributes:
        highest: see above. Of a packet in order (`highest` + 1) whose index is below `border`, its owner may
            note no more than the new `highest`: so nearly all packets take one comparison and one assignment.
        border: 0 until the stream is known; then the next index that a successor has to know soon. Its owner
            sets 0 to note() each packet.
        restored: see above; its owner clears it with the first packet.
        lowest: indexes below are not new. A sender sets it to the first index after a restore, since the
            process before may have used those below.
    """

    __slots__ = ("_noted", "_seen", "border", "highest", "lowest", "restored")

    def __init__(self, highest: int = -1, seen: int = 0, *, restored: bool = False) -> None:
        self.highest = self._noted = highest
        self._seen = seen
        self.border = 0
        self.restored = restored
        self.lowest = 0

    @property
    def seen(self) -> int:
        """See above."""
        run = self.highest - self._noted
        if run:
            self._noted = self.highest
            self._seen = (
                (self._seen << run | (1 << run) - 1) & _SEEN_MASK if run < WINDOW_PACKETS else _SEEN_MASK
            )
        return self._seen

    def estimate(self, sequence: int) -> int:
        """The index of a packet by its sequence number of 16 bits; below 0: before the stream began."""
        highest = self.highest
        if highest < 0:
            return sequence
        ahead = (sequence - highest) & 0xFFFF
        if ahead > 0x8000 or (ahead == 0x8000 and highest & 0x8000):
            ahead -= 0x10000
        return highest + ahead

    def is_new(self, index: int) -> bool:
        """Whether a packet with this index may pass."""
        behind = self.highest - index
        if behind < 0:
            return 0 <= index <= MAX_INDEX
        return self.lowest <= index and behind < WINDOW_PACKETS and not self.seen >> behind & 1

    def note(self, index: int) -> bool:
        """Note the index of a packet that passed.

        Returns:
            Whether a successor has to know soon.
        """
        seen, before = self.seen, self.highest
        ahead = index - before
        if ahead <= 0:
            self._seen = seen | 1 << -ahead
            return False
        self._seen = (seen << ahead | 1) & _SEEN_MASK if ahead < WINDOW_PACKETS else 1
        self.highest = self._noted = index
        self.border = (index // CHECKPOINT_PACKETS + 1) * CHECKPOINT_PACKETS
        return before // CHECKPOINT_PACKETS != index // CHECKPOINT_PACKETS
