"""In a network namespace: what counts as a change, and that a storm costs little."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.fastpath.netlink import events
from nh.fastpath.netlink.events import PAUSE_S
from nh.fastpath.netlink.messages import open_socket
from nh.fastpath.netlink.route_watch import RouteWatch
from nh.loop import SelectorLoop
from tools.harness.namespaces import Namespace
from tools.harness.waiting import turn_until

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


class RefusingSocket(socket.socket):
    """A socket of netlink; where `refusal` is set, the next datagram cannot be read."""

    def __init__(self) -> None:
        super().__init__(fileno=open_socket().detach())
        self.setblocking(False)
        self.refusal: int | None = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise OSError(refusal, os.strerror(refusal))
        return super().recv(size, flags)


class Listener:
    """A watch, and when it called."""

    def __init__(self, loop: SelectorLoop) -> None:
        self.called_at: list[float] = []
        self._loop = loop
        self.watch = RouteWatch(loop, lambda: self.called_at.append(time.monotonic()))

    def wait_for_call(self) -> None:
        before = len(self.called_at)
        turn_until(self._loop, lambda: len(self.called_at) > before, "on_change is called")


@pytest.fixture
def refusing(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> RefusingSocket:
    """The socket of the listener that is made next; `namespace` is entered."""
    sock = RefusingSocket()
    monkeypatch.setattr(events, "open_socket", lambda: sock)
    return sock


@pytest.fixture
def listener(namespace: Namespace, loop: SelectorLoop) -> Iterator[Listener]:
    namespace.run(
        "ip link add one type veth peer name two",
        "ip link set one up",
        "ip link set two up",
        "ip address add 10.0.0.1/24 dev one",
        "ip address add fd00::1/64 dev one nodad",
        "ip nexthop add id 7 dev one",
    )
    listener = Listener(loop)
    yield listener
    listener.watch.close()


@pytest.mark.parametrize(
    "change",
    [
        "ip route add 192.0.2.0/24 via 10.0.0.2",
        "ip -6 route add 2001:db8::/64 via fd00::2",
        "ip rule add from 10.0.0.1 table 100",
        "ip -6 rule add from fd00::1 table 100",
        "ip address add 10.0.0.9/24 dev one",
        "ip address add fd00::9/64 dev one nodad",
        "ip link set two down",
        "ip link set one mtu 1400",
        "ip nexthop replace id 7 dev two",
    ],
)
def test_what_may_change_a_route_is_told(namespace: Namespace, listener: Listener, change: str) -> None:
    namespace.run(change)
    listener.wait_for_call()


def test_what_comes_together_is_told_once(namespace: Namespace, listener: Listener, tmp_path: Path) -> None:
    flap_routes(namespace, tmp_path, 10)
    listener.wait_for_call()
    assert len(listener.called_at) == 1


def test_each_of_two_changes_apart_is_told(namespace: Namespace, listener: Listener) -> None:
    namespace.run("ip route add 192.0.2.0/24 via 10.0.0.2")
    listener.wait_for_call()
    namespace.run("ip route del 192.0.2.0/24")
    listener.wait_for_call()


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.ENOMEM])
def test_changes_are_told_also_where_one_cannot_be_read(
    refusing: RefusingSocket, namespace: Namespace, listener: Listener, error: int
) -> None:
    for change in ("add", "del"):
        refusing.refusal = error
        namespace.run(f"ip route {change} 192.0.2.0/24 via 10.0.0.2")
        listener.wait_for_call()
        assert refusing.refusal is None


@pytest.mark.full
def test_a_storm_of_changes_is_told_ever_more_rarely_and_its_end_is_not_missed(
    namespace: Namespace, listener: Listener, loop: SelectorLoop, tmp_path: Path
) -> None:
    began = time.monotonic()
    while len(listener.called_at) < 4:
        flap_routes(namespace, tmp_path, 1000)
        loop.turn(0)
        assert time.monotonic() < began + 60
    gaps = [later - before for before, later in zip(listener.called_at, listener.called_at[1:], strict=False)]
    assert min(gaps) >= PAUSE_S
    assert gaps[-1] > PAUSE_S * 2
    flap_routes(namespace, tmp_path, 1)
    last = time.monotonic()
    turn_until(loop, lambda: listener.called_at[-1] >= last, "the last change is told")


def flap_routes(namespace: Namespace, directory: Path, count: int) -> None:
    """`count` routes are added and deleted again."""
    batch = directory / "batch"
    route = [f"172.16.{n // 256}.{n % 256}/32 dev one\n" for n in range(count)]
    batch.write_text("".join(f"route {verb} {it}" for verb in ("add", "del") for it in route))
    namespace.run(f"ip -batch {batch}")
