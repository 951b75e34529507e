"""Last messages: what a shard tells the supervisor before it ends, or before it hands its calls over.

The supervisor reads as fast as it can, so the shard waits until nothing is left to be sent.
"""

from collections.abc import Sequence
from typing import Final

from nh.ipc.channel import Channel
from nh.ipc.link_codec import encode
from nh.ipc.link_messages import MAX_UNSAVED, AllSaved
from nh.loop import SelectorLoop
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink
from nh.shard.shard import Shard

ENDED_A_TURN: Final = 50
"""Most calls that end in one turn of the loop, when nh ends."""

RETRY_S: Final = 0.001
"""How long the shard waits, each time, for the supervisor to read."""


class LastMessages:
    """Saves or ends the calls of a shard.

    Args:
        loop: the shard's own loop.
        channel: the link to the supervisor.
        sink: sends snapshots and records on it.
    """

    def __init__(self, loop: SelectorLoop, channel: Channel, sink: LinkCheckpointSink) -> None:
        self._loop = loop
        self._channel = channel
        self._sink = sink

    def save_all(self, shard: Shard) -> None:
        """Save all calls, a part in each turn of the loop, and then tell the supervisor that it is done."""
        shard.recovery.checkpointer.save_in_turns(self._report_saved)

    def _report_saved(self, unsaved: Sequence[bytes]) -> None:
        self._sink.catch_up()
        if self._sink.has_backlog:
            self._loop.call_later(RETRY_S, lambda: self._report_saved(unsaved))
        else:
            self._channel.send(encode(AllSaved(tuple(unsaved[:MAX_UNSAVED]))))

    def end(self, shard: Shard, *, calls_stay: bool) -> None:
        """Have the supervisor get what it needs of the calls, and stop the loop.

        Args:
            shard: the shard.
            calls_stay: a store has the calls for the next start of nh. If not, and if the settings want
                records, each call ends and gets one.
        """
        if shard.configure.records and not calls_stay:
            self._end_calls(shard, list(shard.relay.table.call_ids))
            return
        shard.recovery.checkpointer.save_all()
        self._loop.stop()

    def _end_calls(self, shard: Shard, left: list[bytes]) -> None:
        """End these calls, as fast as the supervisor reads their records; then the shard ends."""
        # first: a bug must not keep the shard from its end
        self._loop.call_later(RETRY_S, lambda: self._end_calls(shard, left))
        self._sink.catch_up()
        if self._sink.has_backlog:
            return
        if not left:
            self._loop.stop()
            return
        some = left[-ENDED_A_TURN:]
        del left[-ENDED_A_TURN:]
        shard.relay.end_calls(some)
