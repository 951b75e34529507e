"""Pacing: when the media poll is served. At once while packets are rare, otherwise once in `coalesce_s`.

A wake-up costs several times as much as a packet, so network cards have interrupt coalescing. At a packet
every 50 µs, a wait of 1 ms serves twenty packets in one turn. It delays them by 0.5 ms on average, a fortieth
of the time that a packet of speech covers. Commands never wait for it.

A shard that has more packets than it can serve never sleeps. Then it yields the CPU after each batch, so that
the supervisor, which may have no other CPU, passes commands on and results back.
"""

from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer
from nh.shard.media.poll import BATCH, BATCH_S, MediaPoll
from nh.time_slice import CpuYielder

QUIET_TURNS: Final = 10
"""Turns without a packet until packets count as rare again.

When the poll is put back into the loop, the kernel looks at every socket in the poll: 1 ms for 10,000
sockets. That is too much for every pause between two packets.
"""

BUSY_TURNS: Final = 4
"""Full batches in a row after which the shard counts as busy all the time, and yields the CPU after each.

Packets that waited while the shard had no CPU, for some milliseconds, take fewer.
"""


class Pacer:
    """Serves a media poll on a loop.

    Args:
        loop: watches the poll and runs the timer.
        poll: the media poll.
        coalesce_s: longest wait for more packets, 0 (no wait) to 0.02 seconds.
        yield_cpu: called after each batch while the shard is busy all the time; CpuYielder() if None.
    """

    def __init__(
        self,
        loop: Loop,
        poll: MediaPoll,
        *,
        coalesce_s: float,
        yield_cpu: Callable[[], object] | None = None,
    ) -> None:
        self._loop = loop
        self._poll = poll
        self._coalesce_s = coalesce_s
        self._yield_cpu = yield_cpu or CpuYielder()
        self._full_turns = 0
        self._timer: Timer | None = None
        self._last_served = 0.0
        self._empty_turns = 0
        loop.add_reader(poll.fileno(), self._on_readable)

    def close(self) -> None:
        """Stop serving."""
        self._loop.remove_reader(self._poll.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _on_readable(self) -> None:
        packets = self._poll.serve()
        self._end_turn(is_full=self._is_full(packets))
        since_s = self._poll.now - self._last_served
        self._last_served = self._poll.now
        if packets and since_s < self._coalesce_s:
            # more than one packet in coalesce_s: from now on the timer serves them
            self._loop.remove_reader(self._poll.fileno())
            self._timer = self._loop.call_later(self._coalesce_s, self._on_time)

    def _on_time(self) -> None:
        try:
            packets, is_full = self._serve_all()
        except Exception:  # the poll is not in the loop meanwhile: nothing else would serve any socket again
            self._timer = self._loop.call_later(self._coalesce_s, self._on_time)
            raise
        self._end_turn(is_full=is_full)
        self._empty_turns = 0 if packets else self._empty_turns + 1
        if self._empty_turns >= QUIET_TURNS and self._put_back():
            return
        # a full batch: more packets wait, so continue as soon as a command has had its turn
        wait_s = 0.0 if is_full else self._coalesce_s
        self._timer = self._loop.call_later(wait_s, self._on_time)

    def _end_turn(self, *, is_full: bool) -> None:
        """Let the supervisor have the CPU if the shard never waits for packets, and so never sleeps."""
        if not is_full:
            self._full_turns = 0
            return
        self._full_turns += 1
        if self._full_turns > BUSY_TURNS:
            self._yield_cpu()

    def _is_full(self, packets: int) -> bool:
        """Whether more packets may wait, after a turn that has served so many."""
        return packets >= BATCH or self._poll.out_of_time

    def _put_back(self) -> bool:
        """Let the loop watch the poll again.

        Returns:
            False if the loop cannot watch it now.
        """
        self._empty_turns = 0
        try:
            self._loop.add_reader(self._poll.fileno(), self._on_readable)
        except OSError:  # ENOSPC: other programs use all watches of this user
            return False
        self._timer = None
        self._last_served = 0.0
        return True

    def _serve_all(self) -> tuple[int, bool]:
        """Serve until no socket is readable or a batch is full: many packets may wait at one socket.

        Returns:
            How many packets were served, and whether more may wait.
        """
        served = self._poll.serve()
        begun = self._poll.now
        while served and not self._is_full(served):
            packets = self._poll.serve(BATCH - served)
            if not packets:
                break
            served += packets
            if self._poll.now - begun > BATCH_S:
                return served, True
        return served, self._is_full(served)
