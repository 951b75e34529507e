"""The descriptors of stored media sockets, by where they are bound.

A relay has thousands of them, on neighbouring ports. So they are in arrays, one for each block of ports of an
address: 4 bytes for each descriptor, where a dictionary takes 100.
"""

import array
from collections.abc import Iterator
from typing import Final

from nh.calls.media import Endpoint

BLOCK_PORTS: Final = 256
"""Ports of one array: of a few sockets, a kilobyte."""

_FREE: Final = -1
_EMPTY: Final = array.array("i", [_FREE] * BLOCK_PORTS)


class StoredSockets:
    """A mapping of endpoints to descriptors."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], array.array[int]] = {}
        self._used: dict[tuple[str, int], int] = {}

    def add(self, endpoint: Endpoint, fd: int) -> None:
        """Add a socket; there is none at its endpoint."""
        number, port = divmod(endpoint.port, BLOCK_PORTS)
        key = (endpoint.address, number)
        if key not in self._blocks:
            self._blocks[key] = _EMPTY[:]
        self._blocks[key][port] = fd
        self._used[key] = self._used.get(key, 0) + 1

    def pop(self, endpoint: Endpoint) -> int | None:
        """Remove the socket at an endpoint; returns its descriptor, None if there is none."""
        number, port = divmod(endpoint.port, BLOCK_PORTS)
        key = (endpoint.address, number)
        block = self._blocks.get(key)
        if block is None or block[port] == _FREE:
            return None
        fd, block[port] = block[port], _FREE
        self._used[key] -= 1
        if not self._used[key]:
            del self._blocks[key], self._used[key]
        return fd

    def __iter__(self) -> Iterator[tuple[Endpoint, int]]:
        """Each endpoint with its descriptor, in the order of ports."""
        for address, number in sorted(self._blocks):
            block = self._blocks[address, number]
            for port, fd in enumerate(block, number * BLOCK_PORTS):
                if fd != _FREE:
                    yield Endpoint(address, port), fd
