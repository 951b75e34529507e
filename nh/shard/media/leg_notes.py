"""Leg notes: what is done for a leg every few seconds, while packets come to it in user space.

The leg's own packets cause it, when its state is in the caches of the CPU: a round over all legs would find
each in memory that has long left them, and would wake the shard for legs that are silent.
"""

import functools
import math
from typing import Final

from nh.calls.events import CallObservers
from nh.calls.leg import Leg
from nh.calls.rtp.quality import INTERVAL_PACKETS
from nh.shard.media.leg_memory import LegMemory
from nh.shard.media.sockets.media_socket import socket_of

NOTE_S: Final = 10.0
"""How old counters may become for a successor while packets come."""

SPEECH_S: Final = 5.1
"""Time between two notes of a leg with the packets of speech: an interval of quality is 5 s then."""

_A_SECOND: Final = 10
"""How many times of a second there are at which legs are due."""


@functools.lru_cache(maxsize=256)
def _shared(number: int) -> float:
    """One of these times, the same object for equal arguments: those of all legs are some seconds ahead."""
    return number / _A_SECOND


def _is_speech(leg: Leg) -> bool:
    """Whether the packets of a leg that is noted end an interval of quality each SPEECH_S, or nearly."""
    meter = leg.meter
    return meter is not None and not INTERVAL_PACKETS / 2 < meter.next_sample - leg.packets < INTERVAL_PACKETS


class LegNotes:
    """Notes the legs of one shard.

    Args:
        memory: where counters outlive the process; None: nowhere but in snapshots.
        events: is told of legs that need a snapshot.
    """

    def __init__(self, memory: LegMemory | None, events: CallObservers) -> None:
        self._memory = memory
        self._events = events

    def note(self, leg: Leg, now: float) -> None:
        """Note a leg that has just got a packet (monotonic seconds); see NoteLeg."""
        leg.note(now=now)
        leg.note_due = _shared(math.ceil((now + (SPEECH_S if _is_speech(leg) else NOTE_S)) * _A_SECOND))
        if leg.offload is not None:  # the map of the kernel's counters outlives the process, too
            return
        if self._memory is None or not self._memory.save(leg):
            self._events.leg_outdated(socket_of(leg).call_id, leg)
