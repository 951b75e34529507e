"""When the media poll is served: at once while packets are rare, once a millisecond while they are not.

Waking up costs several times what a packet does. Network cards know the trade as interrupt coalescing: at a
packet every 50 µs, a millisecond's wait serves twenty of them in one turn, for half a millisecond of
delay on average, a fortieth of the time that a packet of speech covers. Commands never wait for it.
"""

from typing import Final

from nh.loop import Loop, Timer
from nh.shard.media.poll import BATCH, MediaPoll

QUIET_TURNS: Final = 10
"""Turns without a packet until packets count as rare again.

Putting the poll back into the loop makes the kernel look at every socket in it, which takes a millisecond
with ten thousand of them: not to be done for every pause between two packets.
"""


class Pacer:
    """Serves a media poll on a loop.

    Arguments:
        loop: what says that the poll is readable, and runs the timer.
        poll: see MediaPoll.
        coalesce_s: longest wait for more packets, 0 (none) to 0.02 seconds.
    """

    def __init__(self, loop: Loop, poll: MediaPoll, *, coalesce_s: float) -> None:
        self._loop = loop
        self._poll = poll
        self._coalesce_s = coalesce_s
        self._timer: Timer | None = None
        self._last_served = 0.0
        self._empty_turns = 0
        loop.add_reader(poll.fileno(), self._on_readable)

    def close(self) -> None:
        """Serve no more."""
        self._loop.remove_reader(self._poll.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _on_readable(self) -> None:
        packets = self._poll.serve()
        since_s = self._poll.now - self._last_served
        self._last_served = self._poll.now
        if packets and since_s < self._coalesce_s:
            # they come faster than one in a wait: from now on the timer serves them
            self._loop.remove_reader(self._poll.fileno())
            self._timer = self._loop.call_later(self._coalesce_s, self._on_time)

    def _on_time(self) -> None:
        packets = self._serve_all()
        self._empty_turns = 0 if packets else self._empty_turns + 1
        if self._empty_turns >= QUIET_TURNS and self._put_back():
            return
        # a full batch means that more is waiting: go on as soon as a command had its turn
        wait_s = 0.0 if packets >= BATCH else self._coalesce_s
        self._timer = self._loop.call_later(wait_s, self._on_time)

    def _put_back(self) -> bool:
        """Let the loop tell again when there are packets; False if it cannot watch the poll now."""
        self._empty_turns = 0
        try:
            self._loop.add_reader(self._poll.fileno(), self._on_readable)
        except OSError:  # somebody else has the last of the watches that this user may have
            return False
        self._timer = None
        self._last_served = 0.0
        return True

    def _serve_all(self) -> int:
        """Serve until nothing is readable, or a batch is full: one socket may have many packets waiting."""
        served = 0
        while served < BATCH:
            packets = self._poll.serve()
            if not packets:
                break
            served += packets
        return served
