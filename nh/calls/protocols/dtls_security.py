"""Media whose keys DTLS agrees on: a handshake between an end and the relay at the media sockets (RFC 5763).

SDP says which certificate the end has, and who begins. The keys of the first handshake are in force at once,
those of a later one from its end on.
"""

import functools
import importlib.util
import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from nh.calls.handshake_progress import HandshakeProgress
from nh.calls.media import Endpoint
from nh.calls.protocols.media_security import MediaSecurity, new_receiver, new_sender
from nh.calls.protocols.packet_protocol import Datagram
from nh.dtls.certificate import Certificate
from nh.dtls.fingerprints import Fingerprint
from nh.dtls.problem import Problem
from nh.errors import Unsupported

if TYPE_CHECKING:
    from nh.dtls.association import Association
    from nh.dtls.attempts import Budget
    from nh.dtls.identity import Identity
    from nh.srtp.receiver import SrtpReceiver
    from nh.srtp.sender import SrtpSender


class OfferedDtls(NamedTuple):
    """What the relay offers to an end.

    Attributes:
        certificate: of the relay.
        tls_id: of the association (RFC 8842 5).
    """

    certificate: Certificate
    tls_id: str


class DtlsParameters(NamedTuple):
    """What SDP has agreed on. If any of it changes, a new association begins (RFC 8842 3.1).

    Attributes:
        certificate, tls_id: of the relay, see OfferedDtls.
        fingerprints: of the end's certificate.
        active: the relay begins, as the client.
        peer_tls_id: what the end calls the association, "" if it does not.
        endpoint: where the end is, if it has no ICE; None: with ICE, that may change.
    """

    certificate: Certificate
    tls_id: str
    fingerprints: tuple[Fingerprint, ...]
    active: bool
    peer_tls_id: str = ""
    endpoint: Endpoint | None = None


