"""The routes that a shard's flows need: asked for once, and again when routing or a path MTU has changed.

The module knows nothing of flows.
"""

import time
from collections.abc import Callable
from typing import Final

from nh.fastpath.netlink.route_watch import RouteWatch
from nh.fastpath.netlink.routes import LOCKED, NoRoute, Route, Routes
from nh.loop import Loop
from nh.reasons import reason
from nh.shard.media.kernel.path_mtu import PathMtuWatch

MAX_ROUTES: Final = 4096
"""Most routes that are cached until routing changes."""

ASKED_AGAIN: Final = 20
AGAIN_S: Final = 0.4
"""So many routes are asked for again, in turn, whenever so many seconds have passed: 11 µs for each, and 25
where nh is not root. Nothing tells of some changes, such as a path MTU that a tunnel of this host found."""

_EXPIRY_MARGIN_S: Final = 0.1
"""Seconds after the kernel forgets a path MTU at which its route is looked up again."""


class RouteCache:
    """Routes of the host by the destination, source and TOS of packets.

    A user of a route of the cache looks it up again when watch() calls back, and when path_mtus_changed().

    Args:
        routes: the routing of the host; close() closes it too.
        too_big_messages: how many ICMP messages "packet too big" have come to this host, in all its life.

    Attributes:
        unwatched: why changes of routing cannot be told; find() knows no route then. "": they can, or watch()
            was not called.
    """

    def __init__(self, routes: Routes, too_big_messages: Callable[[], int]) -> None:
        self._routes = routes
        self._path_mtu = PathMtuWatch(too_big_messages, routes.ipv6_mtus_changed)
        self.unwatched = ""
        self._watch: RouteWatch | None = None
        self._open_watch: Callable[[], RouteWatch]
        self._known: dict[tuple[str, str, int], Route] = {}
        self._round: list[tuple[str, str, int]] = []  # of those, what is to be asked for again
        self._round_due = 0.0

    def watch(self, loop: Loop, on_change: Callable[[], None]) -> None:
        """Have `on_change` called when routing has changed; see RouteWatch.

        Where that cannot be had, `unwatched` says why, and watch_again() tries it again.
        """
        self._open_watch = lambda: RouteWatch(loop, on_change)
        self.watch_again()

    def watch_again(self) -> None:
        """Try it again, after watch() or the last try has failed."""
        try:
            self._watch = self._open_watch()
        except OSError as refusal:
            self.unwatched = f"changes of routes cannot be followed: {reason(refusal)}"
        else:
            self.unwatched = ""

    def find(self, destination: str, source: str, tos: int = 0) -> Route | NoRoute:
        """See Routes.find(). What is no route is asked for each time."""
        if self.unwatched:
            return NoRoute(self.unwatched, sure=True)
        packets = destination, source, tos
        known = self._known.get(packets)
        if known is not None and self._path_mtu.certain:
            return known
        route = self._routes.find(*packets)
        if isinstance(route, Route):
            if route.expires_s:
                self._path_mtu.expect(time.monotonic() + route.expires_s + _EXPIRY_MARGIN_S)
            if len(self._known) >= MAX_ROUTES:
                self._known.clear()
            self._known[packets] = route
        return route

    def path_mtus_changed(self, *, now: float) -> bool:
        """Whether all routes have to be looked up again for their MTU, or because one is another than it was;
        see PathMtuWatch.due().

        Args:
            now: monotonic seconds.
        """
        if self._one_differs(now):
            self._path_mtu.tell()
        return self._path_mtu.due(now=now)

    def path_mtus_forgotten(self, *, now: float) -> bool:
        """Whether all flows are to be written again; see PathMtuWatch.is_forgotten().

        Args:
            now: monotonic seconds.
        """
        return self._path_mtu.is_forgotten(now=now)

    def forget(self) -> None:
        """Ask the kernel anew for each route, and for the interfaces that they name."""
        self._routes.forget_links()
        self._known.clear()
        self._round.clear()

    def close(self) -> None:
        """Ask and watch no more."""
        self.unwatched = ""
        if self._watch is not None:
            self._watch.close()
        self._routes.close()

    def _one_differs(self, now: float) -> bool:
        """Whether one of the next few routes is another than it was."""
        if now < self._round_due:
            return False
        self._round_due = now + AGAIN_S
        self._round = self._round or list(self._known)
        for _ in range(min(ASKED_AGAIN, len(self._round))):
            packets = self._round.pop()
            known = self._known.get(packets)
            if known is not None and _differs(self._routes.find(*packets), known):
                return True
        return False


def _differs(route: Route | NoRoute, known: Route) -> bool:
    """Whether an answer is another than before; that time has passed is no difference."""
    if isinstance(route, NoRoute):
        return route.sure or route == LOCKED
    return route._replace(expires_s=known.expires_s) != known
