"""Control: a relay behind the internal link. Commands arrive as records, results leave with their ids.

It knows the link's messages and nothing of the protocols that proxies speak.
"""

import functools
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nh.calls.events import CallObserver
from nh.calls.journal import Client
from nh.commands import RelayCommand
from nh.errors import KernelPathUnavailable, NhError
from nh.fastpath.flows import FlowTable
from nh.fastpath.netlink.routes import Routes
from nh.ipc.channel import Channel, close_all
from nh.ipc.counter_file import map_share
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.left_records import LeftRecord, leave_records
from nh.ipc.link_codec import UnknownMessage, decode_to_shard, encode
from nh.ipc.link_messages import (
    AllSaved,
    Configure,
    Configured,
    Detach,
    Execute,
    HoldLinks,
    NoCallsLeft,
    Ready,
    Reconfigure,
    Recorded,
    RefuseNewCalls,
    Restore,
    RestoreCall,
    Restored,
    Restoring,
    SaveAll,
    Serve,
    Shutdown,
    TakeNewCalls,
    TakeSockets,
    ToShard,
)
from nh.logs import configure_logging
from nh.loop import SelectorLoop
from nh.printable import counted
from nh.reasons import reason
from nh.results import Failure, RelayResult
from nh.shard.call_log import log_refusal
from nh.shard.lease_end import LeaseEnd
from nh.shard.link_reports import LinkReports
from nh.shard.media.kernel_path import KernelPath
from nh.shard.media.leg_memory import LegMemory
from nh.shard.other_version import refuse_foreign_calls
from nh.shard.process_stats import ProcessMeter
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink
from nh.shard.recovery.orphan import Orphan
from nh.shard.recovery.recovery import Recovery
from nh.shard.recovery.restore import RestoreQueue
from nh.shard.relay import Relay
from nh.shard.replies import Replies
from nh.shard.rtcp_watch import RtcpWatch
from nh.shard.timeout_watch import TimeoutWatch
from nh.stats import Segment, ShardStats, ShardWriter, attach_segment
from nh.time_slice import ask_for_short_slices
from nh.version import __version__

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_SUPERVISOR_GONE: Final = 3
EXIT_CANNOT_START: Final = 4

COMMANDS_A_TURN: Final = 8
"""Most commands in one turn of the loop, some 2 ms; packets wait for two turns at most."""

ENDED_A_TURN: Final = 50
"""Most calls that end in one turn of the loop, when nh ends."""


