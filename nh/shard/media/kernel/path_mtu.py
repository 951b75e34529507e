"""Path MTU: when routes have to be looked up again for a change of MTU that raises no netlink event.

There are four such changes: a router says "packet too big" (ICMP), the kernel forgets what a router said, a
sysctl changes the IPv6 MTU of an interface, and the host learns of a path what the program in the kernel does
not see, from a tunnel of its own or by an interface without the program. The program applies the first one at
once where it knows the flow; a look-up finds the others, and the last one shows when a route is asked for
again (RouteCache). The host's routing may not believe a message, whose checksum is wrong or which a firewall
drops. Then no look-up finds a change, and FORGET_S ends it. The module knows nothing of flows or routes.
"""

import math
from collections.abc import Callable
from typing import Final

SYSCTLS_S: Final = 1.0
"""Seconds between two looks at the sysctls."""

PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 10.0
"""Shortest and longest time between two look-ups: it grows while messages come, which any host can send."""

FORGET_S: Final = 600.0
"""How long a flow is shorter for a message alone: as long as Linux believes one (RFC 1191 6.3)."""


class PathMtuWatch:
    """Says when path MTUs may have changed.

    Args:
        messages: how many ICMP messages "packet too big" have come to this host, in all its life.
        sysctls_changed: whether an interface has another IPv6 MTU than when its routes were looked up.
    """

    def __init__(self, messages: Callable[[], int], sysctls_changed: Callable[[], bool]) -> None:
        self._messages = messages
        self._sysctls_changed = sysctls_changed
        self._seen = messages()
        self._told = False
        self._expires = math.inf
        self._forgotten = math.inf
        self._sysctls_due = 0.0
        self._pause_s = PAUSE_S
        self._last = -math.inf

    @property
    def certain(self) -> bool:
        """Whether what was looked up is still the latest, as far as routers have said."""
        return not self._told and self._messages() == self._seen

    def expect(self, expiry: float) -> None:
        """The kernel forgets a path MTU that was looked up at `expiry` (monotonic seconds)."""
        self._expires = min(self._expires, expiry)

    def tell(self) -> None:
        """A look-up has found that a route is another now."""
        self._told = True

    def due(self, *, now: float) -> bool:
        """Whether all routes have to be looked up now (monotonic seconds). True only once for each change."""
        told_before = self._told
        came = (messages := self._messages()) != self._seen
        self._seen = messages
        self._told |= came
        if came:
            self._forgotten = min(self._forgotten, now + FORGET_S)
        if now - self._last < self._pause_s:
            return False
        # the kernel's routing learns from a message just after the program counts it: hence the turn between
        if not (told_before or now >= self._expires or self._sysctls_moved(now)):
            return False
        quiet = now - self._last > 2 * MAX_PAUSE_S
        self._pause_s = PAUSE_S if quiet else min(MAX_PAUSE_S, self._pause_s * 2)
        self._last = now
        self._told = came
        self._expires = math.inf
        return True

    def is_forgotten(self, *, now: float) -> bool:
        """Whether all flows are to be as long as their routes again (monotonic seconds). True only once."""
        if now < self._forgotten:
            return False
        self._forgotten = math.inf
        return True

    def _sysctls_moved(self, now: float) -> bool:
        if now < self._sysctls_due:
            return False
        self._sysctls_due = now + SYSCTLS_S
        return self._sysctls_changed()
