"""The queue of ICE and DTLS: sockets take turns, and none takes the room of the others."""

from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.shard.media.protocol_queue import MAX_WAITING, SHARE, ProtocolQueue, Step

STRANGER = Endpoint("198.51.100.9", 9)


def add(queue: ProtocolQueue[str], media_socket: str, packet: bytes = b"hello") -> bool:
    return queue.add(Step(media_socket, packet, STRANGER))


def flood(queue: ProtocolQueue[str], media_socket: str) -> int:
    """Add until the socket has its share; returns how many packets that are."""
    count = 0
    while add(queue, media_socket):
        count += 1
    return count


def test_a_flood_at_one_socket_leaves_room_for_the_others() -> None:
    queue: ProtocolQueue[str] = ProtocolQueue()
    assert flood(queue, "flooded") <= MAX_WAITING // SHARE
    for number in range(100):
        assert add(queue, f"browser {number}")


def test_the_next_packet_is_that_of_the_socket_that_waits_longest() -> None:
    queue: ProtocolQueue[str] = ProtocolQueue()
    flood(queue, "flooded")
    for packet in (b"1", b"2"):
        add(queue, "browser", packet)
    taken = [queue.take() for _ in range(4)]
    assert [each.media_socket for each in taken] == ["flooded", "browser", "flooded", "browser"]
    assert [each.packet for each in taken[1::2]] == [b"1", b"2"]


def test_floods_at_hundreds_of_sockets_leave_room_for_one_more() -> None:
    queue: ProtocolQueue[str] = ProtocolQueue()
    for number in range(500):
        flood(queue, f"flooded {number}")
    assert add(queue, "browser")
    assert add(queue, "browser")
    while add(queue, f"flooded {len(queue)}"):
        pass
    assert len(queue) == 2 * MAX_WAITING


@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=300))
def test_each_packet_comes_out_once_and_those_of_a_socket_in_their_order(moves: list[int | None]) -> None:
    queue: ProtocolQueue[str] = ProtocolQueue()
    added: dict[str, list[bytes]] = {}
    taken: dict[str, list[bytes]] = {}
    waiting = 0
    for number, socket in enumerate(moves):
        if socket is not None:
            packet = b"%d" % number
            if add(queue, str(socket), packet):
                added.setdefault(str(socket), []).append(packet)
                waiting += 1
        elif waiting:
            step = queue.take()
            taken.setdefault(step.media_socket, []).append(step.packet)
            waiting -= 1
        assert len(queue) == waiting
    while queue:
        step = queue.take()
        taken.setdefault(step.media_socket, []).append(step.packet)
    assert taken == added


def test_floods_of_long_packets_at_many_sockets_take_little_memory() -> None:
    """Fragments make a packet of 64 KiB; 2,048 of these would take 128 MiB."""
    queue: ProtocolQueue[str] = ProtocolQueue()
    longest = bytes(65_507)
    for number in range(2 * MAX_WAITING):
        add(queue, f"flooded {number}", longest)
        add(queue, f"flooded {number}", longest)
    assert sum(len(queue.take().packet) for _ in range(len(queue))) < 4 * 2**20
    assert add(queue, "browser", longest), "once they are handled, a long one waits again"


def test_long_packets_leave_room_for_others() -> None:
    queue: ProtocolQueue[str] = ProtocolQueue()
    for number in range(MAX_WAITING):
        add(queue, f"flooded {number}", bytes(65_507))
    assert add(queue, "flooded 0")
    assert add(queue, "browser")
