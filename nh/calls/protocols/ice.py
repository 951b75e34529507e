"""ICE of one end at one socket of the relay: its checks are answered, and say where its media come from.

The credentials belong to the socket group for that end's SDP (IceAgent); what the checks have shown belongs
to the leg, because each of its sockets is checked by itself. No I/O, no clock.
"""

import math

from nh.calls.media import Endpoint
from nh.calls.protocols.packet_protocol import Datagram
from nh.ice.agent import Address, CheckResult, IceAgent, IceComponent, answer_check


class EndIce:
    """The relay's ICE with an end; see nh.calls.protocols.packet_protocol.PacketProtocol.

    Args:
        agent: of the end and its medium.
        component: what its checks have shown so far.
    """

    __slots__ = ("_changed", "_output", "agent", "component")

    def __init__(self, agent: IceAgent, component: IceComponent | None = None) -> None:
        self.agent = agent
        self.component = component or IceComponent()
        self._output: list[Datagram] = []
        self._changed = False

    @property
    def guards(self) -> bool:
        """Whether media of the end are taken only from where a check came from.

        A lite end sends no checks: then it is where its SDP says, as without ICE (RFC 8445 6.1.1).
        """
        return not self.agent.remote_lite

    @property
    def nominated(self) -> bool:
        """Whether the end has nominated a pair."""
        return self.component.selected is not None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the end receives: where it nominated last, before that where its last check came from."""
        place = self.component.selected or next(reversed(self.component.sources), None)
        return None if place is None else Endpoint(*place)

    @property
    def local(self) -> Address | None:
        """Which of the relay's candidates the pair of `endpoint` has; None if there is only one."""
        component = self.component
        if component.selected is not None:
            return component.selected_local
        latest = next(reversed(component.sources.values()), None)
        return None if latest is None else latest.local

    def local_of(self, source: Endpoint) -> Address | None:
        """Which of the relay's candidates the last check from `source` came to; None if that is not known."""
        checked = self.component.sources.get((source.address, source.port))
        return None if checked is None else checked.local

    def validates(self, source: Endpoint) -> bool:
        """Whether a check has shown that the end receives at `source`: media and DTLS come from there."""
        return not self.guards or (source.address, source.port) in self.component.sources

    def renewed(self, agent: IceAgent) -> "EndIce":
        """The same under new credentials, or for the end that has turned out to be the one."""
        self.component.keep_only(agent)
        return EndIce(agent, self.component)

    # --- packets --------------------------------------------------------------------------------------

    def knows(self, packet: bytes) -> bool:
        """Whether the user name of a packet of STUN is that of this end, and not of another one."""
        return self.agent.knows(packet)

    def receive(
        self, packet: bytes, source: Endpoint, *, local: Address | None = None, now: float
    ) -> CheckResult:
        """Handle a packet of STUN.

        Args:
            packet: its first byte is that of STUN; nothing else is known of it.
            source: where it came from.
            local: which of the relay's candidates it came to; None if there is only one.
            now: monotonic seconds.
        """
        place = (source.address, source.port)
        check = answer_check(self.agent, self.component, packet, place, local=local, now=now)
        if check.response:
            self._output.append(Datagram(check.response, source))
        self._changed = self._changed or check.validated or check.selected
        return check.result

    @property
    def timer_at(self) -> float:
        """A lite agent sends nothing by itself."""
        return math.inf

    def on_timer(self, *, now: float) -> None:
        """See PacketProtocol; no timer runs."""

    def close(self) -> None:
        """See PacketProtocol; nothing runs."""

    def take_output(self) -> list[Datagram]:
        """See PacketProtocol."""
        output, self._output = self._output, []
        return output

    def take_changed(self) -> bool:
        """See PacketProtocol."""
        changed, self._changed = self._changed, False
        return changed
