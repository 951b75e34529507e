"""The shard after another one, in the test's own process, and a talk that goes on over the change."""

import os

from nh.calls.leg import Leg
from nh.calls.settings import RelayConfig
from nh.ipc.link_messages import RestoreCall
from nh.loop import SelectorLoop
from nh.shard.media.kernel.path import KernelPath
from nh.shard.recovery.recovery import Recovery
from nh.shard.relay import Relay
from nh.stats import ShardStats
from tests.calls.rtp import rtp_packet
from tests.shard.held import Held
from tests.shard.testbed import Conversation, RelayTestbed
from tools.harness.closing import Closing
from tools.harness.media_peer import MediaPeer
from tools.harness.waiting import turn_until

TALK = 77
"""SSRC of what Alice says."""


class NextShard(Closing):
    """A shard that goes on with the calls of a relay, which has stopped; none is restored yet.

    Args:
        before: the relay.
        ports: its media ports.
        kernel: the path in the kernel of the next shard.
    """

    def __init__(self, before: RelayTestbed, ports: range, kernel: KernelPath) -> None:
        before.relay.pause()
        assert before.relay.plane.kernel is not None
        before.relay.plane.kernel.hold()
        self.relay = Relay(RelayConfig(ports=(ports[0], ports[-1])), kernel=kernel)
        self.loop = SelectorLoop()
        self._recovery = Recovery(self.relay, Held())
        self._checkpoints = list(Recovery(before.relay, Held()).checkpoints())

    def restore(self) -> None:
        """Restore the calls, as with Restore."""
        for call_id, sockets, snapshot in self._checkpoints:
            inherited = {endpoint: os.dup(fd) for endpoint, fd in sockets}
            self._recovery.restorer.restore(inherited, [RestoreCall(call_id, snapshot)])

    def serve(self) -> None:
        """Relay, as with Serve."""
        self._recovery.attach(self.loop)
        self.relay.update_stats()

    def stats(self) -> ShardStats:
        """The counters, up to date."""
        self.relay.update_stats()
        return self.relay.stats

    def leg(self, call: Conversation) -> Leg:
        """The leg that receives what the caller says."""
        return self.relay.table.get_call(call.key.call_id).running[0].legs[0]

    def close(self) -> None:
        """End the calls."""
        self.relay.close()
        self.loop.close()


class Talk:
    """What Alice says to Bob, in packets that are numbered from 0.

    Attributes:
        sent: how many packets.
        heard: the numbers of those that Bob has got.
    """

    def __init__(self, alice: MediaPeer, bob: MediaPeer, call: Conversation) -> None:
        self._alice, self._bob, self._call = alice, bob, call
        self.sent = 0
        self.heard: list[int] = []

    def say(self, packets: int) -> None:
        """Send the next packets."""
        for _ in range(packets):
            packet = rtp_packet(self.sent, self.sent * 160, ssrc=TALK)
            self._alice.send(packet, self._call.for_caller)
            self.sent += 1
            self._listen()

    def assert_heard(self, shard: NextShard) -> None:
        """Bob hears each packet once, in order, and the shard's statistics say so."""

        def all_is_heard() -> bool:
            self._listen()
            return len(self.heard) >= self.sent

        turn_until(shard.loop, all_is_heard, "Bob has heard all")
        assert self.heard == list(range(self.sent))
        (stream,) = [each for each in shard.leg(self._call).streams if each.ssrc == TALK]
        fields = stream.to_fields()
        assert (fields.packets, fields.lost, fields.reordered, fields.duplicates, fields.highest) == (
            *(self.sent, 0, 0, 0),
            self.sent - 1,
        )
        assert fields.seen == 2 ** min(self.sent, 64) - 1
        leg = shard.leg(self._call)
        leg.collect()
        assert leg.packets == self.sent + 2

    def _listen(self) -> None:
        for packet in self._bob.pending():
            assert packet[8:12] == TALK.to_bytes(4)
            self.heard.append(int.from_bytes(packet[2:4]))
