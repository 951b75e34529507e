"""nh.shard.media.plane: sockets behind the domain's door."""

import errno
import socket
from collections.abc import Iterator, Sequence

import pytest

from nh.calls.events import CallObserver, CallObservers
from nh.calls.settings import RelaySettings
from nh.calls.sockets.ports import PortInUse
from nh.calls.sockets.relay_socket import RelaySocket
from nh.errors import AddressUnavailable, PortsExhausted, SocketsExhausted
from nh.shard.media.plane import SocketPlane
from nh.shard.media.sockets.loop_guard import LocalPorts
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.media.sockets.opening import close_media_sockets, open_media_sockets
from tests.shard.testbed import V4


@pytest.fixture
def events() -> CallObservers:
    return CallObservers()


@pytest.fixture
def plane(events: CallObservers) -> Iterator[SocketPlane]:
    plane = SocketPlane(RelaySettings(), LocalPorts([]), events=events)
    yield plane
    plane.close()


def test_sockets_are_opened_and_closed(plane: SocketPlane, ports: range) -> None:
    for _ in range(3):
        sockets = plane.open_sockets(V4, ports[0], 4)
        assert [socket.local.port for socket in sockets] == list(ports[:4])
        assert all(isinstance(socket, MediaSocket) and socket.legs == () for socket in sockets)
        plane.close_sockets(sockets)


def test_what_cannot_be_opened_leaves_nothing_open(plane: SocketPlane, ports: range) -> None:
    with pytest.raises(AddressUnavailable):
        plane.open_sockets("203.0.113.200", ports[0], 2)
    plane.close_sockets(plane.open_sockets(V4, ports[0], 2))


def test_the_port_of_a_socket_that_cannot_be_watched_is_let_go(
    plane: SocketPlane, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = plane._forwarding.open
    watched: list[object] = []

    def refuse_the_second(media_socket: object) -> None:
        if watched:
            raise OSError(errno.ENOSPC, "no more watches (fs.epoll.max_user_watches)")
        watched.append(media_socket)
        watch(media_socket)  # type: ignore[arg-type]

    monkeypatch.setattr(plane._forwarding, "open", refuse_the_second)
    with pytest.raises(PortsExhausted, match="max_user_watches"):
        plane.open_sockets(V4, ports[0], 3)
    monkeypatch.undo()
    plane.close_sockets(plane.open_sockets(V4, ports[0], 3))


class StoredSockets(CallObserver):
    """The ports of the sockets that a supervisor stores for a successor."""

    def __init__(self, held: set[int]) -> None:
        self.held = held

    def sockets_opened(self, call_id: bytes, sockets: Sequence[RelaySocket]) -> None:
        self.held |= {each.local.port for each in sockets}

    def sockets_closing(self, sockets: Sequence[RelaySocket]) -> None:
        self.held -= {each.local.port for each in sockets}


def test_sockets_of_a_call_that_cannot_be_restored_are_held_no_longer(
    plane: SocketPlane, events: CallObservers, ports: range
) -> None:
    before = open_media_sockets(V4, ports[0], 2)
    events.add(stored := StoredSockets(set(ports[:2])))
    plane.inherited = {each.local: each.detach() for each in before}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((V4, ports[2]))
        with pytest.raises(PortInUse):
            plane.adopt_sockets(V4, ports[0], 3)
    assert stored.held == set()
    close_media_sockets(open_media_sockets(V4, ports[0], 3))


def test_sockets_of_a_call_that_cannot_be_watched_are_held_no_longer(
    plane: SocketPlane, events: CallObservers, ports: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(media_socket: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    before = open_media_sockets(V4, ports[0], 2)
    events.add(stored := StoredSockets(set(ports[:2])))
    plane.inherited = {each.local: each.detach() for each in before}
    monkeypatch.setattr(plane._forwarding, "open", refuse)
    with pytest.raises(SocketsExhausted, match="memory"):
        plane.adopt_sockets(V4, ports[0], 2)
    assert stored.held == set()
    close_media_sockets(open_media_sockets(V4, ports[0], 2))


@pytest.mark.parametrize("address", [V4, "::1"])
def test_sockets_that_were_not_handed_over_are_bound_beside_those_of_an_orphan(
    plane: SocketPlane, ports: range, address: str
) -> None:
    of_orphan = open_media_sockets(address, ports[0], 2)
    with pytest.raises(PortInUse):
        plane.adopt_sockets(address, ports[0], 2)
    plane.shares_ports = True
    adopted = plane.adopt_sockets(address, ports[0], 2)
    assert [each.local for each in adopted] == [each.local for each in of_orphan]
    close_media_sockets(of_orphan)
    plane.shares_ports = False
    with pytest.raises(PortInUse):
        open_media_sockets(address, ports[0], 1)
    plane.close_sockets(adopted)


def test_no_port_of_another_program_is_shared(plane: SocketPlane, ports: range) -> None:
    plane.shares_ports = True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((V4, ports[0]))
        with pytest.raises(PortInUse):
            plane.adopt_sockets(V4, ports[0], 1)
