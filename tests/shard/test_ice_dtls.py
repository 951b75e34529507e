"""ICE and DTLS with one end, as browsers have them: handshakes go over what checks have validated."""

import pytest

from nh.cli.calls.call_view import call_lines
from nh.commands import IceHandling, ShowCall
from nh.results import CallDetail
from nh.shard.media.early_dtls import MAX_PACKETS
from nh.shard.media.pipeline.fast_readers import SocketReader
from nh.shard.media.protocol_queue import LONG_BYTES
from nh.shard.media.sockets.media_socket import MediaSocket
from tests.ice.phone import IcePhone
from tests.shard.conftest import MakeNg, MakePeer
from tests.shard.ng_testbed import CALL, NgTestbed, places
from tests.shard.secure_calls import TO_WEB, DtlsCall
from tests.srtp.dtls_phone import DtlsPhone
from tools.harness.media_peer import MediaPeer


class WebCall(DtlsCall):
    """A call between a phone with ICE and DTLS, and a plain one."""

    def __init__(self, testbed: NgTestbed, web: MediaPeer, plain: MediaPeer) -> None:
        self.ice = IcePhone(web)
        super().__init__(testbed, DtlsPhone(web, mux=True, extra=self.ice.attributes), plain)

    def offered_by_web(self) -> str:
        """The one calls; returns the relay's role in DTLS."""
        offer = self.testbed.offer(
            self.phone.sdp(), ice=IceHandling.REMOVE, transport_protocol="RTP/AVP", mux_demux=True
        )
        (self.plain_sends_to,) = places(offer)
        answer = self.testbed.answer(self.plain)
        self.ice.learn(answer)
        return self.phone.read(answer)

    def offer_to_web(self) -> None:
        """The plain phone calls, and the other one has not answered."""
        offer = self.testbed.offer(
            self.plain, ice=IceHandling.FORCE, transport_protocol=TO_WEB, mux_offer=True
        )
        self.ice.learn(offer)
        self.phone.read(offer)

    def offered_by_plain(self, setup: str) -> str:
        """The same, and is answered in that role; returns the relay's."""
        self.offer_to_web()
        (self.plain_sends_to,) = places(self.testbed.answer(self.phone.sdp(setup)))
        return "passive" if setup == "active" else "active"

    def kept(self) -> int:
        """How many packets of DTLS wait for an answer."""
        early = self.testbed.relay.plane._forwarding.protocols._early
        return sum(map(len, early._kept.values()))

    def checks(self, *, nominates: bool = False) -> None:
        """A check is answered; what else comes is of a handshake that the relay begins."""
        sent = self.ice.check(self.phone.sends_to, nominates=nominates)
        response, _ = self.testbed.receive(self.phone.peer)
        assert self.ice.read(response).transaction == sent


@pytest.fixture
def call(make_ng: MakeNg, make_peer: MakePeer) -> WebCall:
    return WebCall(make_ng(), make_peer(), make_peer())


@pytest.mark.parametrize("caller", ["web", "plain, active", "plain, passive"])
def test_a_handshake_goes_over_the_first_check_and_media_before_the_nomination(
    call: WebCall, caller: str
) -> None:
    role = call.offered_by_web() if caller == "web" else call.offered_by_plain(caller.split(", ")[1])
    call.checks()
    call.phone.begin(client=role == "passive")
    call.agrees()
    call.goes_both_ways()
    call.checks(nominates=True)
    for _ in range(3):
        call.goes_both_ways()


@pytest.mark.parametrize("caller", ["web", "plain"])
def test_no_socket_has_a_plan_before_its_first_packet(
    call: WebCall, monkeypatch: pytest.MonkeyPatch, caller: str
) -> None:
    """Signalling changes each socket several times before that."""
    planned: list[int] = []
    paths = call.testbed.relay.plane._forwarding._paths
    plan = paths.plan

    def note(media_socket: MediaSocket) -> SocketReader:
        planned.append(media_socket.port)
        return plan(media_socket)

    monkeypatch.setattr(paths, "plan", note)
    if caller == "web":
        call.offered_by_web()
    else:
        call.offered_by_plain("active")
    assert planned == []
    call.checks()
    assert set(planned) == {call.phone.sends_to[1]}


def test_a_handshake_may_begin_before_the_answer(call: WebCall) -> None:
    """Its first flight is answered at the answer, not a second later, when the phone would repeat it."""
    call.offer_to_web()
    call.checks()
    call.phone.begin(client=True)
    call.testbed.turn_until(lambda: call.kept() > 0, "the flight is kept")
    (call.plain_sends_to,) = places(call.testbed.answer(call.phone.sdp("active")))
    assert call.testbed.receive(call.phone.peer)[0][0] in range(20, 64)
    assert call.kept() == 0
    call.agrees()
    call.goes_both_ways()


def test_what_comes_before_the_answer_is_bounded(call: WebCall, make_peer: MakePeer) -> None:
    call.offer_to_web()
    mallory, flight = make_peer("127.0.0.66"), b"\x16\xfe\xfd" + bytes(10)
    mallory.send_raw(flight, call.phone.sends_to)
    call.testbed.turn_until(
        lambda: call.testbed.stats().drop_source_mismatch == 1, "no check came from there"
    )
    call.checks()
    for _ in range(100):
        call.phone.peer.send_raw(flight, call.phone.sends_to)
    call.checks()
    assert call.kept() == MAX_PACKETS
    call.testbed.delete()
    assert call.kept() == 0


def test_a_packet_longer_than_a_path_carries_is_not_kept_for_the_answer(call: WebCall) -> None:
    """Fragments make a packet of 64 KiB; four at each of 256 sockets would take 64 MiB."""
    call.offer_to_web()
    call.checks()
    flight = b"\x16\xfe\xfd" + bytes(LONG_BYTES - 3)
    call.phone.peer.send_raw(flight + b"\0", call.phone.sends_to)
    call.phone.peer.send_raw(flight, call.phone.sends_to)
    call.checks()
    assert call.kept() == 1, "the other one is kept"
    assert call.testbed.stats().drop_protocol_overflow == 1


def test_a_handshake_without_a_check_is_dropped(call: WebCall) -> None:
    role = call.offered_by_web()
    call.phone.begin(client=role == "passive")
    call.testbed.turn_until(lambda: call.testbed.stats().drop_source_mismatch >= 1, "it is counted")
    assert call.phone.peer.pending() == []


def test_the_list_says_that_rtcp_comes_with_rtp(call: WebCall) -> None:
    """So nothing there waits for a check or a handshake."""
    call.offered_by_web()
    found = call.testbed.relay.execute(ShowCall(CALL))
    assert isinstance(found, CallDetail)
    (session,) = found.sessions
    (rtcp,) = [pair for pair in session.pairs if pair.component == 1]
    assert (rtcp.from_.muxed, rtcp.from_.dtls, rtcp.to.muxed) == (True, "", False)
    assert "    from sends RTCP to the port of RTP (rtcp-mux)" in [line.plain for line in call_lines(found)]
