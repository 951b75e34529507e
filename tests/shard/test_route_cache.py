"""The route cache: when the kernel is asked for a route again."""

import time
from collections.abc import Iterator

import pytest

from nh.fastpath.netlink.routes import LOCKED, NoRoute, Route, Routes
from nh.shard.media.kernel import route_cache
from nh.shard.media.kernel.route_cache import RouteCache

HERE = "127.0.0.1"
BROADCAST = "255.255.255.255"

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


class CountingRoutes(Routes):
    """The routing of this host, with path MTUs, or a refusal; and how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

        self.mtu_bytes: dict[str, int] = {}
        self.refusal: NoRoute | None = None

    def find(self, destination: str, source: str, tos: int = 0) -> Route | NoRoute:
        self.asked += 1
        if self.refusal is not None:
            return self.refusal
        route = super().find(destination, source, tos)
        if isinstance(route, Route) and destination in self.mtu_bytes:
            return route._replace(mtu_bytes=self.mtu_bytes[destination], expires_s=600.0 - self.asked)
        return route


class Host:
    """What the cache sees of its host."""

    def __init__(self) -> None:
        self.too_big_messages = 0
        self.routes = CountingRoutes()
        self.cache = RouteCache(self.routes, lambda: self.too_big_messages)


@pytest.fixture
def host() -> Iterator[Host]:
    some_host = Host()
    yield some_host
    some_host.cache.close()


def test_a_route_is_asked_for_once(host: Host) -> None:
    found = host.cache.find(HERE, HERE)
    assert isinstance(found, Route)
    assert host.cache.find(HERE, HERE) == found
    assert host.routes.asked == 1


def test_what_is_no_route_is_asked_for_again(host: Host) -> None:
    for asked in (1, 2):
        assert isinstance(host.cache.find(BROADCAST, HERE), NoRoute)
        assert host.routes.asked == asked


def test_a_route_is_asked_for_again_when_routing_has_changed(host: Host) -> None:
    host.cache.find(HERE, HERE)
    host.cache.forget()
    host.cache.find(HERE, HERE)
    assert host.routes.asked == 2


def test_a_route_is_asked_for_again_when_a_router_has_said_that_a_packet_is_too_big(host: Host) -> None:
    host.cache.find(HERE, HERE)
    host.too_big_messages += 1
    host.cache.find(HERE, HERE)
    assert host.routes.asked == 2


def test_the_cache_holds_a_limited_number_of_routes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_cache, "MAX_ROUTES", 2)
    for address in (HERE, "127.0.0.2", "127.0.0.3", HERE):
        host.cache.find(address, HERE)
    assert host.routes.asked == 4, "the third route emptied the cache"


class Looks:
    """Looks at the routes in the rhythm of a shard's housekeeping."""

    def __init__(self, host: Host) -> None:
        self.now = 1000.0
        self._host = host

    def find_a_change(self) -> bool:
        """Whether one more look finds that routes have changed."""
        self.now += 0.5
        return self._host.cache.path_mtus_changed(now=self.now)


def test_a_route_that_changes_without_a_word_is_found(host: Host) -> None:
    looks = Looks(host)
    host.routes.mtu_bytes[HERE] = 1500
    host.cache.find(HERE, HERE)
    assert not any(looks.find_a_change() for _ in range(10)), "that it expires sooner is no change"
    host.routes.mtu_bytes[HERE] = 1300
    assert looks.find_a_change()
    host.cache.forget()
    host.cache.find(HERE, HERE)
    assert not any(looks.find_a_change() for _ in range(10))


def test_a_route_is_looked_up_again_when_the_kernel_forgets_its_path_mtu(host: Host) -> None:
    host.routes.mtu_bytes[HERE] = 1300
    route = host.cache.find(HERE, HERE)
    assert isinstance(route, Route)
    begun = time.monotonic()
    assert not host.cache.path_mtus_changed(now=begun + route.expires_s - 1)
    assert host.cache.path_mtus_changed(now=begun + route.expires_s + 1)


@pytest.mark.parametrize("refusal", [NoRoute("it is a blackhole"), LOCKED], ids=["blackhole", "locked"])
def test_a_route_that_goes_without_a_word_is_found_unless_the_kernel_cannot_tell(
    host: Host, refusal: NoRoute
) -> None:
    looks = Looks(host)
    host.cache.find(HERE, HERE)
    host.routes.refusal = NoRoute("the kernel did not say", sure=False)
    assert not looks.find_a_change()
    host.routes.refusal = refusal
    assert looks.find_a_change()


def test_each_look_asks_for_a_few_routes_and_all_have_their_turn(host: Host) -> None:
    looks = Looks(host)
    addresses = [f"127.0.0.{number}" for number in range(1, 2 * route_cache.ASKED_AGAIN + 2)]
    for address in addresses:
        host.cache.find(address, HERE)
    for _ in range(3):
        asked = host.routes.asked
        assert not looks.find_a_change()
        assert host.routes.asked - asked <= route_cache.ASKED_AGAIN
    asked = host.routes.asked
    assert not host.cache.path_mtus_changed(now=looks.now)
    assert host.routes.asked == asked, "no sooner than that"
    host.routes.mtu_bytes[addresses[20]] = 1300
    assert any(looks.find_a_change() for _ in range(3))
