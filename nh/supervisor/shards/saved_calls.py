"""The latest snapshot of each call of a shard, packed once its call has been quiet for some seconds.

Packing takes no time of a command (nh.supervisor.shards.packing_turns), and a call that ends within
PACK_AFTER_S is never packed.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from nh.supervisor.store.packing import Held, Packed, SnapshotPacker

PACK_AFTER_S: Final = 3.0
"""How long after its call's last save a snapshot is packed: most calls are saved several times in their first
seconds."""

IN_A_ROW: Final = 10
"""Most snapshots that one call of pack() packs: a tenth of a millisecond."""

OnPacked = Callable[[bytes, bytes, Packed], None]
"""(call-id, snapshot, the same packed)"""


class SavedCall(msgspec.Struct, gc=False):
    """What is stored of one call.

    Attributes:
        call_id: the call.
        snapshot: the latest one; b"": the call has ended.
        of_this_run: whether a process of this run took it.
        saves: how often it was saved since it began to wait to be packed; 0: it does not wait.
    """

    call_id: bytes
    snapshot: Held = b""
    of_this_run: bool = True
    saves: int = 0


class SavedCalls:
    """Saved calls by call-id, in the order in which they began.

    Args:
        packer: packs their snapshots.
        on_packed: is told of each that was packed.

    Attributes:
        packed: how many were packed so far.
    """

    def __init__(self, packer: SnapshotPacker, on_packed: OnPacked) -> None:
        self.packed = 0
        self._packer = packer
        self._on_packed = on_packed
        self._calls: dict[bytes, SavedCall] = {}
        self._fresh: list[SavedCall] = []  # began to wait since the latest pack()
        self._waiting: deque[tuple[float, list[SavedCall]]] = deque()  # with the time from which on

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[SavedCall]:
        return iter(self._calls.values())

    def find(self, call_id: bytes) -> SavedCall | None:
        """The call; None if it is unknown."""
        return self._calls.get(call_id)

    def add(self, call_id: bytes) -> SavedCall:
        """A call that is new."""
        call = self._calls[call_id] = SavedCall(call_id)
        return call

    def save(self, call: SavedCall, snapshot: bytes, *, of_this_run: bool) -> None:
        """Take a snapshot in the place of the one before."""
        call.snapshot, call.of_this_run = snapshot, of_this_run
        call.saves += 1
        if call.saves == 1:
            self._fresh.append(call)

    def drop(self, call_id: bytes) -> bool:
        """Forget a call; returns whether it was known."""
        call = self._calls.pop(call_id, None)
        if call is None:
            return False
        call.snapshot = b""  # it may still wait
        return True

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._fresh.clear()
        self._waiting.clear()

    def pack(self, now: float) -> bool:
        """Pack the next few snapshots that are old enough (monotonic seconds).

        Returns:
            Whether more of them wait.
        """
        if self._fresh:
            self._waiting.append((now + PACK_AFTER_S, self._fresh))
            self._fresh = []
        left = IN_A_ROW
        while self._waiting and self._waiting[0][0] <= now:
            calls = self._waiting[0][1]
            while calls:
                if not left:
                    return True
                left -= self._look_at(calls.pop())
            self._waiting.popleft()
        return False

    def _look_at(self, call: SavedCall) -> bool:
        """Pack the snapshot of a call that has waited, if the call lives and was quiet.

        Returns:
            Whether the packer was at work.
        """
        snapshot = call.snapshot
        if call.saves > 1 and snapshot:
            call.saves = 1
            self._fresh.append(call)  # it waits anew
            return False
        call.saves = 0
        if type(snapshot) is not bytes or not snapshot:
            return False
        packed = self._packer.pack(snapshot)
        if type(packed) is Packed:
            call.snapshot = packed
            self.packed += 1
            self._on_packed(call.call_id, snapshot, packed)
        return True
