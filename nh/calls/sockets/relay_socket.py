"""Relay sockets, as the domain sees them: where they are, and who opens and closes them."""

from typing import Protocol

from nh.calls.media import Endpoint


class RelaySocket(Protocol):
    """One port of the relay: where it is.

    Several legs share one socket where a request was forked: each answer has a session of its own, and all of
    them have the group of the request.
    """

    port: int

    @property
    def local(self) -> Endpoint:
        """Where it is."""


class SocketFactory(Protocol):
    """Opens and closes sockets: a part of the media plane."""

    def open_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        """Open sockets on consecutive ports, or none.

        Args:
            address: local IP address.
            base: lowest port.
            count: number of ports.
            dscp: DiffServ code point of what they send, 0 to 63; None: that of the settings.
            call_id: the call that they belong to.

        Raises:
            PortInUse: a port is taken.
            AddressUnavailable: the address cannot be bound.
            PortsExhausted: descriptors or memory are used up.
        """

    def adopt_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        """The same for a restored call: inherited sockets are adopted, others are bound."""

    def close_sockets(self, sockets: list[RelaySocket]) -> None:
        """Close sockets that open_sockets or adopt_sockets opened and that no session uses any more."""
