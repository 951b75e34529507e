"""Executor: carries out the commands of all protocols, and counts and writes down what becomes of them."""

import time
from collections.abc import Callable
from typing import Any, cast

from nh.calls.call_event import Client
from nh.calls.events import CallObservers
from nh.calls.settings import RelayConfig
from nh.calls.table import CallTable
from nh.command_table import INFO
from nh.commands import (
    Activate,
    Allocate,
    CallCommand,
    Close,
    CloseCall,
    DeleteAll,
    DeleteSessions,
    ListCalls,
    Lookup,
    QuerySession,
    RelayCommand,
    ShowCall,
    Update,
)
from nh.errors import NhError, ProtocolError, Refused
from nh.loop import Loop
from nh.results import CallDetail, RelayResult
from nh.shard.limit_log import LimitLog
from nh.shard.media.plane import SocketPlane
from nh.shard.netsip import Transactions
from nh.shard.ng.signalling import Signalling
from nh.shard.observers.stats_collector import StatsCollector
from nh.shard.observers.timeline import TimelineWriter
from nh.shard.rtpproxy.sessions import Sessions
from nh.shard.views.call_details import describe_call
from nh.shard.views.call_list import CallLister


class Executor:
    """The commands of one relay.

    Args:
        config: numbering, and where calls of ng and rtpproxy may be.
        table: the calls.
        plane: their sockets.
        events: gets what a command is about to change, and has changed.
        timelines: writes commands into the timelines of their calls.
        collector: counts commands.
        limits: logs what refuses calls.

    Attributes:
        transactions: the commands of Net::SIP, as methods.
    """

    def __init__(
        self,
        config: RelayConfig,
        table: CallTable,
        plane: SocketPlane,
        *,
        events: CallObservers,
        timelines: TimelineWriter,
        collector: StatsCollector,
        limits: LimitLog,
    ) -> None:
        self._table = table
        self._plane = plane
        self._events = events
        self._timelines = timelines
        self._collector = collector
        self._shard = config.shard
        self._limits = limits
        self._lister = CallLister(table, config.shard)
        self._signalling = Signalling(table, config.interfaces)
        self._sessions = Sessions(table, config.interfaces)
        self.transactions = Transactions(table)
        # a table, because isinstance() is slow for each msgspec struct that a command is not
        self._executions: dict[type, Callable[[Any], RelayResult]] = {
            **dict.fromkeys((Allocate, Activate, Close, CloseCall), self.transactions.execute),
            **dict.fromkeys(
                (Update, Lookup, QuerySession, DeleteSessions, DeleteAll), self._sessions.execute
            ),
            ListCalls: self._lister.make,
            ShowCall: self._show,
        }

    def close(self) -> None:
        """Lists that are being made get no reply."""
        self._lister.close()

    def execute(self, command: RelayCommand, client: Client) -> RelayResult:
        """Carry out a command; see Relay.execute()."""
        self._timelines.begin_command(command, client)
        changed = _changed_by(command)
        if changed is not None:
            self._events.call_changing(changed)
        try:
            return self._count(command)
        except NhError as exc:
            self._timelines.command_failed(exc)
            raise
        finally:
            self._timelines.end_command()
            if changed is not None:
                self._events.call_changed(changed)

    def begin_list(self, loop: Loop, command: ListCalls, reply: Callable[[RelayResult], None]) -> None:
        """Make a list beside what else runs on `loop`; `reply` is called once, now or later."""
        self._collector.count_command(command, "ok")
        self._lister.begin(loop, command, reply)

    def _count(self, command: RelayCommand) -> RelayResult:
        sockets = self._table.resources.sockets
        try:
            result = self._execute(command)
        except (Refused, ProtocolError) as exc:
            self._limits.refused(exc)
            self._collector.count_refusal(exc)
            self._collector.count_command(command, "refused")
            raise
        except Exception:
            self._collector.count_command(command, "failed")
            raise
        if self._table.resources.sockets > sockets:
            self._limits.granted()
        self._collector.count_command(command, "ok")
        return result

    def _execute(self, command: RelayCommand) -> RelayResult:
        return self._executions.get(type(command), self._signalling.execute)(command)

    def _show(self, command: ShowCall) -> CallDetail:
        now = time.monotonic()
        call = self._table.get_call(command.call_id)
        self._plane.collect()  # flows that have ended may have forwarded still
        call.note(now=now)
        for session in call.running:
            self._plane.count_lost(session)
        wall_offset_s = time.time() - now
        return describe_call(call, shard=self._shard, wall_offset_s=wall_offset_s, now=now)


def _changed_by(command: RelayCommand) -> bytes | None:
    """The call-id of the call that a command may change; None: it changes none, or is about many."""
    return cast("CallCommand", command).call_id if INFO[type(command)].changes_call else None
