"""Control: a Helper behind the internal link. Commands come in as records, results go out with their ids.

It knows the link's messages and nothing of the protocols that proxies speak.
"""

import logging
import socket
from collections.abc import Callable
from typing import Final

from nh.calls.events import CallObserver
from nh.commands import RelayCommand
from nh.errors import KernelPathUnavailable, NhError
from nh.fastpath.flows import FlowTable
from nh.fastpath.netlink.routes import Routes
from nh.ipc.channel import Channel, close_all
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.link_messages import (
    MAX_MESSAGE_BYTES,
    Configure,
    Configured,
    Execute,
    Executed,
    HoldLinks,
    NoCallsLeft,
    Ready,
    RefuseNewCalls,
    Restore,
    RestoreCall,
    Restored,
    Restoring,
    Serve,
    Shutdown,
    TakeNewCalls,
    TakeSockets,
    decode_to_shard,
    encode,
)
from nh.loop import SelectorLoop
from nh.results import Failure, Queried, RelayResult
from nh.shard.media.kernel_path import KernelPath
from nh.shard.process_stats import ProcessMeter
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink
from nh.shard.recovery.orphan import Orphan
from nh.shard.recovery.recoverable_relay import RecoverableRelay
from nh.shard.recovery.restoration import RestoreQueue
from nh.stats import Segment, ShardStats, ShardWriter, attach_segment
from nh.version import __version__

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_SUPERVISOR_GONE: Final = 3
EXIT_CANNOT_START: Final = 4


