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
_USED: Final = BLOCK_PORTS  # behind the descriptors: how many there are
_EMPTY: Final = array.array("i", [_FREE] * BLOCK_PORTS + [0])


class StoredSockets:
    """A mapping of endpoints to descriptors."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], array.array[int]] = {}

    def put(self, endpoint: Endpoint, fd: int) -> int | None:
        """Add a socket; returns the descriptor of the one whose place it takes, None if there is none."""
        port = endpoint.port
        key, at = (endpoint.address, port // BLOCK_PORTS), port % BLOCK_PORTS
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _EMPTY[:]
        before, block[at] = block[at], fd
        if before != _FREE:
            return before
        block[_USED] += 1
        return None

    def pop(self, endpoint: Endpoint) -> int | None:
        """Remove the socket at an endpoint; returns its descriptor, None if there is none."""
        port = endpoint.port
        key, at = (endpoint.address, port // BLOCK_PORTS), port % BLOCK_PORTS
        block = self._blocks.get(key)
        if block is None or block[at] == _FREE:
            return None
        fd, block[at] = block[at], _FREE
        block[_USED] -= 1
        if not block[_USED]:
            del self._blocks[key]
        return fd

    def __iter__(self) -> Iterator[tuple[Endpoint, int]]:
        """Each endpoint with its descriptor, in the order of ports."""
        for address, number in sorted(self._blocks):
            block = self._blocks[address, number][:BLOCK_PORTS]
            for port, fd in enumerate(block, number * BLOCK_PORTS):
                if fd != _FREE:
                    yield Endpoint(address, port), fd
