"""A Relay on a loop that tests turn by hand, real peers around it, and calls between them."""

import dataclasses
import itertools
import socket
from collections.abc import Callable, Iterable, Sequence

from nh.address import socket_family
from nh.calls.interfaces import Interface
from nh.calls.leg import Leg
from nh.calls.media import Media, Side
from nh.calls.settings import RelayConfig, RelaySettings
from nh.commands import Activate, Allocate, Close, ShowCall, TransactionKey
from nh.loop import SelectorLoop
from nh.results import Activated, Allocated, CallDetail, Closed, LegDetail
from nh.shard.media.kernel.path import KernelPath
from nh.shard.relay import Relay
from nh.stats import ShardStats
from tools.harness.media_peer import RTP, MediaPeer, text_of
from tools.harness.waiting import turn_until

V4 = "127.0.0.1"
V6 = "::1"
PACKET = b"\x80\0" + bytes(range(2, 172))
"""RTP (RFC 3550 5.1)."""

REPORT = b"\x80\xc9\0\x2a" + PACKET[8:12] + PACKET[8:]
"""RTCP of the sender of PACKET, as long as it: a receiver report (RFC 3550 6.4.2)."""

PACKETS = (PACKET, REPORT)
"""By component."""

PAYLOADS = (PACKET[12:], REPORT[8:])
"""By component: what makes packets as long as those, with the headers of a stream of their sender's own."""


_numbers = itertools.count(1)

Where = tuple[str, int]
"""Address and RTP port."""


def audio(peer: MediaPeer, *, range_: int = 2) -> Media:
    """What the peer's SDP says of it."""
    return Media(peer.address, peer.port, range_, "RTP/AVP", "audio")


@dataclasses.dataclass(frozen=True)
class Conversation:
    """A call that is active. `for_caller` is where the caller sends to; the callee: `for_callee`."""

    key: TransactionKey
    for_caller: Where
    for_callee: Where