class DtlsSecurity(MediaSecurity):
    """See above; it is a DtlsProtocol, too.

    Args:
        parameters: what SDP has agreed on.
        receiver, sender: of the keys that there are already; None: a handshake is to come.
        last_flight: the end of the handshake that agreed on these.
        agreed_source: where the end was at that handshake; None: only an end that ICE has validated
            gets last_flight again.
        rtcp: that of RTCP, which has an association of its own where it has a port of its own (RFC 5764 4.1);
            None at that of RTCP itself.
        open_role: the end leaves it to the relay who begins, so an answer may still decide that.

    Attributes:
        parameters, rtcp, open_role: see above.
    """

    __slots__ = (
        "_agreed_source",
        "_association",
        "_changed",
        "_last_flight",
        "_proven",
        "_results",
        "_sent_offsets",
        "open_role",
        "parameters",
        "rtcp",
    )

    def __init__(
        self,
        parameters: DtlsParameters,
        receiver: "SrtpReceiver | None" = None,
        sender: "SrtpSender | None" = None,
        *,
        last_flight: tuple[bytes, ...] = (),
        agreed_source: Endpoint | None = None,
        rtcp: "DtlsSecurity | None" = None,
        open_role: bool = False,
    ) -> None:
        super().__init__(0, receiver, sender)
        self.parameters = parameters
        self.rtcp = rtcp
        self.open_role = open_role
        self._results: Counter[Problem | None] = Counter()
        self._association: Association | None = None
        self._changed = self._proven = False
        self._last_flight = last_flight
        self._agreed_source = agreed_source
        self._sent_offsets: Mapping[int, int] | None = None
        self._share_offsets()

    @classmethod
    def begin(cls, parameters: DtlsParameters, *, open_role: bool = False) -> "DtlsSecurity":
        """That of a medium, whose keys are to be agreed on."""
        return cls(parameters, rtcp=cls(parameters), open_role=open_role)

    @property
    def dtls(self) -> "DtlsSecurity":
        """See MediaSecurity."""
        return self

    def of_component(self, component: int) -> "MediaSecurity":
        """See MediaSecurity."""
        return self.rtcp if component % 2 and self.rtcp is not None else self

    @property
    def last_flight(self) -> tuple[bytes, ...]:
        """See above."""
        association = self._association
        return self._last_flight if association is None else tuple(association.last_flight)

    @property
    def agreed_source(self) -> Endpoint | None:
        """See above."""
        source = self._agreed_source if self._association is None else self._association.agreed_source
        return source if isinstance(source, Endpoint) else None

    @property
    def suite(self) -> str:
        """See MediaSecurity."""
        known = super().suite
        return f"{known}, by DTLS" if known else ""

    @property
    def problem(self) -> Problem | None:
        """Why there are no keys; None if there are, or nothing is wrong yet."""
        return None if self._association is None else self._association.problem

    @property
    def handshake(self) -> str:
        """How far the agreement on keys is, for people; "" once there are keys."""
        if self.receiver is not None:
            return ""
        if self.problem is not None:
            return self.problem.value
        if self._association is not None and self._association.running:
            return HandshakeProgress.RUNNING
        return HandshakeProgress.TO_BEGIN if self.parameters.active else HandshakeProgress.AWAITED

    # --- DtlsProtocol ---------------------------------------------------------------------------------

    @property
    def timer_at(self) -> float:
        """See PacketProtocol."""
        if self._association is not None:
            return self._association.timer_at
        return 0.0 if self.parameters.active and self.receiver is None else math.inf

    def receive(self, packet: bytes, source: Endpoint, *, validated: bool, answers: bool, now: float) -> bool:
        """See DtlsProtocol."""
        taken = self._begun().receive(packet, source, validated=validated, answers=answers, now=now)
        self._take()
        return taken

    def on_timer(self, *, now: float) -> None:
        """See PacketProtocol."""
        self._begun().on_timer(now=now)
        self._take()

    def take_output(self) -> list[Datagram]:
        """See PacketProtocol."""
        if self._association is None:
            return []
        return [
            Datagram(payload, source if isinstance(source, Endpoint) else None)
            for payload, source in self._association.take_output()
        ]

    def take_changed(self) -> bool:
        """See PacketProtocol."""
        changed, self._changed = self._changed, False
        return changed

    def take_results(self) -> Counter[Problem | None]:
        """See DtlsProtocol."""
        results, self._results = self._results, Counter()
        return results

    def take_proven(self) -> bool:
        """See DtlsProtocol."""
        proven, self._proven = self._proven, False
        return proven

    def close(self) -> None:
        """See PacketProtocol."""
        if self._association is not None:
            self._association.close()

    def _begun(self) -> "Association":
        if self._association is None:
            from nh.dtls.association import Association  # noqa: PLC0415  see require_dtls()

            self._association = Association(
                _identity(self.parameters.certificate),
                self.parameters.fingerprints,
                active=self.parameters.active,
                budget=_budget(),
                established=self.receiver is not None,
                last_flight=self._last_flight,
                agreed_source=self._agreed_source,
            )
        return self._association

    def _take(self) -> None:
        association = self._association
        assert association is not None, "it has just been used"
        if association.failures:
            self._results.update(association.failures)
            association.failures.clear()
        agreed = association.take_agreed()
        if agreed is not None:
            self.receiver, self.sender = new_receiver(agreed.receive), new_sender(agreed.send)
            self._share_offsets()
            self._results[None] += 1
            self._changed = self._proven = True

    def _share_offsets(self) -> None:
        """Have the receivers tell reports in the numbers of sources, also at a port of RTCP."""
        receiver, sender, rtcp = self.receiver, self.sender, self.rtcp
        if receiver is None or sender is None:
            return
        receiver.sent_offsets = sender.offsets if self._sent_offsets is None else self._sent_offsets
        if rtcp is not None:
            rtcp._sent_offsets = sender.offsets
            rtcp._share_offsets()


@functools.cache  # where it is missing, to look for it takes a third of the time of an offer
def has_dtls() -> bool:
    """Whether handshakes are possible."""
    return importlib.util.find_spec("OpenSSL") is not None


def require_dtls() -> None:
    """Check that handshakes are possible.

    Raises:
        Unsupported: `cryptography` or pyOpenSSL is not installed.
    """
    try:
        # it takes 0.1 s; a shard that may have such calls does it before it serves (nh.shard.__main__)
        import nh.dtls.association  # noqa: F401, PLC0415
    except ImportError as error:
        raise Unsupported(
            f"DTLS on one side of a call: {error.name} is not installed; nh needs its extra `srtp`"
        ) from error


def require_certificate(certificate: Certificate) -> None:
    """Check that handshakes are possible with a certificate.

    Raises:
        Unsupported: see require_dtls().
        ValueError: the certificate is damaged, or its key is that of another one.
    """
    require_dtls()
    _identity(certificate)


@functools.lru_cache(maxsize=64)
def _identity(certificate: Certificate) -> "Identity":
    from nh.dtls.identity import Identity  # noqa: PLC0415  see above

    return Identity(certificate)


@functools.cache
def _budget() -> "Budget":
    """Of all handshakes of this process."""
    from nh.dtls.attempts import Budget  # noqa: PLC0415  see above

    return Budget()