class Control(CallObserver):
    """One shard: set up by Configure, serving calls from Serve on, ended by Shutdown.

    If the link ends without Shutdown, the shard goes on as an Orphan for as long as it has calls.

    Args:
        loop: the shard's own loop.
        link: the shard's end of the link.
        on_configured: called with the shard's number, when it is known.

    Attributes:
        exit_status: the status with which the process is to exit once the loop has stopped.
    """

    def __init__(
        self,
        loop: SelectorLoop,
        link: socket.socket,
        on_configured: Callable[[int], None] = lambda _shard: None,
    ) -> None:
        self.exit_status = EXIT_OK
        self._on_configured = on_configured
        self._loop = loop
        self._channel = Channel(
            loop,
            link,
            self._on_record,
            self._on_lost,
            after_records=self._execute_waiting,
            most=COMMANDS_A_TURN,
        )
        self._waiting: list[Execute] = []  # read in this turn
        self._sink = LinkCheckpointSink(self._channel)
        self._replies = Replies(self._channel, self._sink)
        self._reports = LinkReports(self._channel)
        self._restore_queue = RestoreQueue()
        self._recovery: Recovery | None = None
        self._rtcp_watch: RtcpWatch | None = None
        self._serving = False
        self._configure: Configure | None = None
        self._meter: ProcessMeter | None = None
        self._handover_socket: HandoverSocket | None = None
        self._orphan: Orphan | None = None
        self._lease_end: LeaseEnd | None = None
        self._links: list[int] = []
        self._segment: Segment | None = None
        self._shutting_down = False
        self._calls_stay = False
        self._detached = False
        # the round of the drain for which NoCallsLeft is still to be sent; None: there is nothing to send
        self._drain_round: int | None = None

    def close(self) -> None:
        """End all calls and publish the last counters. The checkpoints of calls stay.

        Calls that were handed over are their new process's, and calls that were restored before Serve may
        still be relayed by the process that had them: both are left alone.
        """
        self._sink.close()
        self._restore_queue.close()
        departed = False
        if self._orphan is not None:
            self._orphan.close()
            departed = self._orphan.departed
        if self._handover_socket is not None:
            self._handover_socket.close()
        if self.exit_status == EXIT_SUPERVISOR_GONE and not departed:
            self._leave_records()
        if self._recovery is not None and not departed and (self._serving or not self._recovery.calls):
            self._recovery.relay.pause()
            self._forget_lease()
            self._recovery.relay.close(calls_stay=self._calls_stay)
            self._publish()
        self._forget_lease()
        self._hold_links([])
        if self._segment is not None:
            self._segment.close()
        self._channel.close()

    def _leave_records(self) -> None:
        """Leave what no supervisor has confirmed for the next one."""
        left = [LeftRecord(number, record) for number, _, record in self._sink.records]
        if not left or self._configure is None or not self._configure.handover_path:
            return
        try:
            leave_records(Path(self._configure.handover_path), left)
        except OSError as exc:
            logger.error("the records of %s are lost: %s", counted(len(left), "call"), exc)

    # --- messages of the supervisor ---------------------------------------------------------------

    def _on_record(self, record: bytes, fds: list[int]) -> None:
        try:
            message = decode_to_shard(record)
        except UnknownMessage as exc:
            logger.warning(
                "the supervisor's message %s is left alone: this version of nh does not know it", exc
            )
            return
        if type(message) is Execute:
            self._waiting.append(message)
            return
        self._execute_waiting()
        match message:
            case Configure() as configure:
                self._or_exit(lambda: self._set_up(configure))
            case TakeSockets(endpoints):
                self._restore_queue.take_sockets(endpoints, fds)
            case RestoreCall() as call:
                self._restore_queue.add(call)
            case Restore() as restore:
                self._or_exit(lambda: self._restore(restore))
            case Serve():
                self._or_exit(self._serve)
            case HoldLinks():
                self._hold_links(fds)
            case Shutdown(calls_stay):
                self._shutting_down = True
                self._calls_stay = calls_stay
                self._shut_down()
            case _:
                self._on_announcement(message)

    def _on_announcement(self, message: ToShard) -> None:
        match message:
            case RefuseNewCalls() | TakeNewCalls():
                self._drain(message)
            case Reconfigure():
                self._reconfigure(message)
            case SaveAll():
                self._save_all()
            case Detach():
                self._detached = True
            case Recorded(number):
                self._sink.records.confirm(number)

    def _shut_down(self) -> None:
        recovery, configure = self._recovery, self._configure
        if recovery is not None and configure is not None and configure.records and not self._calls_stay:
            self._end_calls(recovery)
            return
        if recovery is not None:
            recovery.checkpointer.save_all()
        self._loop.stop()

    def _save_all(self) -> None:
        if self._recovery is not None:
            self._recovery.checkpointer.save_in_turns(self._report_saved)

    def _report_saved(self) -> None:
        self._sink.catch_up()
        if self._sink.has_backlog:
            self._loop.call_later(0.001, self._report_saved)
        else:
            self._channel.send(encode(AllSaved()))

    def _end_calls(self, recovery: Recovery) -> None:
        """End the calls, as fast as the supervisor reads their records; then the shard ends."""
        self._sink.catch_up()
        if not self._sink.has_backlog:
            if not recovery.relay.calls:
                self._loop.stop()
                return
            recovery.relay.end_calls(ENDED_A_TURN)
        self._loop.call_later(0.001, lambda: self._end_calls(recovery))

    def _execute_waiting(self) -> None:
        """Execute the commands that have been read: the supervisor gets their results at once."""
        together = self._configure is not None and self._configure.together
        while self._waiting:
            some, self._waiting = (self._waiting, []) if together else (self._waiting[:1], self._waiting[1:])
            self._replies.hold()
            for each in some:
                self._execute(each.command, each.client, functools.partial(self._replies.send, each.id))
            self._replies.flush()
            self._report_if_empty()

    def _or_exit(self, step: Callable[[], None]) -> None:
        if self.exit_status != EXIT_OK:
            return
        try:
            step()
        except Exception:
            # for people: the supervisor learns from the end of the process
            logger.exception(
                "shard %d cannot start; the supervisor starts another",
                self._configure.relay.shard if self._configure is not None else -1,
            )
            self.exit_status = EXIT_CANNOT_START
            self._loop.stop()

    def _set_up(self, configure: Configure) -> None:
        self._configure = configure
        self._on_configured(configure.relay.shard)
        configure_logging(configure.log)
        refuse_foreign_calls(configure)
        ask_for_short_slices()
        if configure.deadline_path:
            self._lease_end = LeaseEnd(self._loop, Path(configure.deadline_path), self._on_lease_over)
        segment = self._segment = attach_segment(configure.stats_segment)
        self._writer = ShardWriter(segment, configure.relay.shard)
        stats = self._writer.resume()
        kernel, kernel_off = _kernel_path(configure, stats)
        memory = _leg_memory(configure)
        relay = Relay(configure.relay, stats=stats, kernel=kernel, kernel_off=kernel_off, memory=memory)
        self._recovery = Recovery(relay, self._sink, records=configure.records)
        relay.observe(self)
        relay.observe(TimeoutWatch(relay.table, self._reports.media_timed_out))
        if configure.rtcp:
            self._rtcp_watch = RtcpWatch(self._reports.rtcp_seen)
            relay.observe(self._rtcp_watch)
        self._channel.send(encode(Configured()))

    def _restore(self, restore: Restore) -> None:
        recovery, configure = self._recovery, self._configure
        if recovery is None or configure is None:
            raise ValueError("Restore came before Configure")
        recovery.relay.continue_counters(restore.counters, kernel_has_them=configure.successor)
        on_begin = self._report_restoring if restore.report_each else None
        counts = self._restore_queue.restore(recovery.restorer, on_begin)
        if self._rtcp_watch is not None:
            self._rtcp_watch.watch_all(recovery.relay.table)
        self._sink.release_sockets(self._restore_queue.close())
        self._channel.send(encode(Restored(counts.restored, counts.failed)))

    def _report_restoring(self, call: int) -> None:
        self._channel.send(encode(Restoring(call)))

    def _serve(self) -> None:
        recovery, configure = self._recovery, self._configure
        if recovery is None or configure is None:
            raise ValueError("Serve came before Configure")
        stats = recovery.relay.stats
        self._meter = ProcessMeter(self._loop, stats)
        self._serving = True
        recovery.attach(self._loop)
        recovery.relay.update_stats()
        self._publish()
        if configure.handover_path:
            self._handover_socket = HandoverSocket.open(configure.handover_path)
        self._channel.send(encode(Ready(pid=stats.pid, version=__version__)))

    def _execute(self, command: RelayCommand, client: Client, reply: Callable[[RelayResult], None]) -> None:
        if self._recovery is None or not self._serving:
            reply(Failure("unavailable", "the shard does not serve calls yet"))
            return
        try:
            self._recovery.relay.answer(command, reply, client)
        except NhError as exc:
            log_refusal(command, exc)
            reply(Failure.of(exc))
        except Exception:
            # a bug must cost one command, not the shard's calls
            name = type(command).__name__
            logger.exception("the command %s failed: this is a bug in nh, calls go on", name)
            reply(Failure("internal", f"{name} failed inside nh; its log says why"))

    def _hold_links(self, fds: list[int]) -> None:
        close_all(self._links)
        self._links = list(fds)
        fds.clear()

    def _reconfigure(self, reconfigure: Reconfigure) -> None:
        configure_logging(reconfigure.log)
        if self._recovery is not None:
            self._recovery.relay.change_settings(reconfigure.relay)

    # --- drain ------------------------------------------------------------------------------------

    def _drain(self, message: RefuseNewCalls | TakeNewCalls) -> None:
        """Refuse new calls, in a round of the supervisor's, or take them again."""
        if self._recovery is not None:
            self._drain_round = message.round if isinstance(message, RefuseNewCalls) else None
            self._recovery.relay.draining = self._drain_round is not None
            self._report_if_empty()

    def _report_if_empty(self) -> None:
        if self._drain_round is None or self._recovery is None or self._recovery.calls:
            return
        try:
            self._channel.send(encode(NoCallsLeft(self._drain_round)))
        except NhError:  # the supervisor does not read; the next housekeeping tries again
            return
        self._drain_round = None

    # --- time, and the end of the link ------------------------------------------------------------

    def housekeeping(self, _now: float) -> None:
        """See CallObserver."""
        self._publish()
        self._sink.catch_up()
        self._report_if_empty()
        if self._orphan is not None:
            self._orphan.end_if_empty()

    def _publish(self) -> None:
        if self._recovery is not None and self._meter is not None:
            self._meter.update()
            self._writer.publish(self._recovery.relay.stats)

    def _on_lost(self) -> None:
        self._execute_waiting()
        if self._shutting_down:  # the supervisor may end before this shard
            return
        self.exit_status = EXIT_SUPERVISOR_GONE
        recovery, configure, handover_socket = self._recovery, self._configure, self._handover_socket
        if configure is None:  # a zygote; the lines of the shards say what happened
            self._loop.stop()
            return
        level, event = logging.WARNING, "the supervisor is gone"
        if self._detached:
            level, event = logging.INFO, "the supervisor hands over"
        number = configure.relay.shard
        if recovery is None or handover_socket is None or not recovery.calls:
            logger.log(level, "%s: shard %d ends, because it has no calls", event, number)
            self._loop.stop()
            return
        logger.log(
            level,
            "%s: shard %d relays its %s until the next supervisor has them",
            event,
            number,
            counted(recovery.calls, "call"),
        )
        self._drain(TakeNewCalls())
        self._orphan = Orphan(
            self._loop,
            recovery,
            configure,
            handover_socket,
            records=self._sink.records,
            on_over=self._loop.stop,
        )

    def _on_lease_over(self) -> None:
        """End, and leave the calls to the relay that may have them."""
        if self._recovery is not None and self._recovery.calls:
            logger.error(
                "shard %d ends: the lease of its calls is not renewed%s, so another relay may have them",
                *(self._recovery.relay.shard, "" if self._orphan is None else " by any supervisor"),
            )
        self._calls_stay = True
        self._loop.stop()

    def _forget_lease(self) -> None:
        if self._lease_end is not None:
            self._lease_end.close()
            self._lease_end = None


