"""nh.fastpath.netlink.routes in network namespaces: which way a flow takes, and why it takes none."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nh.fastpath.netlink.routes import NoRoute, Route, Routes
from tests.netns import namespaces, needs_link_kind
from tools.harness.namespaces import Namespace, join


class Far(NamedTuple):
    """A network that is far away, a host in it, this host's addresses and the gateways: left, right."""

    network: str
    host: str
    sources: tuple[str, str]
    gateways: tuple[str, str]


FAR = [
    Far("192.0.2.0/24", "192.0.2.7", ("10.1.0.1", "10.2.0.1"), ("10.1.0.2", "10.2.0.2")),
    Far("2001:db8::/64", "2001:db8::7", ("fd01::1", "fd02::1"), ("fd01::2", "fd02::2")),
]
EACH_FAMILY = pytest.mark.parametrize("far", FAR, ids=["ipv4", "ipv6"])

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


@pytest.fixture
def here() -> Iterator[Namespace]:
    """A host with two interfaces: `left` to 10.1.0.0/24 and fd01::/64, `right` to 10.2… and fd02…."""
    with namespaces(2) as (near, far):
        join(near, far, "10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fd01::2/64", name="left")
        join(near, far, "10.2.0.1/24", "10.2.0.2/24", "fd02::1/64", "fd02::2/64", name="right")
        with near.entered():
            yield near


@pytest.fixture
def routes(here: Namespace) -> Iterator[Routes]:
    some_routes = Routes()
    yield some_routes
    some_routes.close()


def by(name: str, mtu_bytes: int = 1500) -> Route:
    return Route(socket.if_nametoindex(name), False, mtu_bytes)


@pytest.mark.parametrize(("to", "source"), [("10.2.0.2", "10.2.0.1"), ("fd02::2", "fd02::1")])
def test_a_neighbour_is_reached_by_the_interface_of_its_network(routes: Routes, to: str, source: str) -> None:
    assert routes.find(to, source) == by("right")


@EACH_FAMILY
def test_what_is_far_away_is_reached_by_the_default_route(here: Namespace, routes: Routes, far: Far) -> None:
    assert isinstance(routes.find(far.host, far.sources[0]), NoRoute)
    here.run(f"ip route add default via {far.gateways[1]}")
    assert routes.find(far.host, far.sources[0]) == by("right")


def test_a_route_without_a_gateway_is_a_way(here: Namespace, routes: Routes) -> None:
    here.run("ip route add 192.0.2.0/24 dev left")
    assert routes.find("192.0.2.7", "10.1.0.1") == by("left")


@EACH_FAMILY
def test_a_changed_route_is_followed(here: Namespace, routes: Routes, far: Far) -> None:
    here.run(f"ip route replace {far.network} via {far.gateways[0]}")
    assert routes.find(far.host, far.sources[0]) == by("left")
    here.run(f"ip route replace {far.network} via {far.gateways[1]}")
    assert routes.find(far.host, far.sources[0]) == by("right")


@EACH_FAMILY
def test_rules_by_source_are_followed(here: Namespace, routes: Routes, far: Far) -> None:
    version = "-6" if ":" in far.host else "-4"
    here.run(
        f"ip {version} route add default via {far.gateways[0]}",
        f"ip {version} route add default via {far.gateways[1]} table 100",
        f"ip {version} rule add from {far.sources[1]} table 100",
    )
    assert routes.find(far.host, far.sources[0]) == by("left")
    assert routes.find(far.host, far.sources[1]) == by("right")


def test_rules_by_protocol_are_followed(here: Namespace, routes: Routes) -> None:
    here.run(
        "ip route add default via 10.1.0.2",
        "ip route add default via 10.2.0.2 table 100",
        "ip rule add ipproto udp table 100",
    )
    assert routes.find("192.0.2.7", "10.1.0.1") == by("right")


@EACH_FAMILY
def test_rules_by_tos_are_followed(here: Namespace, routes: Routes, far: Far) -> None:
    version = "-6" if ":" in far.host else "-4"
    here.run(
        f"ip {version} route add {far.network} via {far.gateways[0]}",
        f"ip {version} route add {far.network} via {far.gateways[1]} table 100",
        f"ip {version} rule add tos 0x10 table 100",
    )
    assert routes.find(far.host, far.sources[0], 0x10) == by("right")
    assert routes.find(far.host, far.sources[0], 0) == by("left")


NH = 65534
"""A user that nh may run as."""


@pytest.mark.parametrize("user", [NH, 0], ids=["its own user", "root"])
@EACH_FAMILY
def test_where_a_rule_by_user_makes_a_difference_there_is_no_way(
    here: Namespace, monkeypatch: pytest.MonkeyPatch, far: Far, user: int
) -> None:
    """The program's packets are no user's, and would go another way than those of nh's sockets."""
    monkeypatch.setattr(os, "geteuid", lambda: NH)
    with contextlib.closing(Routes()) as routes:
        version = "-6" if ":" in far.host else "-4"
        here.run(
            f"ip {version} route add {far.network} via {far.gateways[0]}",
            f"ip {version} route add {far.network} via {far.gateways[1]} table 100",
        )
        assert routes.find(far.host, far.sources[0]) == by("left")
        here.run(f"ip {version} rule add uidrange {user}-{user} table 100")
        found = routes.find(far.host, far.sources[0])
        assert isinstance(found, NoRoute)
        assert "uidrange" in found.why
        here.run(f"ip {version} rule add uidrange {NH - user}-{NH - user} table 100")
        assert routes.find(far.host, far.sources[0]) == by("right"), "it holds for both"


