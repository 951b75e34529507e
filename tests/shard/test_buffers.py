"""Buffers of media sockets: bursts of video survive in the socket, and what a socket loses is counted."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.calls.drop import Drop
from nh.calls.media import Media, Side
from nh.commands import TransactionKey
from nh.shard.media.sockets import buffers
from nh.shard.media.sockets.media_socket import MediaSocket, socket_of
from nh.shard.media.sockets.opening import close_media_sockets, open_media_sockets
from nh.shard.media.totals import TrafficTotals
from tests.shard.bundled_call import BundledCall
from tests.shard.conftest import MakePeer, MakeTestbed
from tests.shard.ng_testbed import NgTestbed
from tests.shard.test_forks import Fork
from tests.shard.testbed import V4, V6, Conversation, RelayTestbed
from tests.webrtc.bundle_phone import BundlePhone
from tools.harness.media_peer import RTP, MediaPeer
from tools.harness.waiting import turn_until

KEY_FRAME = 300
"""Packets of a key frame, 1200 bytes each."""

SO_RCVBUFFORCE = 33


@pytest.fixture(params=[V4, V6])
def address(request: pytest.FixtureRequest, ipv6: None) -> str:
    where: str = request.param
    return where


@pytest.fixture
def roomy(make_peer: MakePeer, address: str) -> tuple[MediaPeer, MediaPeer]:
    """Two phones that lose nothing themselves."""
    phones = make_peer(address), make_peer(address)
    for phone in phones:
        try:
            phone.sockets[RTP].setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        except PermissionError:
            pytest.skip("needs the privilege of large buffers (CAP_NET_ADMIN)")
    return phones


def call(testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, kind: str) -> Conversation:
    """A call with one medium of that kind, that both ends have spoken in."""
    key = testbed.new_key()
    ends = [Media(phone.address, phone.port, 2, "RTP/AVP", kind) for phone in (alice, bob)]
    [for_bob] = testbed.allocate(key, Side.FROM, ends[:1], alice.address)
    [for_alice] = testbed.allocate(key, Side.TO, ends[1:], alice.address)
    testbed.activate(key)
    conversation = Conversation(key, for_alice, for_bob)
    testbed.converse(alice, bob, conversation)
    return conversation


def burst(testbed: RelayTestbed, call: Conversation, alice: MediaPeer, bob: MediaPeer, count: int) -> int:
    """How many of so many packets arrive that are sent before the relay has a chance to turn."""
    before = lost(testbed, call.key)
    for number in range(count):
        alice.send(number.to_bytes(2, "big").ljust(1200, b"."), call.for_caller)
    arrived: list[bytes] = []

    def all_of_them() -> bool:
        arrived.extend(bob.pending())
        return len(arrived) + lost(testbed, call.key) - before >= count

    turn_until(testbed.loop, all_of_them, "each is relayed or counted")
    return len(arrived)


def lost(testbed: RelayTestbed, key: TransactionKey) -> int:
    """What the sockets of a call lost, as `show` has it."""
    legs = [testbed.leg(key, side) for side in Side]
    return sum(leg.dropped.get("overflow", 0) for leg in legs)


@pytest.mark.parametrize("kind", ["video", "audio", ""])
def test_a_key_frame_arrives_whole(
    make_testbed: MakeTestbed, roomy: tuple[MediaPeer, MediaPeer], kind: str
) -> None:
    testbed = make_testbed()
    conversation = call(testbed, *roomy, kind)
    for _ in range(3):
        assert burst(testbed, conversation, *roomy, KEY_FRAME) == KEY_FRAME
    assert testbed.stats().drop_overflow == 0


def test_a_key_frame_arrives_whole_from_where_the_nat_has_moved_the_phone(
    make_testbed: MakeTestbed, roomy: tuple[MediaPeer, MediaPeer], make_peer: MakePeer
) -> None:
    testbed, (alice, bob) = make_testbed(), roomy
    conversation, moved = call(testbed, alice, bob, "video"), make_peer(alice.address)
    for _ in range(KEY_FRAME):
        moved.send_raw(alice.next_packet(bytes(1188)), conversation.for_caller)
    arrived: list[bytes] = []

    def all_of_them() -> bool:
        arrived.extend(bob.pending())
        return len(arrived) + lost(testbed, conversation.key) >= KEY_FRAME

    testbed.turn_until(all_of_them, "each is relayed or counted")
    assert len(arrived) == KEY_FRAME


def test_what_a_socket_loses_is_counted_for_its_leg(ports: range, roomy: tuple[MediaPeer, MediaPeer]) -> None:
    """And is part of what came in."""
    testbed = RelayTestbed(ports)
    try:
        conversation = call(testbed, *roomy, "audio")
        arrived = burst(testbed, conversation, *roomy, 2000)
        missing = 2000 - arrived
        assert missing > 0
        assert testbed.leg(conversation.key, Side.FROM).dropped == {"overflow": missing}
        assert testbed.leg(conversation.key, Side.TO).dropped == {}
        stats = testbed.stats()
        assert (stats.drop_overflow, stats.packets_in) == (missing, 2000 + 4)
        assert stats.packets_out == arrived + 4
    finally:
        testbed.close()


def test_what_strangers_lose_beside_a_latched_call_is_counted_too(
    make_testbed: MakeTestbed, roomy: tuple[MediaPeer, MediaPeer], make_peer: MakePeer
) -> None:
    testbed = make_testbed()
    conversation = call(testbed, *roomy, "audio")
    stranger, sent = make_peer(roomy[0].address), 3000
    for _ in range(sent):
        stranger.send(bytes(1200), conversation.for_caller)

    def turned_away() -> int:
        return sum(testbed.leg(conversation.key, Side.FROM).dropped.values())

    testbed.turn_until(lambda: turned_away() == sent, "each is counted")
    assert lost(testbed, conversation.key) > 0
    testbed.converse(*roomy, conversation)


def test_what_was_lost_is_counted_at_the_latest_when_the_call_ends(
    ports: range, roomy: tuple[MediaPeer, MediaPeer]
) -> None:
    testbed = RelayTestbed(ports)
    try:
        conversation = call(testbed, *roomy, "audio")
        for _ in range(2000):
            roomy[0].send(bytes(1200), conversation.for_caller)
        testbed.bye(conversation.key)
        assert testbed.stats().drop_overflow > 0
    finally:
        testbed.close()


@pytest.fixture
def opened(ports: range) -> Iterator[list[MediaSocket]]:
    sockets = open_media_sockets(V4, ports[0], 40)
    yield sockets
    close_media_sockets(sockets)


def room(media_socket: MediaSocket) -> int:
    return media_socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


@pytest.mark.parametrize("wanted", [buffers.VIDEO, buffers.OTHER])
def test_later_calls_get_a_smaller_part_of_the_budget(
    opened: list[MediaSocket], wanted: buffers.Room
) -> None:
    before = room(opened[0])
    budget = 16 << 20
    some = buffers.MediaBuffers(TrafficTotals(), budget_bytes=budget)
    for media_socket in opened:
        some.enlarge(media_socket, wanted)
    rooms = [room(media_socket) for media_socket in opened]
    assert rooms == sorted(rooms, reverse=True)
    assert rooms[-1] > before
    assert sum(rooms) - len(rooms) * before <= budget * (1 - wanted.reserve)
    some.release(opened)
    assert some.left_bytes == budget


def test_sockets_share_the_few_sizes_that_they_get(opened: list[MediaSocket]) -> None:
    """Each would be an object for each socket."""
    some = buffers.MediaBuffers(TrafficTotals(), budget_bytes=16 << 20)
    for media_socket in opened:
        some.enlarge(media_socket, buffers.OTHER)
    sizes = {id(media_socket.enlarged): media_socket.enlarged for media_socket in opened}
    assert len(sizes) < len(opened) / 4
    assert not any(own % buffers.STEP_BYTES or beside for own, beside in sizes.values())
    some.release(opened)


def test_video_gets_more_than_sound_of_the_same_socket_too(opened: list[MediaSocket]) -> None:
    """As after a re-INVITE that makes video of it."""
    some = buffers.MediaBuffers(TrafficTotals())
    some.enlarge(opened[0], buffers.OTHER)
    assert room(opened[0]) == buffers.OTHER.most_bytes
    for wanted in (buffers.VIDEO, buffers.OTHER):
        some.enlarge(opened[0], wanted)
        assert room(opened[0]) == buffers.VIDEO.most_bytes
    some.release(opened)
    assert some.left_bytes == buffers.BUDGET_BYTES


def test_what_is_sent_has_as_much_room(opened: list[MediaSocket]) -> None:
    buffers.MediaBuffers(TrafficTotals()).enlarge(opened[0], buffers.VIDEO)
    assert opened[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == buffers.VIDEO.most_bytes


def test_without_the_privilege_the_hosts_limit_holds(
    opened: list[MediaSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "SO_RCVBUFFORCE", -1)
    monkeypatch.setattr(buffers, "SO_SNDBUFFORCE", -1)
    most = 2 * int(Path("/proc/sys/net/core/rmem_max").read_text())
    buffers.MediaBuffers(TrafficTotals()).enlarge(opened[0], buffers.VIDEO)
    assert room(opened[0]) == min(most, buffers.VIDEO.most_bytes)


def test_a_larger_default_is_left_as_it_is(opened: list[MediaSocket]) -> None:
    try:
        opened[0].setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    except PermissionError:
        pytest.skip("needs the privilege of large buffers (CAP_NET_ADMIN)")
    buffers.MediaBuffers(TrafficTotals()).enlarge(opened[0], buffers.VIDEO)
    assert room(opened[0]) == 16 << 20


def test_what_an_adopted_socket_lost_is_counted_once(
    ports: range, roomy: tuple[MediaPeer, MediaPeer]
) -> None:
    """By the process before, as far as its snapshot of the leg says so; the rest by this one."""
    testbed = RelayTestbed(ports)
    try:
        conversation = call(testbed, *roomy, "audio")
        missing = 2000 - burst(testbed, conversation, *roomy, 2000)
        plane = testbed.relay.plane
        [session] = plane._running
        leg = session.legs[0]
        socket_of(leg).lost = -1
        plane.count_lost(session)
        assert testbed.leg(conversation.key, Side.FROM).dropped == {"overflow": missing}
        assert leg.drops is not None
        leg.drops[Drop.OVERFLOW] -= 5  # as a snapshot that is older
        socket_of(leg).lost = -1
        plane.count_lost(session)
        assert testbed.leg(conversation.key, Side.FROM).dropped == {"overflow": missing}
    finally:
        testbed.close()


def test_what_a_medium_of_a_bundle_loses_is_counted_when_the_call_ends(
    ng: NgTestbed, make_peer: MakePeer
) -> None:
    """Although nothing came of the medium whose port it is."""
    call = BundledCall(ng, BundlePhone(make_peer("127.0.0.11")), [make_peer(), make_peer()])
    call.begin_by_phone()
    for _ in range(3000):
        call.phone.peer.send_raw(call.phone.packet(1, bytes(1200), "v"), call.one_port)
    ng.turn_until(lambda: ng.stats().packets_in > 10, "packets are relayed")
    ng.delete()
    assert ng.stats().drop_overflow > 0


def test_what_a_fork_lost_is_counted_although_it_ends_first(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    fork = Fork(testbed, alice)
    fork.answer(b"bob", bob)
    fork.answer(b"carol", make_peer("127.0.0.33"))
    for _ in range(3000):
        bob.send(bytes(1200), fork.for_callees)
    testbed.turn_until(lambda: testbed.stats().packets_in > 10, "packets are relayed")
    fork.end(b"bob")
    fork.end(b"carol")
    assert testbed.stats().drop_overflow > 0


def test_losses_are_counted_at_once_however_many_they_are(
    make_testbed: MakeTestbed, roomy: tuple[MediaPeer, MediaPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flooded shard loses hundreds of thousands of packets a second."""
    testbed, many = make_testbed(), 10**12
    conversation = call(testbed, *roomy, "audio")
    monkeypatch.setattr(MediaSocket, "lost_packets", lambda _: many)
    legs = [testbed.leg(conversation.key, side) for side in Side]
    assert [leg.dropped for leg in legs] == [{"overflow": many}] * 2
    assert testbed.relay.plane.traffic.drops[Drop.OVERFLOW] == 4 * many
    monkeypatch.undo()


def test_an_adopted_socket_that_has_lost_nothing_makes_its_leg_no_larger(
    make_testbed: MakeTestbed, roomy: tuple[MediaPeer, MediaPeer]
) -> None:
    testbed = make_testbed()
    call(testbed, *roomy, "audio")
    plane = testbed.relay.plane
    [session] = plane._running
    before = [leg.drops for leg in session.legs]
    for leg in session.legs:
        socket_of(leg).lost = -1
    plane.count_lost(session)
    assert [leg.drops for leg in session.legs] == before == [None] * 4
    assert [socket_of(leg).lost for leg in session.legs] == [0] * 4
