"""Tells a shard that routing may have changed, so that it looks up the routes of its flows again."""

from collections.abc import Callable

from nh.fastpath.netlink.events import Events
from nh.loop import Loop

LINK, IPV4_ADDRESS, IPV4_ROUTE, IPV4_RULE = 1, 5, 7, 8
IPV6_ADDRESS, IPV6_ROUTE, IPV6_INTERFACE, IPV6_RULE, NEXT_HOP = 9, 11, 12, 19, 32
"""RTNLGRP_… (linux/rtnetlink.h). IPV6_INTERFACE has the MTU that routers advertise; NEXT_HOP because a
next hop object may change without a word about the routes that use it."""

GROUPS = (
    LINK,
    IPV4_ADDRESS,
    IPV4_ROUTE,
    IPV4_RULE,
    IPV6_ADDRESS,
    IPV6_ROUTE,
    IPV6_INTERFACE,
    IPV6_RULE,
    NEXT_HOP,
)

BUFFER_BYTES = 16384
"""Enough for a few dozen notifications: their contents do not count, the kernel drops the rest cheaply."""


class RouteWatch:
    """Follows links, addresses, routes and rules of the calling thread's network namespace.

    Args:
        loop: calls back.
        on_change: called 50 ms after a change, once for all changes in between; while changes keep coming,
            the pause grows to a second.

    Raises:
        OSError: netlink cannot be had.
    """

    def __init__(self, loop: Loop, on_change: Callable[[], None]) -> None:
        self._events = Events(loop, GROUPS, lambda _: on_change(), buffer_bytes=BUFFER_BYTES)

    def close(self) -> None:
        """Nothing is called any more."""
        self._events.close()
