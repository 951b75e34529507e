"""The media plane: what the domain needs of the world, sockets that move packets.

nh.shard.media.plane implements it in a shard; tests have a fake.
"""

from typing import Protocol

from nh.calls.relay_socket import RelaySocket
from nh.calls.session import Session


class MediaPlane(Protocol):
    """Opens sockets and moves packets."""

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

    def start(self, session: Session) -> None:
        """Start relaying for a session."""

    def renew(self, session: Session) -> None:
        """Follow the legs of a session: they learn their sources again, or were blocked or unblocked."""

    def stop(self, session: Session) -> None:
        """Stop relaying for a session."""
