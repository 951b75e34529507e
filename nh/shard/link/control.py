"""Control: a shard behind the internal link. Commands arrive as records, results leave with their ids.

It knows the link's messages and nothing of the protocols that proxies speak.
"""

import logging
import socket
from collections.abc import Callable
from typing import Final

from nh.calls.events import CallObserver
from nh.fastpath.moving_flows import MovingFlows
from nh.ipc.channel import Channel
from nh.ipc.fd_passing import close_all
from nh.ipc.link_codec import UnknownMessage, decode_to_shard, encode
from nh.ipc.link_messages import (
    Configure,
    Configured,
    Detach,
    Execute,
    HoldLinks,
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
    TakeFlows,
    TakeNewCalls,
    TakeSockets,
    ToShard,
)
from nh.logs.lines import configure_logging
from nh.loop import SelectorLoop
from nh.reasons import START_SHORTAGES, shortage
from nh.shard.link.command_queue import COMMANDS_A_TURN, CommandQueue
from nh.shard.link.drain import ShardDrain
from nh.shard.link.last_messages import LastMessages
from nh.shard.link.next_supervisor import NextSupervisor
from nh.shard.link.replies import Replies
from nh.shard.link_reports import LinkReports
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink
from nh.shard.recovery.restore import RestoreQueue
from nh.shard.shard import Shard
from nh.time_slice import ask_for_short_slices
from nh.version import __version__

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_SUPERVISOR_GONE: Final = 3
EXIT_CANNOT_START: Final = 4


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
            after_records=lambda: self._commands.execute_all(),  # noqa: PLW0108  it is made below
            most=COMMANDS_A_TURN,
        )
        self._sink = LinkCheckpointSink(self._channel)
        self._last_messages = LastMessages(loop, self._channel, self._sink)
        self._next_supervisor = NextSupervisor(loop, self._sink.records, loop.stop)
        self._drain = ShardDrain(self._channel)
        self._commands = CommandQueue(Replies(self._channel, self._sink), self._report_if_empty)
        self._restore_queue = RestoreQueue()
        self._number = -1  # until Configure
        self._shard: Shard | None = None
        self._links: list[int] = []
        self._shutting_down = False
        self._calls_stay = False

    def close(self) -> None:
        """Close the shard (see Shard.close), and the link."""
        self._sink.close()
        self._restore_queue.close()
        self._next_supervisor.close()
        if self._shard is not None:
            handed_over = self._next_supervisor.handed_over
            if self.exit_status == EXIT_SUPERVISOR_GONE and not handed_over:
                self._next_supervisor.leave_records(self._shard)
            self._shard.close(handed_over=handed_over, calls_stay=self._calls_stay)
        self._hold_links([])
        self._channel.close()

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
            self._commands.add(message)
            return
        self._commands.execute_all()
        match message:
            case Configure() as configure:
                self._or_exit(lambda: self._set_up(configure))
            case TakeSockets(endpoints):
                self._restore_queue.take_sockets(endpoints, fds)
            case TakeFlows():
                self._take_flows(fds)
            case RestoreCall() as call:
                self._restore_queue.add(call)
            case Restore() as restore:
                self._or_exit(lambda: self._restore(restore))
            case Serve():
                self._or_exit(self._serve)
            case HoldLinks():
                self._hold_links(fds)
            case Shutdown(calls_stay):
                self._shut_down(calls_stay=calls_stay)
            case _:
                self._on_announcement(message)

    def _take_flows(self, fds: list[int]) -> None:
        kernel = self._shard.relay.plane.kernel if self._shard is not None else None
        if kernel is not None and len(fds) == len(("flows", "counters")):
            kernel.move_from(MovingFlows(*fds))
            fds.clear()

    def _on_announcement(self, message: ToShard) -> None:
        match message:
            case RefuseNewCalls() | TakeNewCalls():
                if self._shard is not None:
                    self._drain.follow(message, self._shard)
            case Reconfigure():
                self._reconfigure(message)
            case SaveAll():
                if self._shard is not None:
                    self._last_messages.save_all(self._shard)
            case Detach():
                self._next_supervisor.expected = True
            case Recorded(number):
                self._sink.records.confirm(number)

    def _shut_down(self, *, calls_stay: bool) -> None:
        self._shutting_down = True
        self._calls_stay = calls_stay
        if self._shard is not None:
            self._last_messages.end(self._shard, calls_stay=calls_stay)
        else:
            self._loop.stop()

    def _or_exit(self, step: Callable[[], None]) -> None:
        if self.exit_status != EXIT_OK:
            return
        try:
            step()
        except Exception as exc:
            # for people: the supervisor learns from the end of the process
            line = "shard %d cannot start%s; the supervisor starts another"
            if isinstance(exc, OSError) and exc.errno in START_SHORTAGES:
                logger.error(line, self._number, f": {shortage(exc)}")
            else:
                logger.exception(line, self._number, "")
            self.exit_status = EXIT_CANNOT_START
            self._loop.stop()

    def _set_up(self, configure: Configure) -> None:
        self._number = configure.relay.shard
        self._on_configured(self._number)
        configure_logging(configure.log)
        ask_for_short_slices()
        reports = LinkReports(self._channel)
        self._shard = Shard(self._loop, configure, self._sink, reports, self._on_lease_over)
        self._shard.relay.observe(self)
        self._commands.together = configure.together
        self._sink.together = configure.changes_together
        self._channel.send(encode(Configured()))

    def _restore(self, restore: Restore) -> None:
        on_begin = self._report_restoring if restore.report_each else None
        counts = self._configured().restore(restore, self._restore_queue, on_begin)
        self._sink.release_sockets(self._restore_queue.close())
        self._channel.send(encode(Restored(counts.restored, counts.failed)))

    def _report_restoring(self, call: int) -> None:
        self._channel.send(encode(Restoring(call)))

    def _serve(self) -> None:
        shard = self._configured()
        shard.serve()
        self._commands.relay = shard.relay
        self._next_supervisor.listen(shard, logging.WARNING)
        self._channel.send(encode(Ready(pid=shard.relay.stats.pid, version=__version__)))

    def _configured(self) -> Shard:
        if self._shard is None:
            raise ValueError("another message came before Configure")
        return self._shard

    def _hold_links(self, fds: list[int]) -> None:
        close_all(self._links)
        self._links = list(fds)
        fds.clear()

    def _reconfigure(self, reconfigure: Reconfigure) -> None:
        configure_logging(reconfigure.log)
        if self._shard is not None:
            self._shard.relay.change_settings(reconfigure.relay)

    # --- time, and the end of the link ------------------------------------------------------------

    def housekeeping(self, _now: float) -> None:
        """See CallObserver."""
        if self._shard is not None:
            self._shard.publish()
            self._next_supervisor.listen(self._shard)
        self._sink.catch_up()
        self._report_if_empty()
        self._next_supervisor.end_if_empty()

    def _report_if_empty(self) -> None:
        if self._shard is not None:
            self._drain.report_if_empty(self._shard)

    def _on_lost(self) -> None:
        self._commands.execute_all()
        if self._shutting_down:  # the supervisor may end before this shard
            return
        self.exit_status = EXIT_SUPERVISOR_GONE
        shard = self._shard
        if shard is None or not self._next_supervisor.await_it_as_orphan(shard):
            self._loop.stop()  # the shards of a zygote say what happened

    def _on_lease_over(self) -> None:
        """End, and leave the calls to the relay that may have them."""
        if self._shard is not None and self._shard.calls:
            logger.error(
                "shard %d ends: the lease of its calls is not renewed%s, so another relay may have them",
                *(self._number, " by any supervisor" if self._next_supervisor.is_orphan else ""),
            )
        self._calls_stay = True
        self._loop.stop()
