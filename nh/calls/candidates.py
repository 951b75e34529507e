"""Candidates: the sockets of a medium at further addresses of the relay, which ICE offers an end.

A socket group is the default candidate, with the address of c= and m=. Each further one has as many ports on
an address of its own. They are a choice for the end, and calls come first: where little is free, or an
address cannot be bound, they are left out.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from nh.calls.ports import PortInUse, PortSpace
from nh.calls.relay_socket import RelaySocket
from nh.errors import AddressUnavailable, PortsExhausted

MAX_FURTHER: Final = 7
"""Most further candidates of a medium; an end checks each of them from each of its own."""

SHARE: Final = 0.75
"""Up to this share of max_sockets, and of the ports of an address, further candidates are opened."""


class Candidate(NamedTuple):
    """A further candidate.

    Attributes:
        address: local IP address.
        base: its lowest port.
        sockets: one for each component, on consecutive ports.
    """

    address: str
    base: int
    sockets: tuple[RelaySocket, ...]


def open_candidates(
    addresses: Sequence[str],
    count: int,
    *,
    ports: PortSpace,
    open_sockets: Callable[[str, int, int], list[RelaySocket]],
) -> tuple[Candidate, ...]:
    """Open further candidates.

    Args:
        addresses: local IP addresses.
        count: number of components.
        ports: free ports.
        open_sockets: see MediaPlane.
    """
    found = []
    for address in addresses[:MAX_FURTHER]:
        if ports.free_share(address) <= 1 - SHARE:
            continue
        with contextlib.suppress(PortsExhausted, AddressUnavailable):
            base, sockets = ports.open_run(address, count, open_sockets)
            found.append(Candidate(address, base, tuple(sockets)))
    return tuple(found)


def adopt_candidates(
    places: Sequence[tuple[str, int]],
    count: int,
    *,
    ports: PortSpace,
    adopt_sockets: Callable[[str, int, int], list[RelaySocket]],
) -> tuple[Candidate, ...]:
    """Restore further candidates.

    Args:
        places: address and lowest port of each.
        count: number of components.
        ports: takes the ports out.
        adopt_sockets: see MediaPlane.
    """
    found = []
    for address, base in places:
        with contextlib.suppress(PortInUse, PortsExhausted, AddressUnavailable):
            ports.reserve(address, base, count)
            try:
                found.append(Candidate(address, base, tuple(adopt_sockets(address, base, count))))
            except BaseException:
                ports.release(address, base, count)
                raise
    return tuple(found)


def close_candidates(
    candidates: Sequence[Candidate],
    *,
    ports: PortSpace,
    close_sockets: Callable[[list[RelaySocket]], None],
) -> None:
    """Close further candidates, and release their ports."""
    for each in candidates:
        close_sockets(list(each.sockets))
        ports.release(each.address, each.base, len(each.sockets))


def sockets_of(candidates: Sequence[Candidate]) -> Iterator[RelaySocket]:
    """The sockets of some candidates."""
    for each in candidates:
        yield from each.sockets
