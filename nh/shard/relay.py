"""Helper: a whole relay in one object: the calls, their sockets, their media, their statistics.

A shard is a Helper behind the internal link, nh.server.Server is a Helper behind RPC sockets; both put it
on a loop and hand it commands. It knows no wire and no process.
"""

import logging
import random
import time
from collections.abc import Sequence

from nh.calls.events import CallEvents, CallObserver, EndReason
from nh.calls.interfaces import Interface
from nh.calls.media import Media, RelayMedia, Side, canonical_address
from nh.calls.ports import PortSpace
from nh.calls.resources import Resources
from nh.calls.session import Session, SessionInfo
from nh.calls.session_ids import SessionIds
from nh.calls.settings import RelaySettings
from nh.calls.table import CallTable
from nh.commands import (
    Activate,
    Allocate,
    Close,
    CloseCall,
    ListCalls,
    Query,
    RelayCommand,
    ShowCall,
    TransactionKey,
)
from nh.errors import MalformedRequest, PortsExhausted, ProtocolError, Refused
from nh.loop import Loop
from nh.results import Activated, Allocated, Closed, RelayResult
from nh.shard.media.kernel_path import KernelPath
from nh.shard.media.loop_guard import LocalPorts
from nh.shard.media.plane import SocketPlane
from nh.shard.ng.signalling import Signalling
from nh.shard.reports import describe_call, list_calls
from nh.shard.shortage_log import ShortageLog
from nh.shard.stats_collector import StatsCollector
from nh.shard.ticker import LOOK_S, Ticker
from nh.stats import ShardStats

