"""A media plane without sockets, and a SIP proxy that drives a CallTable through it: no I/O, no clock."""

import dataclasses
from typing import NamedTuple

from nh.calls.events import CallObserver, EndReason
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Media, RelayMedia, Side
from nh.calls.session import Session
from nh.calls.session_info import SessionInfo
from nh.calls.settings import RelaySettings
from nh.calls.shared_resources import SharedResources
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.ports import PortInUse, PortSpace
from nh.calls.sockets.relay_socket import RelaySocket
from nh.calls.table import CallTable
from nh.errors import AddressUnavailable, PortsExhausted

RELAY = "192.0.2.1"
CALL = b"call@example.org"
ALICE = b"alice\0tag-a\0198.51.100.1:5060"
BOB = b"bob\0tag-b\0203.0.113.9:5060"
CAROL = b"carol\0tag-c\0203.0.113.77:5060"

ALICE_AUDIO = Media("198.51.100.1", 4000, 2, "RTP/AVP", "audio")
ALICE_VIDEO = Media("198.51.100.1", 4002, 2, "RTP/AVP", "video")
BOB_AUDIO = Media("203.0.113.9", 6000, 2, "RTP/AVP", "audio")
BOB_VIDEO = Media("203.0.113.9", 6002, 2, "RTP/AVP", "video")
HELD_AUDIO = Media("0.0.0.0", 4000, 2, "RTP/AVP", "audio")

START = 1000.0
"""Monotonic seconds at which tests begin."""

PORTS = (20_000, 20_039)


class FakeSocket:
    """A port that was asked for."""

    def __init__(self, local: Endpoint) -> None:
        self.local, self.port = local, local.port
        self.legs: tuple[Leg, ...] = ()
        self.open = True


class FakePlane:
    """Opens the sockets that it is asked for, and fails a test that breaks the contract of MediaPlane.

    `held` are ports that other programs have, `foreign` are addresses that are not this host's, and `room` is
    how many sockets it has descriptors for. `running` are the sessions that relay, `renewed` those
    whose rules changed meanwhile, and `dscp` is what each socket that was asked for sends with.
    """

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.foreign: set[str] = set()
        self.room = 10_000
        self.open: dict[Endpoint, FakeSocket] = {}
        self.running: list[Session] = []
        self.renewed: list[Session] = []
        self.dscp: dict[Endpoint, int | None] = {}
        self.attempts: list[int] = []

    @property
    def ports(self) -> set[int]:
        """Ports that are open on any address."""
        return {local.port for local in self.open}

    def open_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        self.attempts.append(base)
        wanted = [Endpoint(address, port) for port in range(base, base + count)]
        if address in self.foreign:
            raise AddressUnavailable(f"{address} is not here")
        for local in wanted:
            if local.port in self.held:
                raise PortInUse(local.address, local.port)
        if len(self.open) + count > self.room:
            raise PortsExhausted("no descriptors left")
        assert not self.open.keys() & set(wanted), "a port was handed out twice"
        sockets = [FakeSocket(local) for local in wanted]
        self.open.update((socket.local, socket) for socket in sockets)
        self.dscp.update(dict.fromkeys(wanted, dscp))
        return list(sockets)

    def adopt_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        return self.open_sockets(address, base, count, dscp)

    def close_sockets(self, sockets: list[RelaySocket]) -> None:
        for socket in sockets:
            assert self.open.pop(socket.local) is socket, "a socket was closed twice"
            for session in self.running:
                assert all(leg.socket is not socket for leg in session.legs), "a session still uses it"

    def start(self, session: Session) -> None:
        assert session not in self.running, "a session was started twice"
        assert all(self.open.get(leg.socket.local) is leg.socket for leg in session.legs)
        self.running.append(session)

    def renew(self, session: Session) -> None:
        assert session in self.running, "a session that does not run cannot be renewed"
        self.renewed.append(session)

    def stop(self, session: Session) -> None:
        self.running.remove(session)


class Ended(NamedTuple):
    """A session that ended: its number, of which call and between whom it was, and why it ended."""

    call_id: bytes
    number: int
    id_from: bytes
    id_to: bytes
    reason: EndReason


class Expired(NamedTuple):
    """What expiry ended: sessions, and the number of groups that never had one."""

    sessions: list[Ended]
    unused_groups: int


class EventRecorder(CallObserver):
    """The events of a table that tests ask for.

    Args:
        table: the table.
    """

    def __init__(self, table: CallTable) -> None:
        self.ended: list[Ended] = []
        self.unused_groups = 0
        table.resources.events.add(self)

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        self.ended.append(Ended(call_id, session.id, session.group_from.id, session.group_to.id, reason))

    def group_unused(self, call_id: bytes, group: SocketGroup) -> None:
        self.unused_groups += 1

    def expire(self, table: CallTable, *, now: float) -> Expired:
        """What ends by itself in the table."""
        ended, unused = len(self.ended), self.unused_groups
        table.expire(now=now)
        return Expired(self.ended[ended:], self.unused_groups - unused)


