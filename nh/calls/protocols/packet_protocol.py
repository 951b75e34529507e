"""Protocols of packets: what an end and the relay say to each other at a media socket, beside the media.

These are ICE (STUN) and DTLS; the first byte tells them from the media (RFC 7983 7). An object of such a
protocol belongs to one end: packets and their sources go in, datagrams come out, timers are asked for. It
does no I/O and reads no clock. nh.shard.media.protocols carries it out.
"""

from collections import Counter
from typing import NamedTuple, Protocol

from nh.calls.media import Endpoint
from nh.dtls.problem import Problem


class Datagram(NamedTuple):
    """What is sent to an end.

    Attributes:
        payload: one datagram.
        destination: where it goes; None: to where the media of the end go. Without such a place it is lost.
    """

    payload: bytes
    destination: Endpoint | None = None


class PacketProtocol(Protocol):
    """One protocol that an end speaks with the relay. After each call, its owner takes what it has to say."""

    @property
    def timer_at(self) -> float:
        """Monotonic seconds at which on_timer() is due; infinite: no timer runs."""

    def on_timer(self, *, now: float) -> None:
        """Time has passed (monotonic seconds)."""

    def take_output(self) -> list[Datagram]:
        """What is to be sent now; each datagram is taken once."""

    def close(self) -> None:
        """No leg needs it any more, as far as is known: end what runs. What comes later begins anew."""

    def take_changed(self) -> bool:
        """Whether the end's leg is another than before: its source, or its keys. Sockets follow, and the call
        is saved."""


class DtlsProtocol(PacketProtocol, Protocol):
    """DTLS with one end."""

    def take_results(self) -> Counter[Problem | None]:
        """How many handshakes have ended since the last call, by what was wrong; None: nothing."""

    def take_proven(self) -> bool:
        """Whether the source of the last packet is the end for sure: it has just finished a handshake."""

    def receive(self, packet: bytes, source: Endpoint, *, validated: bool, answers: bool, now: float) -> bool:
        """Handle a packet of DTLS.

        Args:
            packet: its first byte is that of DTLS; nothing else is known of it.
            source: where it came from.
            validated: ICE has shown that the end receives there.
            answers: where nh begins: the end may answer from this source. Its media go there, or it is
                asymmetric.
            now: monotonic seconds.

        Returns:
            Whether it is for this end. Otherwise the next end at the socket is asked.
        """
