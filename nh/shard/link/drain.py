"""Drain: whether a shard refuses new calls, and its report that none are left.

The supervisor counts its drains in rounds: a report belongs to the round that asked for it.
"""

from nh.errors import NhError
from nh.ipc.channel import Channel
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import NoCallsLeft, RefuseNewCalls, TakeNewCalls
from nh.shard.shard import Shard


class ShardDrain:
    """The drain of one shard.

    Args:
        channel: the link to the supervisor.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # the round for which NoCallsLeft is still to be sent; None: there is nothing to send
        self._round: int | None = None

    def follow(self, message: RefuseNewCalls | TakeNewCalls, shard: Shard) -> None:
        """Refuse new calls, in a round of the supervisor's, or take them again."""
        self._round = message.round if isinstance(message, RefuseNewCalls) else None
        shard.relay.draining = self._round is not None
        self.report_if_empty(shard)

    def report_if_empty(self, shard: Shard) -> None:
        """Send NoCallsLeft, once a round, if the shard drains and has no calls."""
        if self._round is None or shard.calls:
            return
        try:
            self._channel.send(encode(NoCallsLeft(self._round)))
        except NhError:  # the supervisor does not read; the next housekeeping tries again
            return
        self._round = None