def _leg_memory(configure: Configure) -> LegMemory | None:
    """The shard's memory of counters, None without; then each refresh of a call is a snapshot."""
    if configure.counters_fd < 0:
        return None
    try:
        return LegMemory(map_share(configure.counters_fd, configure.relay.shard))
    except (OSError, ValueError) as exc:
        logger.warning(
            "shard %d saves counters with snapshots: it cannot use the counter file: %s",
            configure.relay.shard,
            exc,
        )
        return None


def _kernel_path(configure: Configure, stats: ShardStats) -> tuple[KernelPath | None, str]:
    """The shard's path in the kernel, or why there is none; the shard then relays in user space."""
    maps = configure.kernel
    if maps is None:
        return None, configure.kernel_off
    try:
        flows = FlowTable(
            maps.flows_fd,
            maps.counters_fd,
            shard=configure.relay.shard,
            first_index=maps.first_index,
            indexes=maps.indexes,
            carry_over=(stats.kernel_packets, stats.kernel_bytes),
            successor=configure.successor,
        )
        return KernelPath(flows, Routes()), ""
    except (KernelPathUnavailable, OSError) as refusal:
        logger.warning(
            "shard %d relays in user space, not inside the kernel: %s", configure.relay.shard, reason(refusal)
        )
        return None, f"its shard cannot use the kernel's tables: {reason(refusal)}"
