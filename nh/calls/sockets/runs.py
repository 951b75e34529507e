"""Runs: sockets on consecutive ports of one address, whose ports are taken and released with them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nh.calls.sockets.ports import PortSpace
from nh.calls.sockets.relay_socket import RelaySocket, SocketFactory


class SocketRun(NamedTuple):
    """Sockets on consecutive ports.

    Attributes:
        address: local IP address.
        base: the lowest port, even.
        sockets: one for each port, in their order.
    """

    address: str
    base: int
    sockets: tuple[RelaySocket, ...]


class SocketRuns:
    """Opens, adopts and closes the runs of one call.

    Args:
        ports: which ports are free.
        factory: opens and closes the sockets.
        call_id: the call.
        dscp: DiffServ code point of what the sockets send, 0 to 63; None: that of the settings.

    Attributes:
        ports, dscp: as above.
    """

    __slots__ = ("_call_id", "_factory", "dscp", "ports")

    def __init__(
        self, ports: PortSpace, factory: SocketFactory, *, call_id: bytes = b"", dscp: int | None = None
    ) -> None:
        self.ports = ports
        self.dscp = dscp
        self._factory = factory
        self._call_id = call_id

    def open(self, address: str, count: int) -> SocketRun:
        """Open `count` sockets (1 or more) on a local IP address, on ports that are free.

        Raises:
            PortsExhausted: no ports, descriptors or memory are left.
            AddressUnavailable: the address cannot be bound.
        """
        base, sockets = self.ports.open_run(address, count, self._open_sockets)
        return SocketRun(address, base, tuple(sockets))

    def adopt(self, address: str, base: int, count: int) -> SocketRun:
        """Restore `count` sockets on the ports from `base` on; see SocketFactory.adopt_sockets().

        Raises:
            PortInUse, PortsExhausted, AddressUnavailable: then no port is taken.
        """
        self.ports.reserve(address, base, count)
        try:
            sockets = self._factory.adopt_sockets(address, base, count, self.dscp, self._call_id)
        except BaseException:
            self.ports.release(address, base, count)
            raise
        return SocketRun(address, base, tuple(sockets))

    def take_all(self, runs: Iterable[SocketRun]) -> list[SocketRun]:
        """All runs that an iterable opens or adopts one by one, or none: if one fails, the others are closed.

        Raises:
            PortInUse, PortsExhausted, AddressUnavailable: see open() and adopt().
        """
        taken: list[SocketRun] = []
        try:
            taken.extend(runs)  # keeps those before the one that fails
        except BaseException:
            self.close(taken)
            raise
        return taken

    def close(self, runs: Sequence[SocketRun]) -> None:
        """Close the sockets of runs, and release their ports."""
        self._factory.close_sockets([socket for run in runs for socket in run.sockets])
        for run in runs:
            self.ports.release(run.address, run.base, len(run.sockets))

    def _open_sockets(self, address: str, base: int, count: int) -> list[RelaySocket]:
        return self._factory.open_sockets(address, base, count, self.dscp, self._call_id)
