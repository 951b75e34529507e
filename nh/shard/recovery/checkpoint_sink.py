"""Where a shard's checkpoints go, as what makes them sees it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from nh.calls.media import Endpoint


class CheckpointSink(Protocol):
    """Where checkpoints go. No method waits or raises: a relay goes on where nothing can be saved.

    In a shard this is the link to the supervisor (nh.shard.recovery.checkpoint_link). What is said here is in
    force, in this order, before the client knows the result of the command that caused it.
    """

    @property
    def has_backlog(self) -> bool:
        """Whether something of what was said waits until there is room."""

    def in_one_record(self) -> AbstractContextManager[None]:
        """What is said in the context goes out together at its end, so that its receiver wakes up once."""

    def store_sockets(self, endpoints: Sequence[Endpoint], fds: Sequence[int]) -> None:
        """Hold duplicates of sockets.

        Args:
            endpoints: their local addresses and ports.
            fds: their descriptors, as many, in the same order; they stay the caller's.
        """

    def release_sockets(self, endpoints: Sequence[Endpoint]) -> None:
        """Close the duplicates; no effect for those that are not held."""

    def save_call(self, call_id: bytes, snapshot: bytes) -> None:
        """The call is like this now."""

    def drop_call(self, call_id: bytes, record: bytes = b"") -> None:
        """The call has ended, or cannot be restored; `record` is its record, if there is one."""
