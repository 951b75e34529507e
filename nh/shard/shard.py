"""Shard: a relay whose calls outlive its process, with the statistics and reports that its supervisor gets.

It is there from Configure on, restores the calls of an earlier process, serves calls, and ends. The link says
when (nh.shard.link).
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

from nh.ipc.link_messages import Configure, Restore
from nh.loop import SelectorLoop
from nh.shard.lease_end import LeaseEnd
from nh.shard.link_reports import LinkReports
from nh.shard.observers.heap_trim import HeapTrim
from nh.shard.observers.rtcp_watch import RtcpWatch
from nh.shard.observers.timeout_watch import TimeoutWatch
from nh.shard.other_version import refuse_foreign_calls
from nh.shard.process_stats import ProcessMeter
from nh.shard.recovery.checkpoint_sink import CheckpointSink
from nh.shard.recovery.recovery import Recovery
from nh.shard.recovery.restore import RestoreCounts, RestoreQueue
from nh.shard.relay import Relay
from nh.shard.shares import open_kernel_path, open_leg_memory
from nh.stats import ShardWriter, open_segment


class Shard:
    """One shard of a run.

    Args:
        loop: its own.
        configure: its settings.
        sink: where checkpoints of calls go.
        reports: sends what the supervisor reports to others.
        on_lease_over: called once, a moment before another relay may have the calls.

    Attributes:
        configure: see above.
        recovery: lets the calls outlive the process.
        relay: relays them.
        serving: whether serve() has been called.

    Raises:
        Unavailable: see refuse_foreign_calls().
        StatsUnavailable: the statistics cannot be read.
        OSError: the deadline cannot be read, or the kernel has no timer.
    """

    def __init__(
        self,
        loop: SelectorLoop,
        configure: Configure,
        sink: CheckpointSink,
        reports: LinkReports,
        on_lease_over: Callable[[], None],
    ) -> None:
        refuse_foreign_calls(configure)
        self.configure = configure
        self.serving = False
        self._loop = loop
        self._meter: ProcessMeter | None = None
        self._rtcp_watch: RtcpWatch | None = None
        self._lease_end: LeaseEnd | None = None
        with contextlib.ExitStack() as stack:
            if configure.deadline_path:
                self._lease_end = LeaseEnd(loop, Path(configure.deadline_path), on_lease_over)
                stack.callback(self._lease_end.close)
            segment = open_segment(configure.stats_fd, configure.stats_segment)
            stack.callback(segment.close)
            self._writer = ShardWriter(segment, configure.relay.shard)
            self.relay = self._make_relay()
            self.recovery = Recovery(self.relay, sink, records=configure.records)
            self._resources = stack.pop_all()
        self._observe(reports)

    def _make_relay(self) -> Relay:
        configure, stats = self.configure, self._writer.resume()
        kernel, kernel_off = open_kernel_path(configure, stats)
        memory = open_leg_memory(configure)
        return Relay(configure.relay, stats=stats, kernel=kernel, kernel_off=kernel_off, memory=memory)

    def _observe(self, reports: LinkReports) -> None:
        self.relay.observe(HeapTrim())
        self.relay.observe(TimeoutWatch(self.relay.table, reports.media_timed_out))
        if self.configure.rtcp:
            self._rtcp_watch = RtcpWatch(reports.rtcp_seen)
            self.relay.observe(self._rtcp_watch)

    @property
    def number(self) -> int:
        """Its number, from 0."""
        return self.relay.shard

    @property
    def calls(self) -> int:
        """Number of calls, with those that wait to be restored."""
        return self.recovery.calls

    def restore(
        self, restore: Restore, queue: RestoreQueue, on_begin: Callable[[int], None] | None
    ) -> RestoreCounts:
        """Restore the calls of an earlier process, which has stopped; see RestoreQueue.restore()."""
        if self.relay.plane.kernel is not None and self.configure.successor:
            self.relay.plane.kernel.find_stale_flows()  # it relayed when this process was set up
        self.relay.continue_counters(restore.counters, kernel_has_them=self.configure.successor)
        self.relay.plane.shares_ports = restore.shared_ports
        counts = queue.restore(self.recovery.restorer, on_begin)
        self.relay.plane.shares_ports = False
        if self._rtcp_watch is not None:
            self._rtcp_watch.watch_all(self.relay.table)
        self.relay.dtmf_watch.watch_all()
        return counts

    def serve(self) -> None:
        """Relay on the loop from now on."""
        self._meter = ProcessMeter(self._loop, self.relay.stats)
        self.serving = True
        self.recovery.attach(self._loop)
        self.relay.update_stats()
        self.publish()

    def publish(self) -> None:
        """Publish the statistics, once it serves calls."""
        if self._meter is not None:
            self._meter.update()
            self._writer.publish(self.relay.stats)

    def close(self, *, handed_over: bool, calls_stay: bool) -> None:
        """End all calls and publish the last counters. The checkpoints of calls stay.

        Calls that were handed over are their new process's, and calls that were restored before serve() may
        still be relayed by the process that had them: both are left alone.

        Args:
            handed_over: whether the calls were handed over.
            calls_stay: see nh.ipc.link_messages.Shutdown.
        """
        if not handed_over and (self.serving or not self.calls):
            self.relay.pause()
            if self._lease_end is not None:
                self._lease_end.close()
            self.relay.close(calls_stay=calls_stay)
            self.publish()
        self._resources.close()
