"""What the handle of a shard process needs: who owns it, and the backup that its process fills."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from nh.ipc import link_messages as link
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.report_messages import MediaTimedOut, RtcpSeen


class RecoverySource(Protocol):
    """The backup of a shard: filled by its process, and given to the next one."""

    def begin(self) -> Iterator[tuple[link.ToShard, list[int]]]:
        """The messages that follow Configured, with their descriptors; the last one is Restore."""

    def back_up(self, messages: Sequence[BackupMessage], fds: list[int]) -> None:
        """The messages of one record of the shard. Descriptors that are stored are removed from `fds`.

        Raises:
            ProtocolViolation: a message makes no sense.
        """

    def restoring(self, message: link.Restoring) -> None:
        """The shard begins to restore a call. Raises ProtocolViolation if it did not get that call."""

    def restored(self, message: link.Restored) -> None:
        """The shard has restored what it can, and was told to Serve."""

    def ready(self) -> None:
        """The shard is up."""

    def died(self) -> None:
        """The process has ended, and its link was read to the end."""


class HandleOwner(Protocol):
    """Who has the handle of a process: hears what becomes of the process, and what it reports."""

    def on_ready(self) -> None:
        """Called once, when the shard serves calls."""

    def on_exit(self, why: str) -> None:
        """Called once, with the reason, when the process is reaped and all commands are answered."""

    def on_answered(self, duration_s: float) -> None:
        """Called for each command that the shard answered in time, with the seconds that it took."""

    def on_no_calls_left(self, message: link.NoCallsLeft) -> None:
        """Called with each such message of the shard."""

    def on_media_timed_out(self, message: MediaTimedOut) -> None:
        """Called with each such message of the shard."""

    def on_rtcp_seen(self, message: RtcpSeen) -> None:
        """Called with each such message of the shard."""

    def on_all_saved(self, message: link.AllSaved) -> None:
        """Called with each such message of the shard."""