logger = logging.getLogger(__name__)


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
        known_session: new sessions have higher numbers than this.

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
        known_session: int = 0,
    ) -> None:
        self._settings = settings = settings or RelaySettings()
        low, high = ports
        self.stats = stats or ShardStats()
        self._shard = shard
        ranges = [ports, *relay_ports, *(each.ports for each in interfaces if each.ports is not None)]
        local_ports = LocalPorts(
            ranges, {address for each in interfaces for address in (each.address, each.advertised)}
        )
        self._events = CallEvents(failed=lambda event: logger.exception("an observer of %s failed", event))
        self._plane = SocketPlane(settings, local_ports, kernel, kernel_off, self._events)
        session_ids = SessionIds(shard + 1, shards)
        session_ids.go_on_above(known_session)
        self._table = CallTable(
            Resources(
                plane=self._plane,
                ports=PortSpace(
                    low + low % 2,
                    high - (high + 1) % 2,
                    {each.address: each.ports for each in interfaces if each.ports is not None},
                    # any: phones may still send to the ports that a former life gave out first
                    begin=random.random(),
                ),
                settings=settings,
                session_ids=session_ids,
                events=self._events,
            ),
            wall_offset_s=time.time() - time.monotonic(),
        )
        self._signalling = Signalling(self._table, interfaces)
        self._accounts = StatsCollector(self.stats, self._table, self._plane)
        self._shortage = ShortageLog(shard)
        self.observe(_SessionLog())
        self.observe(self._accounts)
        self._loop: Loop | None = None
        self._relaying: Ticker | None = None

    def observe(self, observer: CallObserver) -> None:
        """Report the events of calls to `observer` from now on."""
        self._events.add(observer)

    def attach(self, loop: Loop) -> None:
        """Relay under `loop` from now on."""
        self._loop = loop
        if self._plane.kernel is not None:
            self._plane.kernel.watch(loop)
        self._relay()

    def pause(self) -> None:
        """Relay nothing: what arrives waits in the sockets, or is relayed by the kernel as before."""
        if self._relaying is not None:
            self._relaying.stop()
        self._relaying = None

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
        self.pause()
        self._loop = None
        now = time.monotonic()
        for call in list(self._table):
            self._table.close_call(call.call_id, now=now)
        self.update_stats()
        self._plane.close()

    # --- commands -------------------------------------------------------------------------------

    def execute(self, command: RelayCommand) -> RelayResult:
        """Do what a command says; everything that it changes is in force when this returns.

        Raises Refused where the rules turn it down, ProtocolError where a value is out of range.
        """
        try:
            return self._count(command)
        finally:
            if call_id := changed_by(command):
                self._events.call_changed(call_id)

    def _count(self, command: RelayCommand) -> RelayResult:
        sockets = self._table.resources.sockets
        try:
            result = self._execute(command)
        except (Refused, ProtocolError) as exc:
            if isinstance(exc, PortsExhausted):
                self._shortage.refused(exc)
            self._accounts.count_command(command, "refused")
            raise
        except Exception:
            self._accounts.count_command(command, "failed")
            raise
        if self._table.resources.sockets > sockets:
            self._shortage.granted()
        self._accounts.count_command(command, "ok")
        return result

    def allocate_sockets(
        self, key: TransactionKey, side: Side, address: str, media: Sequence[Media]
    ) -> tuple[RelayMedia, ...]:
        """The relay's ports for the media of one SDP.

        Arguments:
            key: call, transaction and ends; its cseq must not be None.
            side: who sent the SDP.
            address: the local IP address to listen on.
            media: what the SDP announced.

        Raises MalformedRequest, Draining, LimitReached, StaleTransaction, PortsExhausted,
        AddressUnavailable.
        """
        if key.cseq is None:
            raise MalformedRequest("allocate: cseq is missing")
        return self._table.allocate(
            call_id=key.call_id,
            id_from=key.id_from,
            id_to=key.id_to,
            cseq=key.cseq,
            side=side,
            address=canonical_address(address, where="allocate: address"),
            media=tuple(media),
            now=time.monotonic(),
        )

    def activate_session(self, key: TransactionKey, param: dict[str, str] | None = None) -> bool:
        """Relay between the two ends; returns False if that was so already.

        Arguments:
            key: call, transaction and ends; its cseq must not be None.
            param: handed back in the session information, with uri_from and uri_to.

        Raises MalformedRequest, UnknownCall, NotAllocated, StaleTransaction, SocketCountMismatch.
        """
        if key.cseq is None:
            raise MalformedRequest("activate: cseq is missing")
        uris = {"uri_from": key.uri_from, "uri_to": key.uri_to}
        return self._table.activate(
            call_id=key.call_id,
            id_from=key.id_from,
            id_to=key.id_to,
            cseq=key.cseq,
            param={k: v.decode("utf-8", "backslashreplace") for k, v in uris.items()} | (param or {}),
            now=time.monotonic(),
        )

    def close_session(self, key: TransactionKey) -> list[SessionInfo]:
        """End the transaction's session, or with cseq None or 0 every session between the two ends.

        Returns what ended. Raises UnknownCall.
        """
        return self._table.close(
            call_id=key.call_id,
            id_from=key.id_from,
            id_to=key.id_to,
            cseq=key.cseq,
            now=time.monotonic(),
        )

    def close_call(self, call_id: bytes) -> list[SessionInfo]:
        """End everything under a call-id. Returns what ended. Raises UnknownCall."""
        return self._table.close_call(call_id, now=time.monotonic())

    def expire(self, *, now: float | None = None) -> None:
        """End what fell silent and close what nothing needs; done by itself once attached.

        Observers are told what ended, and why.

        Arguments:
            now: monotonic seconds; the clock's if None.
        """
        self._table.expire(now=time.monotonic() if now is None else now)

    def update_stats(self) -> None:
        """Bring `stats` up to date; done by itself once attached."""
        self._accounts.update()

    def _execute(self, command: RelayCommand) -> RelayResult:
        match command:
            case Allocate():
                media = self.allocate_sockets(command.key, command.side, command.address, command.media)
                return Allocated(media)
            case Activate():
                return Activated(self.activate_session(command.key, command.param))
            case Close():
                return Closed(len(self.close_session(command.key)))
            case CloseCall():
                return Closed(len(self.close_call(command.call_id)))
            case ListCalls() | ShowCall():
                return self._look_up(command)
            case _:
                return self._signalling.execute(command)

    def _look_up(self, command: ListCalls | ShowCall) -> RelayResult:
        now = time.monotonic()
        if isinstance(command, ShowCall):
            call = self._table.get_call(command.call_id)
            call.note(now=now)
            wall_offset_s = time.time() - now
            return describe_call(call, shard=self._shard, wall_offset_s=wall_offset_s, now=now)
        return list_calls(
            self._table,
            contains=command.contains,
            after=command.after,
            limit=command.limit,
            shard=self._shard,
            now=now,
        )

    def _relay(self) -> None:
        if self._loop is not None:
            self._relaying = Ticker(
                self._loop,
                self._plane.poll,
                coalesce_s=self._settings.coalesce_s,
                look=self._look,
                tick=self._tick,
            )

    def _look(self, now: float) -> None:
        self._plane.poll_sessions(since_s=LOOK_S, now=now)

    def _tick(self, now: float) -> None:
        self._plane.close_windows(now=now)
        self.expire(now=now)
        self._events.housekeeping(now)


class _SessionLog(CallObserver):
    """Writes down which sessions ended by themselves, and why."""

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        if reason is not EndReason.CLOSED:
            logger.info("session %d of call %r ended: %s", session.id, call_id, reason)


def changed_by(command: RelayCommand) -> bytes:
    """The call-id of the call that a command may change; b"" if it changes none."""
    match command:
        case ListCalls() | ShowCall() | Query():
            return b""
        case Allocate() | Activate() | Close():
            return command.key.call_id
        case _:
            return command.call_id
