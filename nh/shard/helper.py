"""Helper: a whole relay in one object: the calls, their sockets, their media, their statistics.

A shard is a Helper behind the internal link, nh.server.Server is a Helper behind RPC sockets; both put it
on a loop and hand it commands. It knows no wire and no process.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from nh.calls.call import Expired
from nh.calls.interfaces import Interface
from nh.calls.leg import Drop
from nh.calls.media import Media, RelayMedia, Side, canonical_address
from nh.calls.ports import PortSpace
from nh.calls.resources import Resources
from nh.calls.rules import RelaySettings
from nh.calls.session import SessionInfo
from nh.calls.session_ids import SessionIds
from nh.calls.table import CallTable
from nh.commands import (
    Activate,
    Activated,
    Allocate,
    Allocated,
    Answer,
    BlockMedia,
    Close,
    CloseCall,
    Closed,
    Delete,
    Dialog,
    ListCalls,
    Offer,
    Query,
    RelayCommand,
    RelayResult,
    ShowCall,
)
from nh.errors import MalformedRequest, ProtocolError, Refused
from nh.loop import Loop, Timer
from nh.shard.hops import OwnPorts
from nh.shard.kernel_path import KernelPath
from nh.shard.pacing import Pacer
from nh.shard.plane import SocketPlane
from nh.shard.reports import describe_call, list_calls
from nh.shard.signalling import Signalling
from nh.stats import ShardStats

logger = logging.getLogger(__name__)

TICK_S: Final = 0.5
"""How often statistics are brought up to date, windows closed and expiry looked at."""

LOOK_S: Final = 0.05
"""How often a slice of the sessions is looked at."""

_KINDS: Final[dict[type, str]] = {
    Allocate: "allocate",
    Activate: "activate",
    Close: "close",
    CloseCall: "close",
    ListCalls: "list",
    ShowCall: "show",
    Offer: "offer",
    Answer: "answer",
    Delete: "delete",
    Query: "query",
    BlockMedia: "block",
}


class Helper:
    """An RTP relay for SIP proxies, in this process (Net::SIP::NATHelper::Base).

    Arguments:
        settings: how to relay; the defaults if None.
        ports: lowest and highest media port, both included; used from the first even one on, in pairs.
        shard, shards: which of how many relays with one numbering of sessions this is.
        stats: where to count; its counters go on from what they are.
        interfaces: where ng's calls may be; none of these are possible without.
        kernel: the path in the kernel, which is closed with the helper; None: all is relayed in user space.
        kernel_off: why that is so, for people.
        relay_ports: further ranges of media ports that are the same relay's: those of all shards.

    Nothing is relayed before attach(). Close it with close().
    """

    def __init__(
        self,
        settings: RelaySettings | None = None,
        *,
        ports: tuple[int, int] = (10_000, 29_999),
        shard: int = 0,
        shards: int = 1,
        stats: ShardStats | None = None,
        interfaces: Sequence[Interface] = (),
        kernel: KernelPath | None = None,
        kernel_off: str = "",
        relay_ports: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._settings = settings = settings or RelaySettings()
        low, high = ports
        self.stats = stats or ShardStats()
        self._base = dataclasses.replace(self.stats)
        self._shard = shard
        ranges = [ports, *relay_ports, *(each.ports for each in interfaces if each.ports is not None)]
        own_ports = OwnPorts(
            ranges, {address for each in interfaces for address in (each.address, each.advertised)}
        )
        self._plane = SocketPlane(settings, own_ports, kernel, kernel_off)
        self._wall_offset_s = time.time() - time.monotonic()
        self._table = CallTable(
            Resources(
                plane=self._plane,
                ports=PortSpace(
                    low + low % 2,
                    high - (high + 1) % 2,
                    {each.address: each.ports for each in interfaces if each.ports is not None},
                ),
                settings=settings,
                session_ids=SessionIds(shard + 1, shards),
            ),
            wall_offset_s=self._wall_offset_s,
        )
        self._signalling = Signalling(self._table, interfaces)
        self._loop: Loop | None = None
        self._pacer: Pacer | None = None
        self._timer: Timer | None = None
        self._next_tick = 0.0
        self._on_tick: Callable[[], None] | None = None

    def attach(self, loop: Loop, *, on_tick: Callable[[], None] | None = None) -> None:
        """Relay under `loop` from now on; `on_tick` is called after each update of the statistics."""
        self._loop, self._on_tick = loop, on_tick
        if self._plane.kernel is not None:
            self._plane.kernel.watch(loop)
        self._pacer = Pacer(loop, self._plane.poll, coalesce_s=self._settings.coalesce_s)
        self._next_tick = time.monotonic() + TICK_S
        self._timer = loop.call_later(LOOK_S, self._look)

    @property
    def calls(self) -> int:
        """How many calls are known."""
        return len(self._table)

    @property
    def draining(self) -> bool:
        """Whether new call-ids are refused; those that are known go on as ever. To be set."""
        return self._table.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._table.draining = draining

    def close(self) -> None:
        """End all calls, close all sockets, leave the loop."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pacer is not None:
            self._pacer.close()
        self._loop = self._pacer = None
        now = time.monotonic()
        self.expire(now=now)  # sessions that were replaced since the last tick are yet to be counted
        for call in list(self._table):
            self._table.close_call(call.call_id, now=now)
        self.update_stats()
        self._plane.close()

    # --- commands -------------------------------------------------------------------------------

    def execute(self, command: RelayCommand) -> RelayResult:
        """Do what a command says; everything that it changes is in force when this returns.

        Raises Refused where the rules turn it down, ProtocolError where a value is out of range.
        """
        kind = _KINDS[type(command)]
        try:
            result = self._execute(command)
        except (Refused, ProtocolError):
            self._count(kind, "refused")
            raise
        except Exception:
            self._count(kind, "failed")
            raise
        self._count(kind, "ok")
        return result

    def allocate_sockets(
        self, dialog: Dialog, side: Side, address: str, media: Sequence[Media]
    ) -> tuple[RelayMedia, ...]:
        """The relay's ports for the media of one SDP.

        Arguments:
            dialog: call, transaction and ends; its cseq must not be None.
            side: who sent the SDP.
            address: the local IP address to listen on.
            media: what the SDP announced.

        Raises MalformedRequest, Draining, LimitReached, StaleTransaction, PortsExhausted,
        AddressUnavailable.
        """
        if dialog.cseq is None:
            raise MalformedRequest("allocate: cseq is missing")
        return self._table.allocate(
            call_id=dialog.call_id,
            id_from=dialog.id_from,
            id_to=dialog.id_to,
            cseq=dialog.cseq,
            side=side,
            address=canonical_address(address, where="allocate: address"),
            media=tuple(media),
            now=time.monotonic(),
        )

    def activate_session(self, dialog: Dialog, param: dict[str, str] | None = None) -> bool:
        """Relay between the two ends; returns False if that was so already.

        Arguments:
            dialog: call, transaction and ends; its cseq must not be None.
            param: handed back in the session information, with uri_from and uri_to.

        Raises MalformedRequest, UnknownCall, NotAllocated, StaleTransaction, SocketCountMismatch.
        """
        if dialog.cseq is None:
            raise MalformedRequest("activate: cseq is missing")
        uris = {"uri_from": dialog.uri_from, "uri_to": dialog.uri_to}
        created = self._table.activate(
            call_id=dialog.call_id,
            id_from=dialog.id_from,
            id_to=dialog.id_to,
            cseq=dialog.cseq,
            param={k: v.decode("utf-8", "backslashreplace") for k, v in uris.items()} | (param or {}),
            now=time.monotonic(),
        )
        self._count_sessions()
        return created

    def close_session(self, dialog: Dialog) -> list[SessionInfo]:
        """End the transaction's session, or with cseq None or 0 every session between the two ends.

        Returns what ended. Raises UnknownCall.
        """
        closed = self._table.close(
            call_id=dialog.call_id,
            id_from=dialog.id_from,
            id_to=dialog.id_to,
            cseq=dialog.cseq,
            now=time.monotonic(),
        )
        self._count_sessions()
        return closed

    def close_call(self, call_id: bytes) -> list[SessionInfo]:
        """End everything under a call-id. Returns what ended. Raises UnknownCall."""
        closed = self._table.close_call(call_id, now=time.monotonic())
        self._count_sessions()
        return closed

    def expire(self, *, now: float | None = None) -> Expired:
        """End what fell silent and close what nothing needs; done by itself once attached.

        Arguments:
            now: monotonic seconds; the clock's if None.
        """
        expired = self._table.expire(now=time.monotonic() if now is None else now)
        stats = self.stats
        stats.expired_unused += expired.unused_groups
        for info in expired.sessions:
            stats.expired_silent += info.reason == "expired"
            stats.expired_hold += info.reason == "hold"
            stats.expired_replaced += info.reason == "replaced"
            logger.info("session %d of call %r ended: %s", info.sessionid, info.call_id, info.reason)
        self._count_sessions()
        return expired

    def update_stats(self) -> None:
        """Bring `stats` up to date; done by itself once attached."""
        self._plane.collect()
        stats, base, traffic, resources = self.stats, self._base, self._plane.traffic, self._table.resources
        stats.packets_in = base.packets_in + traffic.packets_in
        stats.bytes_in = base.bytes_in + traffic.bytes_in
        stats.packets_out = base.packets_out + traffic.packets_out
        stats.bytes_out = base.bytes_out + traffic.bytes_out
        stats.kernel_packets = base.kernel_packets + traffic.kernel_packets
        stats.kernel_bytes = base.kernel_bytes + traffic.kernel_bytes
        stats.drop_foreign_source = base.drop_foreign_source + traffic.drops[Drop.FOREIGN_SOURCE]
        stats.drop_no_target = base.drop_no_target + traffic.drops[Drop.NO_TARGET]
        stats.drop_send_failed = base.drop_send_failed + traffic.drops[Drop.SEND_FAILED]
        stats.drop_not_active = base.drop_not_active + traffic.drops[Drop.NOT_ACTIVE]
        stats.drop_looped = base.drop_looped + traffic.drops[Drop.LOOPED]
        self._count_sessions()
        stats.media_to_many = base.media_to_many + resources.to_many
        stats.calls = len(self._table)
        stats.sessions = resources.sessions
        stats.sockets = resources.sockets
        if self._plane.kernel is not None:
            stats.kernel_flows = self._plane.kernel.flows
            stats.kernel_full = base.kernel_full + self._plane.kernel.refused
        stats.ports_free = resources.ports.free
        stats.ports_total = resources.ports.total

    def _execute(self, command: RelayCommand) -> RelayResult:
        match command:
            case Allocate():
                media = self.allocate_sockets(command.dialog, command.side, command.address, command.media)
                return Allocated(media)
            case Activate():
                return Activated(self.activate_session(command.dialog, command.param))
            case Close():
                return Closed(len(self.close_session(command.dialog)))
            case CloseCall():
                return Closed(len(self.close_call(command.call_id)))
            case ListCalls() | ShowCall():
                return self._look_up(command)
            case _:
                result = self._signalling.execute(command)
                self._count_sessions()
                return result

    def _look_up(self, command: ListCalls | ShowCall) -> RelayResult:
        now = time.monotonic()
        if isinstance(command, ShowCall):
            call = self._table.get_call(command.call_id)
            call.note(now=now)
            return describe_call(call, shard=self._shard, wall_offset_s=self._wall_offset_s, now=now)
        return list_calls(
            self._table,
            contains=command.contains,
            after=command.after,
            limit=command.limit,
            shard=self._shard,
            now=now,
        )

    def _look(self) -> None:
        if self._loop is None:
            return
        self._timer = self._loop.call_later(LOOK_S, self._look)
        now = time.monotonic()
        self._plane.look(since_s=LOOK_S, now=now)
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self._tick(now)

    def _tick(self, now: float) -> None:
        self._plane.close_windows(now=now)
        self.expire(now=now)
        self.update_stats()
        if self._on_tick is not None:
            self._on_tick()

    def _count(self, kind: str, outcome: str) -> None:
        name = f"{kind}_{outcome}"
        setattr(self.stats, name, getattr(self.stats, name) + 1)

    def _count_sessions(self) -> None:
        resources = self._table.resources
        self.stats.sessions_started = self._base.sessions_started + resources.started
        self.stats.sessions_closed = self._base.sessions_closed + resources.ended
