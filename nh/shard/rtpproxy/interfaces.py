"""Interfaces by rtpproxy's modifiers: I and E, L with an address or a name, R with the address of an end."""

import contextlib
import socket
from collections.abc import Sequence
from typing import Final

from nh.address import socket_family
from nh.calls.interfaces import Interface
from nh.commands import SessionOptions
from nh.errors import Unsupported
from nh.ip_address import is_address

_ANY_PORT: Final = 9


class Bridge:
    """The interfaces of a relay by rtpproxy's words: I is the first one's name, E that of the next.

    Args:
        interfaces: in the order of the settings.
    """

    def __init__(self, interfaces: Sequence[Interface]) -> None:
        self._interfaces = tuple(interfaces)
        self._names = tuple(dict.fromkeys(interface.name for interface in interfaces))

    def names(self, options: SessionOptions) -> tuple[str, ...]:
        """The names of the interfaces towards the sender and the receiver of an SDP; () if none is named.

        Raises:
            Unsupported: the relay has no such interface.
        """
        local = self.local(options)
        if local is not None:
            return (local.name, local.name)
        if not options.bridge:
            return ()
        if len(self._names) < 2:
            raise Unsupported("I and E need two interfaces with different names (--interface)")
        near, far = (*options.bridge, 0)[:2]
        return (self._names[near], self._names[far])

    def local(self, options: SessionOptions) -> Interface | None:
        """The interface that L or R names; None if neither is given.

        Raises:
            Unsupported: the relay has no such interface.
        """
        wanted = options.local or (_address_towards(options.remote) if options.remote else "")
        if not wanted:
            return None
        known = [each for each in self._interfaces if wanted in (each.address, each.name)]
        for interface in sorted(known, key=lambda each: each.family != options.family):
            return interface
        raise Unsupported(f"no interface has the address or the name {wanted[:64]!r}")


def _address_towards(remote: str) -> str:
    """The local address that packets to `remote` leave from; the remote one itself if there is no route."""
    if not is_address(remote):
        return remote
    with contextlib.suppress(OSError), socket.socket(socket_family(remote), socket.SOCK_DGRAM) as probe:
        probe.connect((remote, _ANY_PORT))  # sends nothing
        return str(probe.getsockname()[0])
    return remote