class Control(CallObserver):
    """One shard: built when Configure comes, serving from Go on, ended by Shutdown.

    If the link ends without, it goes on as an Orphan for as long as it has calls.

    Arguments:
        loop: the shard's own loop.
        link: the shard's end of the link.
    """

    def __init__(self, loop: SelectorLoop, link: socket.socket) -> None:
        self.exit_status = EXIT_OK
        self._loop = loop
        self._channel = Channel(loop, link, self._on_record, self._on_lost)
        self._keep = LinkCheckpointSink(self._channel)
        self._restoration = RestoreQueue()
        self._helper: RecoverableRelay | None = None
        self._started = False
        self._configure: Configure | None = None
        self._meter: ProcessMeter | None = None
        self._handover_socket: HandoverSocket | None = None
        self._orphan: Orphan | None = None
        self._links: list[int] = []
        self._segment: Segment | None = None
        self._told_to_end = False
        # of the drain in which it is yet to be told that no call is left; None: there is nothing to tell
        self._drain_round: int | None = None

    def close(self) -> None:
        """End all calls and publish the last counters. What is kept of the calls stays kept.

        Calls that were handed over are somebody else's, and are left alone; so are those that were restored
        before Go: whoever had them may have gone on, with the same sockets.
        """
        self._keep.close()
        self._restoration.close()
        departed = False
        if self._orphan is not None:
            self._orphan.close()
            departed = self._orphan.departed
        if self._handover_socket is not None:
            self._handover_socket.close()
        if self._helper is not None and not departed and (self._started or not self._helper.calls):
            self._helper.close()
            self._publish()
        self._hold_links([])
        if self._segment is not None:
            self._segment.close()
        self._channel.close()

    def _on_record(self, record: bytes, fds: list[int]) -> None:
        match decode_to_shard(record):
            case Execute(id=request_id, command=command):
                self._reply(request_id, self._execute(command))
                self._tell_if_empty()
            case Configure() as configure:
                self._or_end(lambda: self._set_up(configure))
            case TakeSockets(endpoints):
                self._restoration.take(endpoints, fds)
            case RestoreCall() as call:
                self._restoration.add(call)
            case Restore() as start:
                self._or_end(lambda: self._restore(start))
            case Serve():
                self._or_end(self._go)
            case HoldLinks():
                self._hold_links(fds)
            case RefuseNewCalls(round=drain_round):
                self._drain(drain_round)
            case TakeNewCalls():
                self._drain(None)
            case Shutdown():
                self._told_to_end = True
                if self._helper is not None:
                    self._helper.save_all()
                self._loop.stop()

    def _or_end(self, step: Callable[[], None]) -> None:
        if self.exit_status != EXIT_OK:
            return
        try:
            step()
        except Exception:
            # a shard without settings is of no use: its end tells the supervisor, this line tells people
            logger.exception(
                "shard %d cannot start", self._configure.shard if self._configure is not None else -1
            )
            self.exit_status = EXIT_CANNOT_START
            self._loop.stop()

    def _set_up(self, configure: Configure) -> None:
        self._configure = configure
        logging.getLogger().setLevel(configure.log_level.upper())
        segment = self._segment = attach_segment(configure.stats_segment)
        self._writer = ShardWriter(segment, configure.shard)
        stats = self._writer.resume()
        kernel, kernel_off = _kernel_path(configure, stats)
        self._helper = RecoverableRelay(
            configure.relay,
            ports=configure.ports,
            shard=configure.shard,
            shards=configure.shards,
            stats=stats,
            interfaces=configure.interfaces,
            kernel=kernel,
            kernel_off=kernel_off,
            relay_ports=configure.relay_ports,
            keep=self._keep,
            known_session=configure.known_session,
        )
        self._channel.send(encode(Configured()))

    def _restore(self, start: Restore) -> None:
        helper, configure = self._helper, self._configure
        if helper is None or configure is None:
            raise ValueError("Restore came before Configure")
        helper.go_on_from(start.counters, kernel_has_them=configure.successor)
        restored, failed = self._restoration.restore(helper, self._say_restoring if start.careful else None)
        self._keep.release_sockets(self._restoration.close())
        self._channel.send(encode(Restored(restored, failed)))

    def _go(self) -> None:
        helper, configure = self._helper, self._configure
        if helper is None or configure is None:
            raise ValueError("Serve came before Configure")
        self._meter = ProcessMeter(self._loop, helper.stats)
        self._started = True
        helper.observe(self)
        helper.attach(self._loop)
        helper.update_stats()
        self._publish()
        if configure.handover_path:
            self._handover_socket = HandoverSocket.open(configure.handover_path)
        self._channel.send(encode(Ready(pid=helper.stats.pid, version=__version__)))

    def _say_restoring(self, call: int) -> None:
        self._channel.send(encode(Restoring(call)))

    def _execute(self, command: RelayCommand) -> RelayResult:
        if self._helper is None or not self._started:
            return Failure("unavailable", "the shard has no settings yet")
        try:
            return self._helper.execute(command)
        except NhError as exc:
            logger.debug("%s is refused: %s", type(command).__name__, exc)
            return Failure.of(exc)
        except Exception:
            # a bug must cost one command, not the shard's calls
            logger.exception("a command failed: %s", type(command).__name__)
            return Failure("internal", f"{type(command).__name__} failed inside nh; its log says why")

    def _reply(self, request_id: int, result: RelayResult) -> None:
        record = encode(Executed(request_id, result))
        if len(record) > MAX_MESSAGE_BYTES and isinstance(result, Queried):
            # what a delete did is done: it must not look as if it had failed
            record = encode(Executed(request_id, result.without_details()))
        if len(record) > MAX_MESSAGE_BYTES:
            failure = Failure("limit", f"the answer has {len(record)} bytes, more than {MAX_MESSAGE_BYTES}")
            record = encode(Executed(request_id, failure))
        try:
            self._channel.send(record)
        except NhError as exc:
            # the supervisor does not read; it gives every command up after a while
            logger.error("an answer was dropped: %s", exc)

    def _drain(self, drain_round: int | None) -> None:
        """Take no new calls, in a round of the supervisor's, or take them again (None)."""
        if self._helper is not None:
            self._helper.draining = drain_round is not None
            self._drain_round = drain_round
            self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self._drain_round is None or self._helper is None or self._helper.calls:
            return
        try:
            self._channel.send(encode(NoCallsLeft(self._drain_round)))
        except NhError:  # the supervisor does not read; it is told at the next tick
            return
        self._drain_round = None

    def housekeeping(self, _now: float) -> None:
        """See CallObserver."""
        self._publish()
        self._keep.catch_up()
        self._tell_if_empty()
        if self._orphan is not None:
            self._orphan.look()

    def _publish(self) -> None:
        if self._helper is not None and self._meter is not None:
            self._meter.update()
            self._writer.publish(self._helper.stats)

    def _hold_links(self, fds: list[int]) -> None:
        close_all(self._links)
        self._links = list(fds)
        fds.clear()

    def _on_lost(self) -> None:
        if self._told_to_end:  # the supervisor need not wait for it
            return
        self.exit_status = EXIT_SUPERVISOR_GONE
        if (
            self._started
            and self._helper is not None
            and self._handover_socket is not None
            and self._helper.calls
        ):
            assert self._configure is not None
            self._drain(None)
            self._orphan = Orphan(
                self._loop, self._helper, self._configure, self._handover_socket, on_over=self._loop.stop
            )
            return
        logger.error("the supervisor is gone; ending")
        self._loop.stop()


def _kernel_path(configure: Configure, stats: ShardStats) -> tuple[KernelPath | None, str]:
    """The shard's path in the kernel, or why there is none: a shard that lacks it relays all the same."""
    maps = configure.kernel
    if maps is None:
        return None, configure.kernel_off
    try:
        flows = FlowTable(
            maps.flows_fd,
            maps.counters_fd,
            shard=configure.shard,
            first_index=maps.first_index,
            indexes=maps.indexes,
            carry_over=(stats.kernel_packets, stats.kernel_bytes),
            successor=configure.successor,
        )
        return KernelPath(flows, Routes()), ""
    except (KernelPathUnavailable, OSError) as refusal:
        logger.warning("shard %d relays in user space, not inside the kernel: %s", configure.shard, refusal)
        return None, f"its shard cannot use the kernel's tables: {refusal}"
