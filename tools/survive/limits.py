"""What a fault may cost the calls that are up: docs/reference/reliability.md in figures.

QUIET_GAP_S covers the noise of the host that tests run on. With no fault, on two CPUs that no other program
uses, packets of 20 ms come at most 30 ms apart through user space and 21 ms through the kernel. With other
programs on these CPUs, 221 ms and 35 ms have been measured, as the relay waits for its turn. It is also the
kernel path's limit: the kernel does not notice a fault in user space, so gaps are no longer than without one.
"""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from nh.supervisor.standby.follow import AWAY_S
from tools.harness.hosts import LEASE_S
from tools.survive.faults import FaultKind
from tools.survive.host_faults import MAX_AWAY_S, MOVES, HostFault

QUIET_GAP_S: Final = {False: 0.250, True: 0.060}
"""Longest gap without a fault: through user space, through the kernel."""

SHARD_GAP_S: Final = 0.300
BACK_AFTER_START_S: Final = 1.0
BUSY_HOST_S: Final = 0.5
"""What a start may take longer here: Python starts twice, on CPUs that tests share."""

AFTER_LEASE_S: Final = 1.5
"""From the end of a lost host's lease until media go on at the other host."""

RETURN_S: Final = 1.0
"""How much longer a standby waits for a relay to return to a server that has lost its data."""

CONSENT_S: Final = 5.0
"""Longest time without an answer to a browser's checks of ICE; then Chromium says that it is disconnected."""

KILLS: Final[Mapping[enum.StrEnum, int]] = {
    FaultKind.KILL_SHARD: 1,
    FaultKind.KILL_SHARD_TEN_TIMES: 10,
    FaultKind.KILL_EVERY_SHARD: 1,
    FaultKind.HANG_SHARD: 1,  # it is stopped at any instant, and killed when it counts as hung
}
"""How often the same shard is killed, which may cost the one packet that it is just passing on."""

_WAITS_S: Final = {
    HostFault.END_NH: 0.0,
    HostFault.KILL_HOST_AND_SERVER: MAX_AWAY_S + AWAY_S + LEASE_S + RETURN_S,
}
"""What the other host waits for, where that is not the lease."""


class Promise(msgspec.Struct, frozen=True):
    """What a fault may cost.

    Args:
        gap_s: longest gap of a stream, from the fault on; None: until media are back.
        back_s: where nh was started anew, from its start until media go on; packets may be lost until then.
            None: no packet may be lost.
    """

    gap_s: float | None
    back_s: float | None = None


def promise(kind: enum.StrEnum, *, kernel: bool, hang_s: float) -> Promise:
    """The promise for a fault.

    Args:
        kind: a FaultKind or a HostFault.
        kernel: whether the media go through the kernel.
        hang_s: nh's setting: when a shard that says nothing counts as hung.
    """
    quiet_s = QUIET_GAP_S[kernel]
    match kind:
        case FaultKind.KILL_ALL | FaultKind.RESTART:
            return Promise(gap_s=None, back_s=BACK_AFTER_START_S + BUSY_HOST_S)
        case HostFault() if kind in MOVES - {HostFault.MOVE}:
            return Promise(gap_s=None, back_s=_WAITS_S.get(kind, LEASE_S) + AFTER_LEASE_S + BUSY_HOST_S)
        case FaultKind.NONE | HostFault():
            return Promise(quiet_s)
        case _ if kernel:
            return Promise(quiet_s)
        case FaultKind.HANG_SHARD:
            return Promise(hang_s + SHARD_GAP_S)
    return Promise(SHARD_GAP_S)


def counters_stay(kind: enum.StrEnum, *, kernel: bool) -> bool:
    """Whether the counters of a leg may not go back: those in user space are saved every ten seconds.

    Args:
        kind: a FaultKind or a HostFault.
        kernel: whether the leg's packets go through the kernel, whose counters outlive each shard.
    """
    if kind is FaultKind.KILL_ALL or kind in MOVES:
        return False
    return kernel or kind not in KILLS
