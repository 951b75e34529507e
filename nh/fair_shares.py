"""Fair shares: where all places are taken, the client that has most of them gives way to another one.

So one client alone may have every place, such as a proxy in front of nh, and none keeps the others out. It is
the rule of longest queue drop (RFC 7806 3.2 has it for packets).
"""

import functools
import ipaddress
from collections.abc import Iterable
from typing import Final

LOCAL: Final = ""
"""The client on a Unix socket: it has no share, and gives way last."""


class FairShares:
    """How many places each client has.

    Args:
        clients: the client of each place that is taken.
    """

    __slots__ = ("_numbers",)

    def __init__(self, clients: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for client in clients:
            self.take(client)

    def take(self, client: str) -> None:
        """Note that a client has one place more, or wants one."""
        if client != LOCAL:
            self._numbers[client] = self._numbers.get(client, 0) + 1

    def give_back(self, client: str) -> None:
        """Note that a client has one place less; it has one."""
        if client == LOCAL:
            return
        left = self._numbers[client] - 1
        if left:
            self._numbers[client] = left
        else:
            del self._numbers[client]

    def number_of(self, client: str) -> int:
        """How many places a client has; 0 for LOCAL."""
        return self._numbers.get(client, 0)

    def heaviest(self) -> frozenset[str]:
        """The clients that have most places; LOCAL where there is no other."""
        most = max(self._numbers.values(), default=0)
        return frozenset([client for client, number in self._numbers.items() if number == most] or [LOCAL])


@functools.lru_cache(maxsize=1024)
def client_at(host: str) -> str:
    """Who is taken for one client: an IP address; of IPv6 its /64, all of which one host has.

    Args:
        host: where the client is; what is no IP address stands for itself.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