@dataclasses.dataclass
class Proxy:
    """A SIP proxy with the relay in its hands: what it does is named as in SIP.

    `now` is the time; tests move it.
    """

    table: CallTable
    plane: FakePlane
    now: float = START

    def __post_init__(self) -> None:
        self.events = EventRecorder(self.table)

    def offer(
        self,
        *media: Media,
        call_id: bytes = CALL,
        caller: bytes = ALICE,
        callee: bytes = BOB,
        cseq: int = 1,
        address: str = RELAY,
    ) -> tuple[RelayMedia, ...]:
        """Ports for the SDP of an INVITE."""
        return self.table.allocate(
            call_id=call_id,
            id_from=caller,
            id_to=callee,
            cseq=cseq,
            side=Side.FROM,
            address=address,
            media=media,
            now=self.now,
        )

    def answer(
        self,
        *media: Media,
        call_id: bytes = CALL,
        caller: bytes = ALICE,
        callee: bytes = BOB,
        cseq: int = 1,
        address: str = RELAY,
    ) -> tuple[RelayMedia, ...]:
        """Ports for the SDP of the response."""
        return self.table.allocate(
            call_id=call_id,
            id_from=caller,
            id_to=callee,
            cseq=cseq,
            side=Side.TO,
            address=address,
            media=media,
            now=self.now,
        )

    def activate(
        self,
        *,
        call_id: bytes = CALL,
        caller: bytes = ALICE,
        callee: bytes = BOB,
        cseq: int = 1,
        param: dict[str, str] | None = None,
    ) -> bool:
        """The call is answered; returns whether that is news."""
        return self.table.activate(
            call_id=call_id, id_from=caller, id_to=callee, cseq=cseq, param=param or {}, now=self.now
        )

    def connect(
        self,
        *,
        call_id: bytes = CALL,
        caller: bytes = ALICE,
        callee: bytes = BOB,
        cseq: int = 1,
        offered: tuple[Media, ...] = (ALICE_AUDIO,),
        answered: tuple[Media, ...] = (BOB_AUDIO,),
    ) -> Session:
        """Offer, answer and activation in one go; returns the session."""
        self.offer(*offered, call_id=call_id, caller=caller, callee=callee, cseq=cseq)
        self.answer(*answered, call_id=call_id, caller=caller, callee=callee, cseq=cseq)
        assert self.activate(call_id=call_id, caller=caller, callee=callee, cseq=cseq)
        return self.plane.running[-1]

    def cancel(self, cseq: int = 1, *, caller: bytes = ALICE, callee: bytes = BOB) -> list[SessionInfo]:
        """A CANCEL, or the ACK to an error: it ends one transaction."""
        return self.table.close(call_id=CALL, id_from=caller, id_to=callee, cseq=cseq, now=self.now)

    def bye(
        self, *, call_id: bytes = CALL, caller: bytes = ALICE, callee: bytes = BOB, cseq: int | None = None
    ) -> list[SessionInfo]:
        """A BYE, sent by `caller` to `callee`."""
        return self.table.close(call_id=call_id, id_from=caller, id_to=callee, cseq=cseq, now=self.now)

    def expire(self, *, after_s: float = 0.0) -> Expired:
        """What ends `after_s` seconds later."""
        self.now += after_s
        return self.events.expire(self.table, now=self.now)

    @property
    def nothing_is_left(self) -> bool:
        """Whether the relay is as it was in the beginning."""
        return has_nothing_left(self.table, self.plane)


def has_nothing_left(table: CallTable, plane: FakePlane) -> bool:
    """Whether a relay has neither calls nor sockets, and all its ports are free."""
    resources = table.resources
    return (
        len(table) == resources.sockets == resources.sessions == 0
        and not plane.open
        and not plane.running
        and resources.ports.free == resources.ports.total
    )


def make_proxy(
    settings: RelaySettings | None = None, ports: tuple[int, int] = PORTS, wall_offset_s: float = 0.0
) -> Proxy:
    """A proxy with a relay of its own."""
    plane = FakePlane()
    resources = SharedResources(
        plane=plane,
        ports=PortSpace(*ports),
        settings=settings or RelaySettings(),
        wall_offset_s=wall_offset_s,
    )
    return Proxy(CallTable(resources), plane)


def receive(leg: Leg, *sizes_bytes: int, at: float) -> None:
    """Packets that a leg took, in user space, at that time (monotonic seconds)."""
    leg.packets += len(sizes_bytes)
    leg.bytes += sum(sizes_bytes)
    leg.last_seen = at


class FakeFlow:
    """A flow in the kernel that forwards for `leg`."""

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        self.times_asked = 0
        self.folded = (0, 0)
        self._forwarded: list[tuple[int, float]] = []
        leg.offload = self

    def forward(self, *sizes_bytes: int, at: float) -> None:
        """The kernel has forwarded packets of these sizes (monotonic seconds)."""
        self._forwarded += [(size, at) for size in sizes_bytes]

    def end(self) -> None:
        """Leave the packets to user space."""
        self.collect()
        self.leg.offload = None

    def collect(self) -> None:
        self.times_asked += 1
        for size, at in self._forwarded:
            self.leg.forwarded(1, size, last_seen=at)
            self.folded = (self.folded[0] + 1, self.folded[1] + size)
        self._forwarded = []

    def load_meter(self) -> None: ...
    def measure(self, packet: memoryview, size: int, now: float) -> None: ...
