"""The route cache: when the kernel is asked for a route again."""

from collections.abc import Iterator

import pytest

from nh.fastpath.netlink.routes import NoRoute, Route, Routes
from nh.shard.media.kernel import route_cache
from nh.shard.media.kernel.route_cache import RouteCache

HERE = "127.0.0.1"
BROADCAST = "255.255.255.255"

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


class CountingRoutes(Routes):
    """The routing of this host, and how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def find(self, destination: str, source: str) -> Route | NoRoute:
        self.asked += 1
        return super().find(destination, source)


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
