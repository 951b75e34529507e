"""What an SDP asks of the relay, what a party offered with it, and what the relay offered in its place."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from nh.calls.media import Media
from nh.calls.protocols.dtls_security import OfferedDtls
from nh.calls.protocols.media_security import MediaSecurity, OfferedKey, OptionalKey
from nh.ice.agent import IceAgent
from nh.ice.credentials import IceCredentials

T = TypeVar("T")


class MediumRequest(NamedTuple):
    """What an SDP asks of the relay for one of its media.

    Attributes:
        media: what was announced; None if the medium is not relayed (rejected, or not over UDP).
        address: local IP address for its sockets, towards the end that receives the SDP.
        latch: keep the present sockets even if the announced endpoint changed.
        dscp: DiffServ code point of packets that new sockets send, 0 to 63 (RFC 2474); None: the setting's.
        fresh: open new sockets in any case.
        security: SRTP between the end and the relay; None: none.
        ice: the relay's agent towards the end; None: none.
        shares: index of the medium of the same SDP whose sockets new ones would be: both share a transport;
            None: it has its own.
        further: local IP addresses of further candidates for the end that receives the SDP, if new sockets
            are opened.
    """

    media: Media | None
    address: str
    latch: bool = False
    dscp: int | None = None
    fresh: bool = False
    security: MediaSecurity | None = None
    ice: IceAgent | None = None
    shares: int | None = None
    further: tuple[str, ...] = ()


class OfferedMedium(NamedTuple):
    """An m= line of the party's last offer.

    Attributes:
        kind, proto, format: media type, transport protocol, first format, shortened if it is long.
        mid: its a=mid, "" without one, or if it is too long for a bundle.
        hidden: the end that got the offer has not seen it.
        inserted: it stands for a medium of the other end that this one does not see.
    """

    kind: str
    proto: str
    format: str
    mid: str = ""
    hidden: bool = False
    inserted: bool = False


class Mux(NamedTuple):
    """RTCP multiplexing (RFC 5761) of one medium, as of the party's last offer.

    Attributes:
        offered: the party offered it.
        passed_on: the relay offered it to the other end.
        decided: whether the relay accepts it whatever the other end answers; None: the other end decides.
    """

    offered: bool = False
    passed_on: bool = False
    decided: bool | None = None

    def answered(self, accepted: bool) -> tuple[bool, bool]:
        """Whether the offerer multiplexes, and whether the answerer does.

        Args:
            accepted: the answerer accepted it.
        """
        answerer = self.passed_on and accepted
        return self.offered and (answerer if self.decided is None else self.decided), answerer

    @property
    def may_differ(self) -> bool:
        """Whether one end alone may multiplex after the answer."""
        return any(one is not other for one, other in map(self.answered, (True, False)))


class RelayOffer(NamedTuple):
    """What the relay has offered in the place of a party that offers.

    Attributes:
        bundled: indexes of the media that it has offered as a bundle.
        keys: for each medium the keys of SRTP; () if none has any, as in the attributes below.
        optional_keys: for each medium the key of an SRTP that the party leaves to the other end (OSRTP). The
            relay may have SRTP with the party, if the other end takes none.
        ice: for each medium its credentials.
        dtls: for each medium its association.
        forms: of each medium that the other end sees, the transports in which it has offered it, if two; ()
            if it has offered each medium in one.
    """

    bundled: tuple[int, ...] = ()
    keys: tuple[tuple[OfferedKey, ...], ...] = ()
    optional_keys: tuple[OptionalKey | None, ...] = ()
    ice: tuple[IceCredentials | None, ...] = ()
    dtls: tuple[OfferedDtls | None, ...] = ()
    forms: tuple[tuple[str, ...], ...] = ()

    @property
    def has_secrets(self) -> bool:
        """Whether it has keys, of SRTP or of the certificate of an association."""
        return any(self.keys) or any(self.optional_keys) or any(self.dtls)


NO_RELAY_OFFER: Final = RelayOffer()


def of_media(values: Iterable[T]) -> tuple[T, ...]:
    """What each medium has; () if none has anything, as most calls: they share that."""
    found = tuple(values)
    return found if any(found) else ()


def member_at(members: Sequence[T | None], index: int) -> T | None:
    """What there is for a medium, by its index, of what of_media() returns; None: nothing."""
    return members[index] if index < len(members) else None