class RelayTestbed:
    """A relay under test.

    Args:
        ports: its media ports.
        settings: how it relays.
        interfaces: where calls of ng may be.
        kernel: its path in the kernel; None: it relays in user space.
        relay_ports: of all shards, if it is one of several.
    """

    def __init__(
        self,
        ports: range,
        settings: RelaySettings | None = None,
        *,
        stats: ShardStats | None = None,
        interfaces: Sequence[Interface] = (),
        kernel: KernelPath | None = None,
        relay_ports: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.loop = SelectorLoop()
        self.relay = Relay(
            RelayConfig(
                settings or RelaySettings(),
                ports=(ports[0], ports[-1]),
                interfaces=tuple(interfaces),
                relay_ports=tuple(relay_ports),
            ),
            stats=stats,
            kernel=kernel,
            kernel_off="" if kernel else "it is turned off",
        )
        self.relay.attach(self.loop)

    def close(self) -> None:
        self.relay.close()
        self.loop.close()

    # --- time ---------------------------------------------------------------------------------------

    def turn_until(self, condition: Callable[[], object], what: str) -> None:
        """Turn the loop until `condition()` is true; fails if that never happens."""
        turn_until(self.loop, condition, what)

    # --- calls --------------------------------------------------------------------------------------

    def new_key(self, caller: bytes = b"alice", callee: bytes = b"bob") -> TransactionKey:
        """A key of a new call."""
        return TransactionKey(b"call-%d" % next(_numbers), 1, caller, callee)

    def allocate(
        self, key: TransactionKey, side: Side, media: Iterable[Media], address: str = V4
    ) -> list[Where]:
        """Ports for an SDP."""
        result = self.relay.execute(Allocate(key, side, address, tuple(media)))
        assert isinstance(result, Allocated)
        return [(medium.address, medium.port) for medium in result.media]

    def activate(self, key: TransactionKey) -> bool:
        """Relay; returns whether that is news."""
        result = self.relay.execute(Activate(key))
        assert isinstance(result, Activated)
        return result.created

    def call(
        self,
        caller: MediaPeer | Media,
        callee: MediaPeer | Media,
        *,
        key: TransactionKey | None = None,
        to_callee: str = V4,
        to_caller: str = V4,
    ) -> Conversation:
        """An active call with one medium.

        Args:
            caller, callee: the ends, or what they announce.
            key: its key; a new one if None.
            to_callee, to_caller: the relay's addresses that face the callee and the caller.
        """
        key = key or self.new_key()
        offered = caller if isinstance(caller, Media) else audio(caller)
        answered = callee if isinstance(callee, Media) else audio(callee)
        self.allocate(key, Side.FROM, [offered], to_callee)
        self.allocate(key, Side.TO, [answered], to_caller)
        assert self.activate(key)
        # what a held end is answered has port 0, though its sockets are there
        sessions = len(self.show(key).sessions) - 1
        for_caller = self.leg(key, Side.FROM, session=sessions).local
        for_callee = self.leg(key, Side.TO, session=sessions).local
        return Conversation(
            key,
            (to_caller, int(for_caller.rpartition(":")[2])),
            (to_callee, int(for_callee.rpartition(":")[2])),
        )

    def bye(self, key: TransactionKey) -> int:
        """End the sessions between the ends; returns how many there were."""
        result = self.relay.execute(Close(TransactionKey(key.call_id, None, key.id_from, key.id_to)))
        assert isinstance(result, Closed)
        return result.sessions

    # --- what the relay knows -----------------------------------------------------------------------

    def show(self, key: TransactionKey) -> CallDetail:
        """Everything that is known of the call."""
        result = self.relay.execute(ShowCall(key.call_id))
        assert isinstance(result, CallDetail)
        return result

    def leg(self, key: TransactionKey, side: Side, component: int = RTP, *, session: int = 0) -> LegDetail:
        """The leg that receives what `side` sends."""
        pair = self.show(key).sessions[session].pairs[component]
        return pair.from_ if side is Side.FROM else pair.to

    def running_leg(self, side: Side) -> Leg:
        """The first leg that receives what `side` sends, in the one session that runs."""
        (session,) = self.relay.plane._running
        return session.legs[side]

    def stats(self) -> ShardStats:
        """The counters, up to date."""
        self.relay.update_stats()
        return self.relay.stats

    # --- packets ------------------------------------------------------------------------------------

    def receive(self, peer: MediaPeer, component: int = RTP) -> tuple[bytes, Where]:
        """The next packet at a peer, and where it came from."""
        arrived: list[tuple[bytes, Where]] = []

        def look() -> bool:
            try:
                payload, source = peer.sockets[component].recvfrom(65_536)
            except BlockingIOError:
                return False
            arrived.append((text_of(payload), (source[0], source[1])))
            return True

        self.turn_until(look, f"a packet at {peer.address}:{peer.port + component}")
        return arrived[0]

    def passes(
        self,
        sender: MediaPeer,
        to: Where,
        receiver: MediaPeer,
        component: int = RTP,
        payload: bytes | None = None,
    ) -> Where:
        """Send a packet and wait for it at the receiver; returns where it came from.

        Args:
            payload: None: the next packet of RTP or RTCP of that sender, as long as PACKET.
        """
        payload = PAYLOADS[component] if payload is None else payload
        sender.send(payload, to, component)
        received, source = self.receive(receiver, component)
        assert received == payload, f"{received!r} arrived from {source}"
        return source

    def carries(self, sender: MediaPeer, to: Where, receiver: MediaPeer, packet: bytes) -> None:
        """A packet that is neither RTP nor RTCP arrives as it was sent."""
        sender.send_raw(packet, to)
        assert self.receive(receiver)[0] == packet

    def converse(self, caller: MediaPeer, callee: MediaPeer, call: Conversation) -> None:
        """RTP and RTCP go both ways, each from the port that was announced to its receiver."""
        for component in (0, 1):
            source = self.passes(caller, call.for_caller, callee, component)
            assert source == (call.for_callee[0], call.for_callee[1] + component)
            source = self.passes(callee, call.for_callee, caller, component)
            assert source == (call.for_caller[0], call.for_caller[1] + component)


def shuts_out(to: Where, address: str) -> bool:
    """Whether strangers from `address` hear nothing at a relay port, no error either."""
    with socket.socket(socket_family(address), socket.SOCK_DGRAM) as stranger:
        stranger.bind((address, 0))
        stranger.connect(to)
        stranger.setblocking(False)
        for _ in range(3):
            stranger.send(b"may I?")
            try:
                stranger.recv(100)
            except BlockingIOError:
                continue
            return False
    return True
