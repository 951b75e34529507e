"""The timers of the protocols at media sockets: one timer of the loop for all of them."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

from nh.calls.leg import Leg
from nh.calls.protocols.packet_protocol import PacketProtocol
from nh.loop import Loop, Timer
from nh.shard.media.sockets.media_socket import socket_of

STEPS_A_TURN: Final = 4
"""Most timers that go off in one turn of the loop: a step of DTLS takes as long as a hundred packets."""


class ProtocolTimers:
    """Follows `timer_at` of each protocol that arm() names, as long as a leg at a socket has it.

    Args:
        now: returns monotonic seconds.
        on_due: called with a leg and a protocol of it whose timer is due.
    """

    def __init__(self, now: Callable[[], float], on_due: Callable[[Leg, PacketProtocol], object]) -> None:
        self._now = now
        self._on_due = on_due
        self._loop: Loop | None = None
        self._due: list[tuple[float, int, Leg, PacketProtocol]] = []
        self._armed: dict[PacketProtocol, float] = {}
        self._numbers = itertools.count()
        self._timer: Timer | None = None
        self._timer_at = math.inf

    def __len__(self) -> int:
        """How many are set; those of protocols that have another one by now count, too."""
        return len(self._due)

    def attach(self, loop: Loop) -> None:
        """Let time pass."""
        self._loop = loop
        self._set_timer()

    def detach(self) -> None:
        """Let time pass no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self._timer_at = math.inf

    def arm(self, leg: Leg, protocol: PacketProtocol) -> None:
        """Follow the timer of a protocol, which may have changed."""
        at = protocol.timer_at
        if at >= self._armed.get(protocol, math.inf):
            return  # one that goes off too early arms the next one: so there is one for each protocol
        self._armed[protocol] = at
        heapq.heappush(self._due, (at, next(self._numbers), leg, protocol))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._loop is None or not self._due or self._due[0][0] >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._due[0][0]
        self._timer = self._loop.call_later(max(0.0, self._timer_at - self._now()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._now()
        for _ in range(STEPS_A_TURN):
            if not self._due or self._due[0][0] > now:
                break
            at, _, leg, protocol = heapq.heappop(self._due)
            if self._armed.get(protocol) != at:
                continue
            del self._armed[protocol]
            if leg not in socket_of(leg).legs or protocol not in leg.protocols:
                protocol.close()
            elif protocol.timer_at > now:
                self.arm(leg, protocol)
            else:
                self._on_due(leg, protocol)
        self._set_timer()
