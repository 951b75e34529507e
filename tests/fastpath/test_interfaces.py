"""In network namespaces: which interfaces carry media, and how they are followed."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.fastpath.netlink.interfaces import InterfaceWatch, MediaInterfaces, NetworkInterface
from nh.loop import SelectorLoop
from tests.netns import namespaces, needs_link_kind
from tools.harness.namespaces import Namespace, join
from tools.harness.waiting import turn_until

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


def names(*only: str) -> list[str]:
    return [interface.name for interface in MediaInterfaces(only).scan()]


def add_veth(namespace: Namespace, name: str = "one") -> None:
    """A veth that is up, without addresses: not even a link-local one."""
    namespace.run(
        f"ip link add {name} type veth peer name {name}-peer",
        f"ip link set {name} addrgenmode none",
        f"ip link set {name}-peer addrgenmode none",
        f"ip link set {name} up",
        f"ip link set {name}-peer up",
    )


def test_loopback_carries_media_with_its_index_and_mtu(namespace: Namespace) -> None:
    assert MediaInterfaces().scan() == [NetworkInterface(socket.if_nametoindex("lo"), "lo", 65536)]


@pytest.mark.parametrize("address", ["10.0.0.1/24", "fd00::1/64"])
def test_an_interface_carries_media_while_it_has_an_address(namespace: Namespace, address: str) -> None:
    add_veth(namespace)
    assert names() == ["lo"]
    namespace.run(f"ip address add {address} dev one")
    assert names() == ["lo", "one"]
    namespace.run(f"ip address del {address} dev one")
    assert names() == ["lo"]


def test_an_interface_that_is_down_carries_none(namespace: Namespace) -> None:
    add_veth(namespace)
    namespace.run("ip address add 10.0.0.1/24 dev one", "ip link set one down")
    assert names() == ["lo"]


def test_an_interface_without_carrier_keeps_its_media(namespace: Namespace) -> None:
    add_veth(namespace)
    namespace.run("ip address add 10.0.0.1/24 dev one", "ip link set one-peer down")
    assert names() == ["lo", "one"]


def test_the_mtu_is_the_interface_s(namespace: Namespace) -> None:
    add_veth(namespace)
    namespace.run("ip address add 10.0.0.1/24 dev one", "ip link set one mtu 1380")
    assert MediaInterfaces().scan()[-1] == NetworkInterface(socket.if_nametoindex("one"), "one", 1380)


def test_a_bridge_counts_and_its_ports_do_not(namespace: Namespace) -> None:
    add_veth(namespace)
    namespace.run(
        "ip link add bridge type bridge",
        "ip link set one master bridge",
        "ip link set bridge up",
        "ip address add 10.0.0.1/24 dev bridge",
        "ip address add fe80::7/64 dev one nodad",
    )
    assert names() == ["lo", "bridge"]


def test_a_bond_counts_and_its_members_do_not(namespace: Namespace) -> None:
    needs_link_kind(namespace, "ip link add bond type bond", "bond")
    add_veth(namespace)
    namespace.run(
        "ip link set one down",
        "ip link set one master bond",
        "ip link set bond up",
        "ip address add 10.0.0.1/24 dev bond",
    )
    assert names() == ["lo", "bond"]


def test_a_vlan_device_counts_beside_the_device_below_it(namespace: Namespace) -> None:
    add_veth(namespace)
    needs_link_kind(namespace, "ip link add link one name one.5 type vlan id 5", "vlan")
    namespace.run(
        "ip link set one.5 addrgenmode none", "ip link set one.5 up", "ip address add 10.0.0.1/24 dev one.5"
    )
    assert names() == ["lo", "one.5"]


def test_a_dummy_counts(namespace: Namespace) -> None:
    needs_link_kind(namespace, "ip link add dummy type dummy", "dummy")
    namespace.run("ip link set dummy up", "ip address add 10.0.0.1/24 dev dummy")
    assert names() == ["lo", "dummy"]


def test_an_interface_that_is_not_ethernet_does_not_count(namespace: Namespace) -> None:
    namespace.run(
        "ip tuntap add tunnel mode tun", "ip link set tunnel up", "ip address add 10.0.0.1/24 dev tunnel"
    )
    assert names() == ["lo"]


def test_named_interfaces_are_taken_with_or_without_addresses_and_no_others(namespace: Namespace) -> None:
    add_veth(namespace)
    assert names("one", "not-there-yet") == ["one"]


def test_a_named_interface_that_cannot_be_used_is_told_once(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    namespace.run("ip tuntap add tunnel mode tun", "ip link set tunnel up")
    interfaces = MediaInterfaces(["tunnel"])
    assert interfaces.scan() == interfaces.scan() == []
    assert [record.getMessage() for record in caplog.records] == [
        "interface tunnel is not Ethernet: its media stay in user space"
    ]


def test_a_named_interface_that_is_not_there_is_told_once(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    add_veth(namespace)
    namespace.run("ip link set one down")
    interfaces = MediaInterfaces(["lo", "one", "eht0"])
    for _ in range(2):
        assert [interface.name for interface in interfaces.scan()] == ["lo"]
    assert [record.getMessage() for record in caplog.records] == [
        "interface eht0 is missing or down: the kernel path waits for it",
        "interface one is missing or down: the kernel path waits for it",
    ]


class Follower:
    """A watch, and what it told: +name for what came, -name for what went."""

    def __init__(self, loop: SelectorLoop, *only: str) -> None:
        self.told: list[str] = []
        self.there: dict[int, str] = {}
        self._loop = loop
        self.watch = InterfaceWatch(loop, self._hear, only)

    def _hear(self, came: list[NetworkInterface], went: list[NetworkInterface]) -> None:
        for interface in went:
            del self.there[interface.ifindex]
        self.there |= {interface.ifindex: interface.name for interface in came}
        self.told += [f"-{interface.name}" for interface in went]
        self.told += [f"+{interface.name}" for interface in came]

    def wait_for(self, *told: str) -> None:
        turn_until(self._loop, lambda: len(self.told) >= len(told), f"{told}, not {self.told}")
        assert self.told == list(told)
        self.told.clear()


@pytest.fixture
def follower(namespace: Namespace, loop: SelectorLoop) -> Iterator[Follower]:
    add_veth(namespace)
    follower = Follower(loop)
    follower.watch.start()
    follower.wait_for("+lo")
    yield follower
    follower.watch.close()


def test_what_is_there_at_the_start_is_told_at_once(namespace: Namespace, loop: SelectorLoop) -> None:
    follower = Follower(loop)
    follower.watch.start()
    assert follower.told == ["+lo"]
    follower.watch.close()


def test_an_address_makes_an_interface_come_and_go(namespace: Namespace, follower: Follower) -> None:
    namespace.run("ip address add 10.0.0.1/24 dev one")
    follower.wait_for("+one")
    namespace.run("ip address del 10.0.0.1/24 dev one")
    follower.wait_for("-one")
    namespace.run("ip address add fd00::1/64 dev one")
    follower.wait_for("+one")


def test_going_down_and_up_is_told(namespace: Namespace, follower: Follower) -> None:
    namespace.run("ip address add 10.0.0.1/24 dev one")
    follower.wait_for("+one")
    namespace.run("ip link set one down")
    follower.wait_for("-one")
    namespace.run("ip link set one up")
    follower.wait_for("+one")


def test_a_deleted_interface_went(namespace: Namespace, follower: Follower) -> None:
    namespace.run("ip address add 10.0.0.1/24 dev one")
    follower.wait_for("+one")
    namespace.run("ip link delete one")
    follower.wait_for("-one")


def test_an_interface_that_becomes_a_port_of_a_bridge_went(namespace: Namespace, follower: Follower) -> None:
    namespace.run("ip address add 10.0.0.1/24 dev one")
    follower.wait_for("+one")
    namespace.run("ip link add bridge type bridge", "ip link set one master bridge")
    follower.wait_for("-one")
    namespace.run("ip link set one nomaster")
    follower.wait_for("+one")


def test_an_interface_replaced_by_another_with_its_index_went_and_came(
    namespace: Namespace, follower: Follower
) -> None:
    namespace.run("ip address add 10.0.0.1/24 dev one")
    follower.wait_for("+one")
    index = socket.if_nametoindex("one")
    namespace.run(
        "ip link delete one",
        f"ip link add two index {index} type veth peer name two-peer",
        "ip link set two up",
        "ip address add 10.0.0.1/24 dev two",
    )
    follower.wait_for("-one", "+two")
    assert follower.there == {1: "lo", index: "two"}


def test_changes_that_end_where_they_began_are_not_told(namespace: Namespace, follower: Follower) -> None:
    namespace.run("ip address add 10.0.0.1/24 dev one", "ip address del 10.0.0.1/24 dev one")
    namespace.run("ip address add 127.0.0.9/8 dev lo", "ip link set one mtu 1400")
    add_veth(namespace, "two")
    namespace.run("ip address add 10.0.0.2/24 dev two")
    follower.wait_for("+two")


def test_a_shortage_that_keeps_the_interfaces_from_being_listed_is_told_once_and_so_is_its_end(
    loop: SelectorLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    failures = [OSError(errno.EMFILE, "Too many open files")] * 5

    def scan(_: MediaInterfaces) -> list[NetworkInterface]:
        if failures:
            raise failures.pop()
        return [NetworkInterface(1, "lo", 65536)]

    monkeypatch.setattr("nh.fastpath.netlink.interfaces.RETRY_S", 0.0)
    monkeypatch.setattr(MediaInterfaces, "scan", scan)
    follower = Follower(loop)
    follower.watch.start()
    follower.wait_for("+lo")
    follower.watch.close()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "the network interfaces cannot be listed: Too many open files",
        "the network interfaces can be listed again",
    ]


def test_a_named_interface_is_waited_for(namespace: Namespace, loop: SelectorLoop) -> None:
    follower = Follower(loop, "late")
    follower.watch.start()
    assert follower.told == []
    add_veth(namespace, "late")
    follower.wait_for("+late")
    follower.watch.close()


def test_more_events_than_fit_are_caught_up_with(
    namespace: Namespace, follower: Follower, tmp_path: Path
) -> None:
    # no reads meanwhile, so that the socket's buffer overruns
    batch = tmp_path / "batch"
    batch.write_text(
        "".join(f"address add 10.1.{number // 250}.{number % 250}/32 dev one\n" for number in range(2000))
    )
    namespace.run(f"ip -batch {batch}")
    follower.wait_for("+one")


def test_another_namespace_is_not_seen() -> None:
    with namespaces(2) as (left, right):
        join(left, right, "10.0.0.1/24", "10.0.0.2/24")
        with right.entered():
            seen = MediaInterfaces().scan()
        assert [interface.name for interface in seen] == ["lo", "veth"]
