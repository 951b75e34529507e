"""The heartbeat of one shard, read again and again: how long it has stood still, in polls."""

from collections.abc import Callable


class HeartbeatPolls:
    """Counts the polls that found the heartbeat of a shard unchanged.

    Args:
        read: returns the number of the shard's last publication, 0: there was none.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._last = 0
        self._unchanged = 0

    def poll(self) -> int:
        """Read the heartbeat once; returns how many polls in a row found it unchanged."""
        before, self._last = self._last, self._read()
        # 0: a shard publishes before it is up, so one that never published cannot be said to hang
        self._unchanged = self._unchanged + 1 if before and self._last == before else 0
        return self._unchanged

    def reset(self) -> None:
        """Forget what was read: the shard is not up."""
        self._last = self._unchanged = 0
