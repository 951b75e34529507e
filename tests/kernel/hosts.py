"""Hosts of their own for the relay and for phones, joined by wires: what crosses a network, on one machine.

alice ── 198.51.100.0/24 ── relay ── 203.0.113.0/24 ── bob
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from nh.calls.media import Media, Side
from nh.client import Client
from tests.netns import namespaces
from tools.harness.media_peer import MediaPeer
from tools.harness.namespaces import Namespace, join
from tools.harness.relay import Relay, place_for_relay
from tools.harness.waiting import TIMEOUT_S

ALICE = {4: "198.51.100.2", 6: "2001:db8:a::2"}
BOB = {4: "203.0.113.2", 6: "2001:db8:b::2"}
NEAR_ALICE = {4: "198.51.100.1", 6: "2001:db8:a::1"}
NEAR_BOB = {4: "203.0.113.1", 6: "2001:db8:b::1"}

Where = tuple[str, int]
"""Address and RTP port."""


class Hosts(NamedTuple):
    """Three hosts; none of them forwards packets by itself."""

    alice: Namespace
    relay: Namespace
    bob: Namespace


@contextlib.contextmanager
def three_hosts() -> Iterator[Hosts]:
    """See Hosts. The relay's interfaces are to_alice and to_bob."""
    with namespaces(3) as (alice, relay, bob):
        for phone, wire, theirs, ours in (
            (alice, "to_alice", ALICE, NEAR_ALICE),
            (bob, "to_bob", BOB, NEAR_BOB),
        ):
            fours = [f"{each[4]}/24" for each in (ours, theirs)]
            sixes = [f"{each[6]}/64" for each in (ours, theirs)]
            join(relay, phone, *fours, *sixes, name=wire)
            phone.run(f"ip route add default via {ours[4]}", f"ip route add default via {ours[6]} dev {wire}")
        yield Hosts(alice, relay, bob)


@contextlib.contextmanager
def relay_on(host: Namespace, **settings: object) -> Iterator[Relay]:
    """`nh run` on that host, with the path in the kernel; ends well behind the test."""
    environment = {f"NH_{name.upper()}": str(value) for name, value in {"kernel": "on", **settings}.items()}
    with place_for_relay() as place, host.entered():
        relay = Relay(place, 2, environment)
        with relay.program as program:
            relay.wait_until_ready()
            yield relay
            assert program.stop() == 0, f"it did not end well; it said:\n{program.output}"


@contextlib.contextmanager
def phone_on(host: Namespace, address: str) -> Iterator[MediaPeer]:
    """A phone's media sockets on that host."""
    with host.entered():
        peer = MediaPeer(address)
    with peer:
        yield peer


def audio(peer: MediaPeer) -> Media:
    """What a phone's SDP says."""
    return Media(peer.address, peer.port, 2, "RTP/AVP", "audio")


class HostCall:
    """A call of Net::SIP's between a phone on Alice's host and one on Bob's.

    Args:
        relay: the relay of the call.
        call_id: its call-id.
        family: 4 or 6, of Alice.
        to: the same, of Bob; None: as Alice.

    `for_alice` is where Alice sends to, `for_bob` where Bob does.
    """

    def __init__(self, relay: Relay, call_id: str, family: int, *, to: int | None = None) -> None:
        self.relay = relay
        self.call_id = call_id
        self._family = family
        self._to = to or family
        self._cseq = 0
        self.for_alice: Where = ("", 0)
        self.for_bob: Where = ("", 0)

    def invite(self, alice: MediaPeer, bob: MediaPeer, *, callee: str = "bob") -> None:
        """Relay between the two from now on; again: a re-INVITE.

        Args:
            callee: another one for each answerer of a forked request.
        """
        self._cseq += 1
        client = Client(self.relay.unix_address, TIMEOUT_S)
        basic = [self.call_id, self._cseq, "alice", callee, "", ""]
        offered = client.allocate_sockets(basic, Side.FROM, NEAR_BOB[self._to], [audio(alice)])
        answered = client.allocate_sockets(basic, Side.TO, NEAR_ALICE[self._family], [audio(bob)])
        assert offered is not None
        assert answered is not None
        assert client.activate_session(basic) == 1
        self.for_bob = offered[0][:2]
        self.for_alice = answered[0][:2]
