"""Reception with ICE: where an end has ICE with the relay, its checks say whose packets a leg admits.

They also say at which of the leg's sockets they come, and where the end is sent to. Where there is no ICE, or
the end is lite, the rules of latching decide (nh.calls.latching). No I/O, no clock: `now` is an argument.
"""

from nh.calls.latching.source import Rank
from nh.calls.latching.state import SourceState
from nh.calls.media import Endpoint
from nh.calls.protocols.ice import EndIce
from nh.calls.rare import Rare
from nh.calls.reception import Reception
from nh.calls.sockets.relay_socket import RelaySocket
from nh.ice.agent import IceAgent


class IceReception(Reception):
    """A reception at one of several sockets, whose source checks of ICE may show.

    Attributes:
        socket: the relay's socket that receives; of several candidates, that of the pair that the end has
            nominated, or of the latest check before.
        ice: the relay's ICE with the end that sends here; None: the relay has none with it. Where there is
            one, its checks say whose packets are admitted, and the rules of latching have no say.
        candidates: the sockets that ICE offers the end, the default one first; () if it is `socket` alone.
    """

    __slots__ = ("ice", "socket")

    candidates = Rare[tuple[RelaySocket, ...]](())

    socket: RelaySocket
    ice: EndIce | None

    @property
    def guarded(self) -> bool:
        """Whether checks of ICE say whose packets are admitted."""
        return self.ice is not None and self.ice.guards

    @property
    def sockets(self) -> tuple[RelaySocket, ...]:
        """All its sockets, the default one first."""
        return (self.socket,) if self.rare is None else self.candidates or (self.socket,)

    def socket_towards(self, destination: Endpoint) -> RelaySocket:
        """The socket that its end has checked from `destination`."""
        if not self.candidates or self.ice is None:
            return self.socket
        return self._socket_at(self.ice.local_of(destination))

    def _socket_at(self, local: tuple[str, int] | None) -> RelaySocket:
        sockets = self.sockets
        return next((each for each in sockets if (each.local.address, each.local.port) == local), sockets[0])

    def use_ice(self, agent: IceAgent | None) -> bool:
        """Have ICE with the end that sends here, or no longer; returns whether that is new."""
        before = self.ice
        if (None if before is None else before.agent) is agent:
            return False
        if agent is None:
            self.ice = None
        else:
            self.ice = EndIce(agent) if before is None else before.renewed(agent)
        self.follow_ice()
        return True

    def follow_ice(self) -> None:
        """Take for the source what the checks of the end say."""
        ice = self.ice
        if ice is None or not ice.guards:
            self.socket = self.sockets[0]
            return
        self.source = ice.endpoint
        if self.candidates:
            self.socket = self._socket_at(ice.local)
        self.rank = None if self.source is None else Rank.EXACT
        self.state = SourceState.LATCHED if ice.nominated else SourceState.LATCHING

    def admit(self, source: Endpoint, packet: memoryview, *, now: float) -> bool:
        """See Latch."""
        if self.ice is not None and self.ice.guards:
            return self.ice.validates(source)
        return super().admit(source, packet, now=now)

    def fits(self, source: Endpoint) -> Rank | None:
        """See Latch."""
        if self.ice is not None and self.ice.guards:
            return Rank.EXACT if self.ice.validates(source) else None
        return super().fits(source)

    def close_window(self, *, now: float) -> bool:
        """See Latch."""
        return not self.guarded and super().close_window(now=now)

    def release(self, source: Endpoint) -> bool:
        """See Latch."""
        return not self.guarded and super().release(source)
