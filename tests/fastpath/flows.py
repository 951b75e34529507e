"""One flow of each family, from Alice's phone by way of the relay to Bob's, and a packet of it."""

import dataclasses
from typing import NamedTuple

from nh.calls.media import Endpoint
from nh.fastpath.layout import FlowEntry
from tests.fastpath.frames import Datagram, rtp

ETH1 = 7
"""Some interface that packets leave by; where nothing is really sent, it need not exist."""


class Relayed(NamedTuple):
    """The relay's address towards Alice, what is to become of her packets, and one of them."""

    local: Endpoint
    flow: FlowEntry
    packet: Datagram

    def but(self, **changes: object) -> "Relayed":
        """The same with another flow."""
        return self._replace(flow=self.flow._replace(**changes))  # type: ignore[arg-type]

    def sent(self, **changes: object) -> Datagram:
        """Her packet, but for some changes."""
        return dataclasses.replace(self.packet, **changes)  # type: ignore[arg-type]


def _relayed(alice: str, relay: str, bob: str) -> Relayed:
    local = Endpoint(relay, 30_000)
    source = Endpoint(alice, 4000)
    flow = FlowEntry(
        source=source,
        out=Endpoint(relay, 30_002),
        target=Endpoint(bob, 6000),
        ifindex=ETH1,
        counter_index=3,
        mtu_bytes=1500,
        rtp=True,
        payload_type=0,
        clock_hz=8000,
    )
    return Relayed(local, flow, Datagram(source, local, rtp(1)))


IPV4 = _relayed("198.51.100.1", "192.0.2.1", "203.0.113.9")
IPV6 = _relayed("2001:db8::a", "2001:db8::1", "2001:db8:b0b::9")
