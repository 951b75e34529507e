"""The end of a browser: ICE that checks (RFC 8445), DTLS that begins (RFC 5764), SRTP, and RTCP beside RTP.

All of it comes and goes at one socket. Once there are keys, a check now and then shows that the relay still
consents (RFC 7675). OpenSSL and libsrtp do the work of a browser; the codec of STUN is nh's.
"""

import contextlib
import functools
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from nh.ice.stun import NotStun, StunAttribute, StunClass, decode, encode
from tools.rtpload.ends import BrowserParameters, Endpoint, MediaEnd
from tools.rtpload.messages import BrowserTally
from tools.rtpload.worker.senders import Protect

if TYPE_CHECKING:
    from pylibsrtp import Session

CONNECT_S: Final = 20.0
"""How long ICE and DTLS may take; the relay gives a handshake up after 30 s."""

CHECK_AGAIN_NS: Final = 500_000_000
"""When a check without an answer is repeated, until there is one (RFC 8445 14.3)."""

CONSENT_NS: Final = 1_000_000_000
"""Mean time between two checks once there are keys; Chromium checks a path that is in doubt as often."""

LOOK_NS: Final = 50_000_000
"""How often timers are looked at before there are keys."""

_LEAST_BYTES: Final = 2
_STUN_BELOW: Final = 4
_DTLS: Final = range(20, 64)
RTCP_TYPES: Final = range(192, 224)
"""The second byte of RTCP (RFC 5761 4)."""


