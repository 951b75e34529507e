"""What a shard asks of whoever keeps things for its successor: to hold its sockets, to keep its calls.

In a shard that is the supervisor, behind the link (nh.shard.recovery.checkpoint_link); where a relay
lives in the process of who uses it, nobody does.
"""

from collections.abc import Sequence
from typing import Protocol

from nh.calls.media import Endpoint


class CheckpointSink(Protocol):
    """Keeps things for a successor. No method waits or raises: a relay goes on where nothing can be kept.

    What is said is in force, in this order, before anybody knows the result of the command that caused it.
    """

    def hold(self, endpoints: Sequence[Endpoint], fds: Sequence[int]) -> None:
        """Hold duplicates of sockets.

        Arguments:
            endpoints: their local addresses and ports.
            fds: their descriptors, as many, in the same order; they stay the caller's.
        """

    def let_go(self, endpoints: Sequence[Endpoint]) -> None:
        """Close the duplicates; no effect for those that are not held."""

    def keep(self, call_id: bytes, snapshot: bytes) -> None:
        """A call is like this now."""

    def forget(self, call_id: bytes) -> None:
        """A call has ended."""
