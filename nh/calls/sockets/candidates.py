"""Candidates: the sockets of a medium at further addresses of the relay, which ICE offers an end.

A socket group is the default candidate, with the address of c= and m=. Each further one has as many ports on
an address of its own. They are a choice for the end, and calls come first: where little is free, or an
address cannot be bound, they are left out.
"""

import contextlib
from collections.abc import Sequence
from typing import Final

from nh.calls.sockets.ports import PortInUse
from nh.calls.sockets.runs import SocketRun, SocketRuns
from nh.errors import AddressUnavailable, PortsExhausted

MAX_FURTHER: Final = 7
"""Most further candidates of a medium; an end checks each of them from each of its own."""

SHARE: Final = 0.75
"""Up to this share of max_sockets, and of the ports of an address, further candidates are opened."""


def open_candidates(addresses: Sequence[str], count: int, runs: SocketRuns) -> tuple[SocketRun, ...]:
    """Open further candidates.

    Args:
        addresses: local IP addresses.
        count: number of components.
        runs: opens them.
    """
    found = []
    for address in addresses[:MAX_FURTHER]:
        if runs.ports.free_share(address) <= 1 - SHARE:
            continue
        with contextlib.suppress(PortsExhausted, AddressUnavailable):
            found.append(runs.open(address, count))
    return tuple(found)


def adopt_candidates(
    places: Sequence[tuple[str, int]], count: int, runs: SocketRuns
) -> tuple[SocketRun, ...]:
    """Restore further candidates.

    Args:
        places: address and lowest port of each.
        count: number of components.
        runs: adopts them.
    """
    found = []
    for address, base in places:
        with contextlib.suppress(PortInUse, PortsExhausted, AddressUnavailable):
            found.append(runs.adopt(address, base, count))
    return tuple(found)
