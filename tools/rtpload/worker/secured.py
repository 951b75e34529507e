"""SRTP of a phone (RFC 3711), with its key in SDP (RFC 4568): libsrtp between its packets and its sockets."""

import base64
import functools
import secrets
from typing import TYPE_CHECKING, Final

from nh.srtp.suites import SUITES
from tools.rtpload.worker.senders import Protect

if TYPE_CHECKING:
    from pylibsrtp import Session


class Secured:
    """Both directions of one phone.

    Args:
        suite: its crypto suite, one that libsrtp has.

    Attributes:
        key: what it sends with, in base64, as SDP has it.
    """

    def __init__(self, suite: str) -> None:
        from tools.rtpload import libsrtp  # noqa: PLC0415  most loads have no SRTP

        self._libsrtp: Final = libsrtp
        self._suite = suite
        lengths = SUITES[suite]
        key = secrets.token_bytes(lengths.key_bytes + lengths.salt_bytes)
        self._outgoing: Session = libsrtp.outgoing(suite, key)
        self.key = base64.b64encode(key).decode()
        self._their_key = ""
        self._incoming: Session | None = None

    def learn(self, key: str) -> None:
        """Open what comes with another key from now on; with the same key, indexes go on.

        Args:
            key: master key and salt in base64, padded or not.
        """
        if key != self._their_key:
            self._their_key = key
            self._incoming = self._libsrtp.incoming(
                self._suite, base64.b64decode(key + "=" * (-len(key) % 4))
            )

    def protector(self, *, rtcp: bool) -> Protect:
        """What protects the packets that it sends."""
        return self._outgoing.protect_rtcp if rtcp else self._outgoing.protect

    def opener(self, *, rtcp: bool) -> Protect:
        """What opens the packets that come; raises ValueError for one that is not right, or too early."""
        return functools.partial(self._open, rtcp)

    def _open(self, rtcp: bool, packet: bytes) -> bytes:
        if self._incoming is None:
            raise ValueError("no key is known yet")
        try:
            return self._incoming.unprotect_rtcp(packet) if rtcp else self._incoming.unprotect(packet)
        except self._libsrtp.Error as exc:
            raise ValueError(str(exc)) from exc