class Browser:
    """One end.

    Args:
        suite: what its SRTP protects with: the only one that it has.
        sock: its socket.
        rng: for the times of its checks.

    Attributes:
        parameters: what its SDP says.
        tally: of its checks.
        active, scheduled: see Scheduled.
    """

    def __init__(self, suite: str, sock: socket.socket, rng: random.Random) -> None:
        from tools.rtpload import libsrtp, openssl_end  # noqa: PLC0415  most loads have neither

        self._libsrtp: Final = libsrtp
        self._sendto = sock.sendto
        self._suite = suite
        self._rng = rng
        profile = next(name for name, each in openssl_end.SUITES.items() if each == suite)
        self._dtls_error: Final = openssl_end.Error
        self._dtls = openssl_end.OpensslEnd(client=True, profiles=[profile], long=True)
        self.parameters = BrowserParameters(
            secrets.token_hex(2), secrets.token_hex(12), self._dtls.fingerprint
        )
        self.tally = BrowserTally()
        self.active = self.scheduled = False
        self._told: Callable[[str], None] | None = None
        self._relay = MediaEnd(Endpoint("", 0), Endpoint("", 0))
        self._user = self._key = b""
        self._fingerprint = ""
        self._begun_ns = self._asked_ns = self._check_ns = 0
        self._transactions: set[bytes] = set()
        self._shaking_hands = False
        self._outgoing: Session | None = None
        self._incoming: Session | None = None

    def connect(self, relay: MediaEnd, now_ns: int, told: Callable[[str], None]) -> None:
        """Begin with ICE, then DTLS.

        Args:
            relay: what the SDP for this end says.
            now_ns: the time.
            told: called once: with "" when there are keys, or with why there are none.
        """
        assert relay.browser is not None
        self._relay = relay
        self._told = told
        self._begun_ns = self._check_ns = now_ns
        self._user = f"{relay.browser.ufrag}:{self.parameters.ufrag}".encode()
        self._key = relay.browser.password.encode()
        self._fingerprint = relay.browser.fingerprint
        self.active = True

    def check(self) -> None:
        """Ask the relay for its consent, and nominate the path."""
        transaction = secrets.token_bytes(12)
        self._transactions.add(transaction)
        attributes = [
            (int(StunAttribute.USERNAME), self._user),
            (int(StunAttribute.PRIORITY), bytes(4)),
            (int(StunAttribute.ICE_CONTROLLING), bytes(8)),
            (int(StunAttribute.USE_CANDIDATE), b""),
        ]
        self.tally.checks += 1
        self._asked_ns = self._asked_ns or time.monotonic_ns()
        self._say([encode(StunClass.REQUEST, transaction, attributes, key=self._key)])

    @property
    def target(self) -> Endpoint:
        """Where it sends to."""
        return self._relay.rtp

    # --- Scheduled ------------------------------------------------------------------------------------

    def first_due(self, now_ns: int) -> int:
        """See Scheduled."""
        return now_ns

    def send(self, now_ns: int, due_ns: int) -> int:
        """See Scheduled: what its timers ask for."""
        connected = self._outgoing is not None
        if not connected and now_ns - self._begun_ns > CONNECT_S * 1e9:
            self._tell("DTLS comes to no end" if self._shaking_hands else "no check of ICE is answered")
            self.active = False
            return due_ns + LOOK_NS
        if now_ns >= self._check_ns:
            self.check()
            again_ns = CONSENT_NS * self._rng.uniform(0.8, 1.2) if self._shaking_hands else CHECK_AGAIN_NS
            self._check_ns = now_ns + int(again_ns)
        if self._shaking_hands and not connected and self._dtls.timeout_s <= 0:
            self._say(self._dtls.timeout())
        return self._check_ns if connected else min(self._check_ns, now_ns + LOOK_NS)

    def close(self, now_ns: int) -> None:
        """Say nothing more; the tally is whole."""
        self._note_wait(now_ns)
        self.active = False

    # --- packets --------------------------------------------------------------------------------------

    def protector(self, *, rtcp: bool) -> Protect:
        """What protects the packets that it sends, once there are keys."""
        return functools.partial(self._protect, rtcp)

    def opener(self, *, rtcp: bool) -> Protect:  # noqa: ARG002  both come to one socket
        """What makes RTP or RTCP of a packet that came, and b"" of one of ICE or DTLS; raises ValueError for
        one that is not right, or came before there were keys."""
        return self._open

    def _open(self, packet: bytes) -> bytes:
        if len(packet) < _LEAST_BYTES:
            raise ValueError("it is shorter than any packet of a browser")
        if packet[0] < _STUN_BELOW:
            self._take_answer(packet)
            return b""
        if packet[0] in _DTLS:
            self._shake_hands(packet)
            return b""
        if self._incoming is None:
            raise ValueError("no key is known yet")
        try:
            if packet[1] in RTCP_TYPES:
                return self._incoming.unprotect_rtcp(packet)
            return self._incoming.unprotect(packet)
        except self._libsrtp.Error as exc:
            raise ValueError(str(exc)) from exc

    def _protect(self, rtcp: bool, packet: bytes) -> bytes:
        assert self._outgoing is not None
        return self._outgoing.protect_rtcp(packet) if rtcp else self._outgoing.protect(packet)

    def _take_answer(self, packet: bytes) -> None:
        try:
            answer = decode(packet)
        except NotStun as exc:
            raise ValueError(str(exc)) from exc
        if answer.kind is not StunClass.SUCCESS or answer.transaction not in self._transactions:
            raise ValueError(f"{answer.kind.name} of STUN")
        if not answer.authenticated_by(self._key):
            raise ValueError("an answer of STUN with another password")
        self._transactions.discard(answer.transaction)
        self.tally.answered += 1
        self._note_wait(time.monotonic_ns())
        if not self._shaking_hands:
            self._shaking_hands = True
            self._say(self._dtls.begin())

    def _note_wait(self, now_ns: int) -> None:
        """The relay has answered, or is not asked any more: how long it has taken since the first check."""
        if self._asked_ns:
            self.tally.longest_ns = max(self.tally.longest_ns, now_ns - self._asked_ns)
            self._asked_ns = 0

    def _shake_hands(self, packet: bytes) -> None:
        try:
            self._say(self._dtls.receive(packet))
        except self._dtls_error as exc:
            raise ValueError(f"DTLS: {exc}") from exc
        if self._dtls.done and self._outgoing is None:
            if self._dtls.peer_fingerprint != self._fingerprint:
                raise ValueError("DTLS with another certificate than that of the SDP")
            sends, receives = self._dtls.keys
            self._outgoing = self._libsrtp.outgoing(self._suite, sends)
            self._incoming = self._libsrtp.incoming(self._suite, receives)
            self._tell("")

    def _tell(self, problem: str) -> None:
        if self._told is not None:
            self._told(problem)
            self._told = None

    def _say(self, datagrams: Iterable[bytes]) -> None:
        for each in datagrams:
            with contextlib.suppress(OSError):  # as if it were lost on its way
                self._sendto(each, self._relay.rtp)
