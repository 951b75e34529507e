"""Any order of offers, answers and deletes over branches and tags: each end hears what the model says.

The relay is the domain, with sockets that are played: a packet goes to the leg that admits it, as in
nh.shard.media.
"""

import dataclasses

from hypothesis import settings

from nh.calls.latching.latch import admit
from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Media
from nh.calls.session import Session
from nh.calls.settings import RelaySettings
from nh.errors import UnknownCall
from tests.calls.fakes import CALL, RELAY, FakePlane, FakeSocket, receive
from tests.calls.hearing import REPLACED_S, HearingMachine, Phone
from tests.calls.ng_proxy import NgProxy, make_ng_proxy
from tests.calls.rtp import rtp_packet
from tests.calls.snapshots import move_calls
from tests.profiles import examples

PORTS = (20_000, 21_999)
PRIVATE = Endpoint("192.168.77.5", 5004)


@dataclasses.dataclass
class PlayedPhone:
    """A phone without sockets."""

    place: Endpoint
    announced: Endpoint
    ssrc: int
    sent: int = 0

    @property
    def nat(self) -> bool:
        return self.announced != self.place

    @property
    def media(self) -> Media:
        """What its SDP announces."""
        return Media(self.announced.address, self.announced.port, 2, "RTP/AVP", "audio")

    def next_packet(self) -> bytes:
        """The next packet of its stream."""
        self.sent += 1
        return rtp_packet(self.sent, self.sent * 160, ssrc=self.ssrc)


def socket_of(leg: Leg) -> FakeSocket:
    """The played socket where a leg receives."""
    assert isinstance(leg.socket, FakeSocket)
    return leg.socket


class PlayedPlane(FakePlane):
    """A plane whose sockets know their legs."""

    def start(self, session: Session) -> None:
        super().start(session)
        for leg in session.legs:
            socket_of(leg).legs += (leg,)

    def stop(self, session: Session) -> None:
        super().stop(session)
        for leg in session.legs:
            socket = socket_of(leg)
            socket.legs = tuple(other for other in socket.legs if other is not leg)

    def pass_on(
        self, source: Endpoint, packet: bytes, port: int, *, now: float
    ) -> tuple[int, Endpoint | None]:
        """The port that a packet leaves from, and where it goes to."""
        socket = self.open.get(Endpoint(RELAY, port))
        leg = self._admit(socket, source, packet, now=now) if socket is not None else None
        if leg is None:
            return 0, None
        receive(leg, len(packet), at=now)
        meter = leg.find_meter()
        assert meter is not None
        meter.measure(packet, len(packet), now)
        return leg.egress.socket.local.port, leg.egress.destination

    def _admit(self, socket: FakeSocket, source: Endpoint, packet: bytes, *, now: float) -> Leg | None:
        return admit(socket.legs, source, memoryview(packet), now=now).leg if socket.legs else None


class PlayedRelay:
    """See tests.calls.hearing.Relay."""

    def __init__(self) -> None:
        self.ng = self._make_ng()
        self._phones = 0

    def _make_ng(self) -> NgProxy:
        rules = RelaySettings(replaced_s=REPLACED_S, silent_s=3600, unused_s=3600)
        return make_ng_proxy(rules, ports=PORTS, plane=PlayedPlane())

    def new_phone(self, *, nat: bool = False, moved: Phone | None = None) -> PlayedPhone:
        self._phones += 1
        place = Endpoint("198.51.100.9" if nat else "203.0.113.7", 2000 + 2 * self._phones)
        announced = PRIVATE if nat else place
        if nat and moved is not None:
            announced = Endpoint(PRIVATE.address, PRIVATE.port + 2 * self._phones)
        return PlayedPhone(place, announced, self._phones)

    def offer(self, phone: Phone, *, tag: bytes, to: bytes, branch: bytes) -> int:
        assert isinstance(phone, PlayedPhone)
        self.ng.now += 0.001
        (port,) = self.ng.offer(phone.media, tag=tag, to=to, branch=branch, expecting=True)
        assert port is not None
        return port

    def answer(self, phone: Phone, *, tag: bytes, to: bytes, branch: bytes) -> int:
        assert isinstance(phone, PlayedPhone)
        self.ng.now += 0.001
        (port,) = self.ng.answer(phone.media, tag=tag, to=to, branch=branch)
        assert port is not None
        return port

    def delete(self, *, tag: bytes, to: bytes, branch: bytes, delay_s: int) -> bool:
        try:
            self.ng.delete(tag, to=to, branch=branch, delay_s=delay_s)
        except UnknownCall:
            return False
        return True

    def say(self, speaker: Phone, port: int, listener: Phone) -> int | None:
        assert isinstance(speaker, PlayedPhone)
        assert isinstance(listener, PlayedPhone)
        assert isinstance(self.ng.plane, PlayedPlane)
        packet = speaker.next_packet()
        came_from, arrived = self.ng.plane.pass_on(speaker.place, packet, port, now=self.ng.now)
        return came_from if arrived == listener.place else None

    def pass_time(self, seconds: float) -> None:
        self.ng.expire(after_s=seconds)

    def restart(self) -> None:
        after = self._make_ng()
        after.now = self.ng.now
        move_calls(self.ng.table, after.table, now=self.ng.now)
        self.ng = after

    def close(self) -> None:
        if self.ng.table.find_call(CALL) is not None:
            self.ng.delete()
        assert self.ng.nothing_is_left


class PlayedHearing(HearingMachine):
    """The model against the domain."""

    def make_relay(self) -> PlayedRelay:
        return PlayedRelay()


def test_what_is_on_its_way_to_a_port_of_before_counts_for_no_other_answer() -> None:
    """One offer has two answers; the end of the first is silent yet. Towards the other one, Alice moves."""
    relay = PlayedRelay()
    alice, silent, bob = (relay.new_phone() for _ in range(3))
    moved = relay.new_phone(moved=alice)
    common = relay.offer(alice, tag=b"a", to=b"", branch=b"z1")
    to_silent = relay.answer(silent, tag=b"c", to=b"a", branch=b"z1")
    to_bob = relay.answer(bob, tag=b"b", to=b"a", branch=b"z1")
    assert relay.say(bob, common, alice) == to_bob
    own = relay.offer(moved, tag=b"a", to=b"b", branch=b"z1")
    relay.answer(bob, tag=b"b", to=b"a", branch=b"z1")
    for _ in range(2):
        assert relay.say(bob, own, moved) == to_bob
        assert relay.say(bob, common, alice) == to_bob
        assert relay.say(alice, to_silent, silent) == common
        relay.restart()
    relay.close()


PlayedHearing.TestCase.settings = settings(max_examples=examples(300), stateful_step_count=30, deadline=None)
TestWhatEachEndHears = PlayedHearing.TestCase
