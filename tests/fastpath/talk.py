"""RTP from Alice through the kernel, for the tests of what it says of streams."""

from nh.calls.rtp.stream_state import StreamFields
from nh.fastpath.layout import FlowCounters
from tests.fastpath.flows import Relayed
from tests.fastpath.frames import rtp
from tests.fastpath.kernel_relay import KernelRelay, Verdict


class Talk:
    """Alice's packets through the kernel, and what it says of them."""

    def __init__(self, kernel_relay: KernelRelay, relayed: Relayed) -> None:
        self._relay = kernel_relay
        self._relayed = relayed
        kernel_relay.add(relayed.local, relayed.flow)

    def say(self, payload: bytes) -> None:
        assert self._relay.receive(self._relayed.sent(payload=payload)).verdict is Verdict.SENT_ON

    def sequence(self, *numbers: int) -> StreamFields:
        """Says these sequence numbers and returns their stream."""
        for number in numbers:
            self.say(rtp(number, timestamp=number * 160))
        return self.counters.streams[0]

    @property
    def counters(self) -> FlowCounters:
        return self._relay.counters(self._relayed.flow.counter_index)
