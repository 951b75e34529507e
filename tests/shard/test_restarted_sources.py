"""A plain phone that begins its RTP anew with the same SSRC, and an end with SRTP that goes on hearing it."""

import struct

import pytest

from nh.calls.media import Block
from nh.calls.snapshots.codec import decode_snapshot
from nh.shard.recovery.checkpoints import Checkpointer
from nh.srtp.renumbering import RESTART_PACKETS
from tests.shard.conftest import MakeNg
from tests.shard.ng_testbed import CALL, NgTestbed
from tests.shard.secure_calls import DtlsCall, SecureCall
from tests.shard.test_checkpoints import Saved
from tests.srtp.dtls_phone import DtlsPhone
from tests.srtp.packets import SSRC, rtp
from tests.srtp.phone import SrtpPhone
from tools.harness.media_peer import RTCP, RTP, MediaPeer

OLD, NEW = 5000, 100
OFFSET = OLD + 1 - (NEW + RESTART_PACKETS - 1)


def report(highest: int) -> bytes:
    """What an end says that it received, and that it misses the packet before."""
    block = struct.pack("!IIIIII", SSRC, 0, highest, 0, 0, 0)
    nack = struct.pack("!BBHIIHH", 0x81, 205, 3, 1, SSRC, highest - 1, 0)
    return struct.pack("!BBHI", 0x81, 201, 7, 1) + block + nack


@pytest.fixture
def testbed(make_ng: MakeNg) -> NgTestbed:
    return make_ng()


@pytest.fixture
def call(testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> SecureCall:
    """Alice has no SRTP, and has sent one packet."""
    call = SecureCall(testbed, SrtpPhone(bob), alice)
    call.answered_by_secure(call.offered_by_plain())
    call.goes_both_ways()
    alice.send_raw(rtp(OLD), call.plain_sends_to)
    assert call.secure.read(testbed.receive(bob)[0]) == rtp(OLD)
    return call


def begins_again(call: SecureCall) -> None:
    for number in range(NEW, NEW + RESTART_PACKETS):
        call.plain.send_raw(rtp(number), call.plain_sends_to)
    assert hears(call) == OLD + 1


def hears(call: SecureCall) -> int:
    """The sequence number of the next packet that the phone with SRTP gets."""
    return int.from_bytes(call.secure.read(call.testbed.receive(call.secure.peer)[0])[2:4], "big")


def test_a_phone_that_begins_again_is_heard_after_a_moment(call: SecureCall) -> None:
    begins_again(call)
    for number in range(NEW + RESTART_PACKETS, NEW + 3 * RESTART_PACKETS):
        call.plain.send_raw(rtp(number), call.plain_sends_to)
        assert hears(call) == number + OFFSET
    assert call.testbed.stats().drop_srtp_unsent_index_used == RESTART_PACKETS - 1


def test_reports_come_to_the_phone_in_its_own_numbers(call: SecureCall) -> None:
    begins_again(call)
    call.secure.send(report(OLD + 1), call.secure_sends_to, RTCP)
    assert call.testbed.receive(call.plain, RTCP)[0] == report(NEW + RESTART_PACKETS - 1)


def test_a_restored_call_goes_on_with_both(call: SecureCall) -> None:
    begins_again(call)
    call.testbed.restore()
    call.plain.send_raw(rtp(NEW + RESTART_PACKETS), call.plain_sends_to)
    assert hears(call) == OLD + 2
    call.secure.send(report(OLD + 2), call.secure_sends_to, RTCP)
    assert call.testbed.receive(call.plain, RTCP)[0] == report(NEW + RESTART_PACKETS)


def test_a_new_key_of_the_listener_changes_nothing(call: SecureCall) -> None:
    begins_again(call)
    call.secure.set_key(99)
    call.testbed.offer(call.secure.sdp(), tag=b"bob", to=b"alice", transport_protocol="RTP/AVP")
    call.secure.learn(call.testbed.answer(call.plain, tag=b"alice", to=b"bob"))
    call.plain.send_raw(rtp(NEW + RESTART_PACKETS), call.plain_sends_to)
    assert hears(call) == OLD + 2
    call.secure.send(report(OLD + 2), call.secure_sends_to, RTCP)
    assert call.testbed.receive(call.plain, RTCP)[0] == report(NEW + RESTART_PACKETS)


class SavedBefore(Saved):
    """What a successor knows, and whether a phone had a packet before."""

    def __init__(self, phone: MediaPeer) -> None:
        super().__init__()
        self._phone = phone
        self.too_late: list[bool] = []

    def save_call(self, call_id: bytes, snapshot: bytes) -> None:
        super().save_call(call_id, snapshot)
        self.too_late.append(self._phone.has_waiting())


@pytest.mark.parametrize("staged", [False, True], ids=["fast reader", "stage by stage"])
def test_a_successor_knows_of_it_before_the_phone_has_a_packet(call: SecureCall, staged: bool) -> None:
    """Two processes that are killed before they tell it would protect two payloads with one index."""
    if staged:
        call.testbed.block(b"alice", Block.SOUND)
    saved = SavedBefore(call.secure.peer)
    call.testbed.relay.observe(Checkpointer(call.testbed.relay.table, saved))
    begins_again(call)
    assert saved.too_late == [False]
    known = decode_snapshot(saved.snapshots[CALL])
    call.testbed.restore(lambda _: known)
    call.plain.send_raw(rtp(NEW + RESTART_PACKETS), call.plain_sends_to)
    assert hears(call) == OLD + 2


def test_a_successor_knows_of_it_where_media_share_a_port(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = DtlsCall(testbed, DtlsPhone(bob, mux=True), alice)
    call.begin_by_plain()
    call.agrees()
    alice.send_raw(rtp(OLD), call.plain_sends_to)
    call.phone.next_packet(RTP, testbed.receive)
    saved = SavedBefore(bob)
    testbed.relay.observe(Checkpointer(testbed.relay.table, saved))
    for number in range(NEW, NEW + RESTART_PACKETS):
        alice.send_raw(rtp(number), call.plain_sends_to)
    call.phone.next_packet(RTP, testbed.receive)
    assert saved.too_late[0] is False


@pytest.mark.parametrize("mux", [False, True], ids=["two ports", "mux"])
@pytest.mark.parametrize("restored", [False, True], ids=["same process", "restored"])
def test_an_end_with_dtls_hears_it_too(
    testbed: NgTestbed, alice: MediaPeer, bob: MediaPeer, mux: bool, restored: bool
) -> None:
    call = DtlsCall(testbed, DtlsPhone(bob, mux=mux), alice)
    call.begin_by_plain()
    call.agrees()
    for number in (OLD, *range(NEW, NEW + RESTART_PACKETS)):
        alice.send_raw(rtp(number), call.plain_sends_to)
    for number in (OLD, OLD + 1):
        packet = call.phone.open(call.phone.next_packet(RTP, testbed.receive), RTP)
        assert int.from_bytes(packet[2:4], "big") == number
    if restored:
        testbed.restore()
    call.phone.send(report(OLD + 1), RTCP)
    assert testbed.receive(alice, RTCP)[0] == report(NEW + RESTART_PACKETS - 1)
