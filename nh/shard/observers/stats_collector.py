"""StatsCollector: the statistics of one relay, from its events, its table and its media plane.

Counters go on from those of the process before; gauges are of the moment.
"""

import dataclasses
from typing import Any, Final

from nh.calls.drop import Drop
from nh.calls.events import CallObserver, EndReason
from nh.calls.leg import Leg
from nh.calls.rtp.mos import MIN_PACKETS
from nh.calls.session import Session
from nh.calls.sockets.group import SocketGroup
from nh.calls.table import CallTable
from nh.command_table import COMMANDS
from nh.commands import RelayCommand
from nh.dtls.problem import Problem
from nh.errors import Draining, NhError
from nh.ice.agent import REFUSED, CheckResult
from nh.shard.limit_log import limit_of
from nh.shard.media.plane import SocketPlane
from nh.shard.views.stream_details import figures_of
from nh.stats import ShardStats
from nh.stats.fields import Counters, add_counters
from nh.stats.histograms import new_histograms
from nh.stats.layout import SHARD_HISTOGRAMS, SHARD_TABLE

_DROPS: Final = tuple((reason, f"drop_{reason.name.lower()}") for reason in Drop)
"""Each reason and its counter."""


_CHECKS: Final = (
    (CheckResult.ANSWERED, "ice_checks"),
    *((result, f"ice_{result.value}") for result in REFUSED),
)
"""What becomes of checks of ICE, and its counter."""

_COUNTERS: Final = {
    (info.command, outcome): f"{info.counters}_{outcome}"
    for info in COMMANDS
    for outcome in ("ok", "refused", "failed")
}
"""The counter of each outcome of each command."""


class StatsCollector(CallObserver):
    """Counts what one relay does.

    Args:
        stats: where to count; the counters go on from their present values.
        table: the calls to count.
        plane: the packets to count.
    """

    def __init__(self, stats: ShardStats, table: CallTable, plane: SocketPlane) -> None:
        self.stats = stats
        own: dict[str, Any] = new_histograms(SHARD_HISTOGRAMS)  # the base has no part in those of `stats`
        self._base = dataclasses.replace(stats, **own)
        self._table = table
        self._plane = plane
        self._rare: tuple[list[int], dict[CheckResult, int], dict[Problem | None, int]] | None = None
        if plane.kernel is None:  # a path in the kernel has its own counters of earlier processes
            plane.traffic.kernel_packets, plane.traffic.kernel_bytes = (
                stats.kernel_packets,
                stats.kernel_bytes,
            )

    def continue_counters(self, counters: Counters, *, kernel_has_them: bool) -> None:
        """Count on from the counters of the process that had the calls before.

        Args:
            counters: its counters by name; names that are no counters here are left out.
            kernel_has_them: whether the kernel's own counters have the packets that the kernel relayed.
        """
        for stats in (self.stats, self._base):
            add_counters(stats, SHARD_TABLE, counters)
        if not kernel_has_them:
            self._plane.add_carry_over(
                int(counters.get("kernel_packets", 0)), int(counters.get("kernel_bytes", 0))
            )

    def count_command(self, command: RelayCommand, outcome: str) -> None:
        """Count a command.

        Args:
            command: the command.
            outcome: ok, refused or failed.
        """
        name = _COUNTERS[type(command), outcome]
        setattr(self.stats, name, getattr(self.stats, name) + 1)

    def count_refusal(self, why: NhError) -> None:
        """Count what refuses new calls.

        Args:
            why: of a command that was refused.
        """
        if limit := limit_of(why):
            name = f"refused_{limit}"
            setattr(self.stats, name, getattr(self.stats, name) + 1)
        elif isinstance(why, Draining):
            self.stats.refused_draining += 1

    def session_activated(self, _call_id: bytes, _session: Session) -> None:
        """See CallObserver."""
        self.stats.sessions_started += 1

    def session_ended(self, _call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        stats = self.stats
        stats.sessions_ended += 1
        stats.expired_silent += reason is EndReason.EXPIRED
        stats.expired_hold += reason is EndReason.HOLD
        stats.expired_replaced += reason is EndReason.REPLACED
        if session.untouched:
            return
        for number, leg in enumerate(session.legs):
            if not leg.untouched:
                place = session.group_from.components[number // 2]
                self._count_streams(leg, session.group_from.media[place.medium].kind)

    def _count_streams(self, leg: Leg, kind: str) -> None:
        stats = self.stats
        for stream in leg.streams:
            if leg.payload_types is None or stream.packets < MIN_PACKETS:  # too few to say anything
                continue
            figures = figures_of(stream, leg.payload_types, kind)
            stats.stream_loss.observe(figures.loss_ratio)
            if stream.arrival is not None:
                stats.stream_jitter_s.observe(stream.jitter_s)
            if figures.mos is not None:
                stats.stream_mos.observe(figures.mos)

    def group_unused(self, _call_id: bytes, _group: SocketGroup) -> None:
        """See CallObserver."""
        self.stats.expired_unused += 1

    def housekeeping(self, _now: float) -> None:
        """See CallObserver."""
        self.update()

    def update(self) -> None:
        """Bring the gauges and the counters of packets up to date."""
        self._plane.collect()
        self._count_packets()
        stats, resources, kernel = self.stats, self._table.resources, self._plane.kernel
        stats.media_multicast = self._base.media_multicast + resources.multicast
        stats.legs_not_held = self._base.legs_not_held + self._plane.legs_not_held
        stats.calls = len(self._table)
        stats.sessions = resources.sessions
        stats.sockets = resources.sockets
        stats.ports_free = resources.ports.free
        stats.ports_total = resources.ports.total
        if kernel is not None:
            stats.kernel_flows = kernel.flows
            stats.kernel_table_full = self._base.kernel_table_full + kernel.without_room
            stats.kernel_refused = self._base.kernel_refused + kernel.refused

    def _count_packets(self) -> None:
        stats, base, traffic = self.stats, self._base, self._plane.traffic
        # the kernel counts its own packets, across all processes of the relay
        stats.packets_in = base.packets_in - base.kernel_packets + traffic.packets_in
        stats.bytes_in = base.bytes_in - base.kernel_bytes + traffic.bytes_in
        stats.packets_out = base.packets_out - base.kernel_packets + traffic.packets_out
        stats.bytes_out = base.bytes_out - base.kernel_bytes + traffic.bytes_out
        stats.kernel_packets = traffic.kernel_packets
        stats.kernel_bytes = traffic.kernel_bytes
        rare = traffic.drops.copy(), dict(self._plane.checks), dict(self._plane.handshakes)
        if rare != self._rare:
            self._rare = rare
            self._count_rare()

    def _count_rare(self) -> None:
        """Count what is no plain packet: drops, checks of ICE, handshakes."""
        stats, base, plane = self.stats, self._base, self._plane
        for reason, name in _DROPS:
            setattr(stats, name, getattr(base, name) + plane.traffic.drops[reason])
        for result, name in _CHECKS:
            setattr(stats, name, getattr(base, name) + plane.checks[result])
        for problem, count in plane.handshakes.items():
            name = f"dtls_{'ok' if problem is None else problem.name.lower()}"
            setattr(stats, name, getattr(base, name) + count)