@pytest.mark.parametrize(
    ("to", "source"),
    [
        ("10.1.0.1", "10.1.0.1"),
        ("10.2.0.1", "10.1.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("fd01::1", "fd01::1"),
        ("fd02::1", "fd01::1"),
        ("::1", "::1"),
    ],
)
def test_addresses_of_this_host_are_local(routes: Routes, to: str, source: str) -> None:
    route = routes.find(to, source)
    assert isinstance(route, Route)
    assert route.local


def test_the_mtu_is_the_interface_s_and_a_new_one_counts_after_a_link_event(
    here: Namespace, routes: Routes
) -> None:
    here.run("ip link set left mtu 1400")
    assert routes.find("10.1.0.2", "10.1.0.1") == by("left", 1400)
    here.run("ip link set left mtu 1300")
    routes.forget_links()
    assert routes.find("10.1.0.2", "10.1.0.1") == by("left", 1300)
    assert routes.find("fd01::2", "fd01::1") == by("left", 1300)


@EACH_FAMILY
def test_a_lower_mtu_of_the_route_counts(here: Namespace, routes: Routes, far: Far) -> None:
    here.run(f"ip route add {far.network} dev left mtu 1290")
    assert routes.find(far.host, far.sources[0]) == by("left", 1290)


def test_the_mtu_that_a_router_advertised_counts_for_ipv6_alone(routes: Routes) -> None:
    Path("/proc/sys/net/ipv6/conf/left/mtu").write_text("1380")
    assert routes.find("fd01::2", "fd01::1") == by("left", 1380)
    assert routes.find("10.1.0.2", "10.1.0.1") == by("left", 1500)


def test_a_changed_sysctl_matters_where_an_ipv6_route_led_out(routes: Routes) -> None:
    sysctl = Path("/proc/sys/net/ipv6/conf/left/mtu")
    assert routes.find("10.1.0.2", "10.1.0.1") == by("left", 1500)
    sysctl.write_text("1380")
    assert not routes.ipv6_mtus_changed()
    assert routes.find("fd01::2", "fd01::1") == by("left", 1380)
    assert not routes.ipv6_mtus_changed()
    sysctl.write_text("1400")
    assert routes.ipv6_mtus_changed()
    routes.forget_links()
    assert routes.find("fd01::2", "fd01::1") == by("left", 1400)


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
@EACH_FAMILY
def test_a_route_that_drops_is_no_way(here: Namespace, routes: Routes, kind: str, far: Far) -> None:
    here.run(f"ip route add {kind} {far.network}")
    found = routes.find(far.host, far.sources[0])
    assert isinstance(found, NoRoute)
    assert found.sure


@pytest.mark.parametrize(
    ("to", "source", "why"),
    [
        ("10.1.0.255", "10.1.0.1", "it is a broadcast address"),
        ("255.255.255.255", "10.1.0.1", "it is a broadcast address"),
        ("224.0.0.5", "10.1.0.1", "it is a multicast address"),
        ("ff02::1", "fd01::1", "it is a multicast address"),
        ("0.0.0.0", "10.1.0.1", "it is the unspecified address"),
        ("::", "fd01::1", "it is the unspecified address"),
        ("fe80::1", "fd01::1", "a link-local address says nothing of the interface"),
        ("10.1.0.2", "fd01::1", "fd01::1 and 10.1.0.2 are not addresses of one family"),
        ("phone.example", "10.1.0.1", "10.1.0.1 and phone.example are not addresses of one family"),
        ("192.0.2.7", "10.1.0.1", "routing says: Network is unreachable"),
        ("2001:db8::7", "fd01::1", "routing says: Network is unreachable"),
    ],
)
def test_where_no_flow_goes_to(routes: Routes, to: str, source: str, why: str) -> None:
    assert routes.find(to, source) == NoRoute(why)


def test_a_source_that_is_not_of_this_host_has_no_way(routes: Routes) -> None:
    assert isinstance(routes.find("10.1.0.2", "10.1.0.77"), NoRoute)


def test_a_tunnel_is_no_way(here: Namespace, routes: Routes) -> None:
    here.run("ip tuntap add tunnel mode tun", "ip link set tunnel up", "ip route add 192.0.2.0/24 dev tunnel")
    assert routes.find("192.0.2.7", "10.1.0.1") == NoRoute("interface tunnel is not Ethernet")


def test_a_way_by_a_bridge(here: Namespace, routes: Routes) -> None:
    here.run(
        "ip link add bridge type bridge",
        "ip link set bridge up",
        "ip address add 10.3.0.1/24 dev bridge",
    )
    assert routes.find("10.3.0.2", "10.3.0.1") == by("bridge")


def test_a_way_by_a_vlan(here: Namespace, routes: Routes) -> None:
    needs_link_kind(here, "ip link add link left name left.5 type vlan id 5", "vlan")
    here.run("ip link set left.5 up", "ip address add 10.3.0.1/24 dev left.5")
    assert routes.find("10.3.0.2", "10.3.0.1") == by("left.5")


def test_an_interface_that_goes_down_takes_its_routes_along(here: Namespace, routes: Routes) -> None:
    here.run("ip route add 192.0.2.0/24 via 10.1.0.2", "ip route add 192.0.2.0/24 via 10.2.0.2 metric 9")
    assert routes.find("192.0.2.7", "10.2.0.1") == by("left")
    here.run("ip link set left down")
    assert routes.find("192.0.2.7", "10.2.0.1") == by("right")
