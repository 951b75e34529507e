"""Recovery: the calls of a relay outlive its process.

Calls are saved as they change (checkpoints), taken over from an earlier process (restore), handed over to a
successor (orphan). A relay that is part of another program (nh.server) has no recovery.
"""

from collections.abc import Iterator

from nh.loop import Loop
from nh.shard.observers.recorder import Recorder
from nh.shard.recovery.checkpoint_sink import CheckpointSink
from nh.shard.recovery.checkpoints import CallCheckpoint, Checkpointer
from nh.shard.recovery.restore import CallRestorer
from nh.shard.recovery.socket_backup import SocketBackup
from nh.shard.relay import Relay


class Recovery:
    """Saves, restores and hands over the calls of one relay.

    Args:
        relay: the relay, not attached yet.
        sink: where checkpoints go.
        records: whether calls that end get records, which go there, too.

    Attributes:
        relay: see above.
        checkpointer: saves the calls.
        restorer: restores the calls of an earlier process, before and after the relay is attached.
    """

    def __init__(self, relay: Relay, sink: CheckpointSink, *, records: bool = False) -> None:
        self.relay = relay
        recorder = Recorder(relay.table, relay.shard) if records else None
        self.checkpointer = Checkpointer(relay.table, sink, recorder)
        self.restorer = CallRestorer(relay.table, relay.plane, self.checkpointer, recorder)
        if recorder is not None:
            relay.observe(recorder)
        self._sockets = SocketBackup(sink)
        relay.observe(self._sockets)
        relay.observe(self.checkpointer)
        relay.observe(self.restorer)

    @property
    def calls(self) -> int:
        """Number of calls, with those that wait to be restored."""
        return self.relay.calls + len(self.restorer.waiting)

    def attach(self, loop: Loop) -> None:
        """Relay on `loop`, and save what packets and time change."""
        self._sockets.attach(loop)
        self.checkpointer.attach(loop)
        self.relay.attach(loop)

    def checkpoints(self) -> Iterator[CallCheckpoint]:
        """Each call as it is at the moment, with its sockets; the relay is paused meanwhile."""
        yield from self.checkpointer.checkpoints()
        for call_id, snapshot in self.restorer.checkpoints():
            yield CallCheckpoint(call_id, [], snapshot)
