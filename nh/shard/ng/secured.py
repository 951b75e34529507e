"""Secured: what becomes of one medium of an offer or answer, where SRTP may end at the relay."""

from typing import Final, NamedTuple

from nh.calls.protocols.dtls_security import OfferedDtls
from nh.calls.protocols.media_security import MediaSecurity, OfferedKey


class Secured(NamedTuple):
    """What becomes of one medium.

    Attributes:
        security: SRTP between the end that the SDP is of and the relay; None: none.
        offered: the keys that the relay offers to the other end.
        lines: the a=crypto lines of the forwarded SDP; None leaves those of the SDP.
        offered_dtls: the association that the relay offers to the other end; None: none.
        dtls: the lines of DTLS of the forwarded SDP; None leaves those of the SDP.
        completed: of an answer that decides about the SRTP between the offerer and the relay: that SRTP.
        open_role: the author of an offer leaves it to the relay who begins DTLS.
    """

    security: MediaSecurity | None = None
    offered: tuple[OfferedKey, ...] = ()
    lines: tuple[bytes, ...] | None = None
    offered_dtls: OfferedDtls | None = None
    dtls: tuple[bytes, ...] | None = None
    completed: MediaSecurity | None = None
    open_role: bool = False

    @property
    def offers(self) -> bool:
        """Whether the relay offers SRTP to the other end."""
        return bool(self.offered) or self.offered_dtls is not None


UNCHANGED: Final = Secured()
"""The medium is the same on both sides: plain, or SRTP that passes through."""
